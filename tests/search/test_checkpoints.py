"""Selection among all epochs, compared with greedy selections; the training does not change."""

import math

import keras
import keras_tuner
import numpy as np
import pytest

from keras_hyperens.likelihoods import named
from keras_hyperens.search.assembly import networks_of
from keras_hyperens.search.candidate import CHECKPOINTS
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.candidate import parent_of
from keras_hyperens.search.checkpoints import CheckpointSelection
from keras_hyperens.search.checkpoints import Offers
from keras_hyperens.search.grouped import group_trainer
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.recorded_hypermodel import best_metrics
from keras_hyperens.search.selection import greedy_selection
from tests.search import problem
from tests.search.problem import blobs
from tests.search.problem import eager_model
from tests.search.problem import essence
from tests.search.problem import search

LABELS = np.random.default_rng(0).integers(0, 3, 40)
SOFTMAX = named(("softmax",))
SIZE = 3


def drawn(random):
    return random.dirichlet(np.ones(3), 40).astype("float32")


def greedy(predictions):
    size = min(SIZE, len(predictions))
    return greedy_selection(np.stack(predictions), LABELS, size, tolerance=-math.inf)


class Selecting:
    """A selection on a pool, which counts the predictions that it reads."""

    def __init__(self, directory):
        self.pool, self.reads = Pool(directory), 0
        read = self.pool.predictions

        def counted(candidate):
            self.reads += 1
            return read(candidate)

        self.pool.predictions = counted
        self.selection = CheckpointSelection(
            self.pool,
            lambda: self.pool.finished("search", CHECKPOINTS),
            lambda found, *_: greedy([each[0] for each in found]),
            lambda found, _: -float(found[0].max()),
        )
        self.pool.write_labels([LABELS], [None])

    def state(self):
        return sorted(float(each.predictions[0].sum(dtype="float64")) for each in self.selection.best.members)

    def begun(self, name):
        """The members with which a training run begins."""
        self.selection.begin([name])
        return self.state()

    def offer(self, epoch, offered):
        """Offers candidates whose weights equal the epoch; returns the names of those whose weights were requested."""
        taken = []

        def weights_of(name):
            taken.append(name)
            return [np.full((1, 1), epoch, "float32")]

        self.selection.offer(epoch, (offered, SOFTMAX, ()), weights_of)
        return taken

    def candidate(self, name, best_epoch, failure=None):
        known = {"best_epoch": best_epoch, "build_config": {}, "likelihoods": ("softmax",), "failure": failure}
        weights = self.pool.place_of_weights(name)
        (self.pool.directory / weights).touch()
        return Candidate(name, "search", {}, 0, name, weights=weights, **known)

    def train(self, name, epochs, best_epoch, failure=None, is_recorded=True):
        """Offers the epochs of a candidate, and adds it to the pool."""
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.selection.begin([name])
        for epoch, predictions in enumerate(epochs):
            self.offer(epoch, {name: [predictions]})
        candidate = self.candidate(name, best_epoch, failure)
        model.save_weights(self.pool.directory / candidate.weights)
        self.selection.write(candidate, model)
        self.selection.end([candidate])
        if is_recorded:
            self.pool.add(candidate, [epochs[best_epoch]])
        return model


def test_members_are_those_of_greedy_selections_that_improve(tmp_path):
    selecting, random = Selecting(tmp_path), np.random.default_rng(3)
    members, score, changes, worse = [], math.inf, 0, 0
    for epoch in range(12):
        new = {name: [drawn(random)] for name in ("search-0000", "search-0001")}
        if epoch == 5:
            new["search-0000"][0][0] = np.nan
        usable = [each for (each,) in new.values() if np.isfinite(each).all()]
        found = greedy([*members, *usable])
        if len(found.members) > len(members) or found.trajectory[-1] < score:
            members, score = [[*members, *usable][index] for index in found.members], found.trajectory[-1]
            changes += 1
        worse += found.trajectory[-1] > score  # a greedy selection among more candidates may be
        taken = selecting.offer(epoch, new)
        assert selecting.state() == sorted(float(each.sum(dtype="float64")) for each in members)
        assert len(taken) == sum(each.epoch == epoch for each in selecting.selection.best.members)
        np.testing.assert_allclose(selecting.selection.best.score, score)
    assert 2 < changes < 12 and worse > 0


def good(number):
    """Predictions of epochs that improve on random ones."""
    found = [0.9 * np.eye(3)[LABELS] + 0.1 / 3 - 0.01 * epoch for epoch in range(number)]
    return [(each / each.sum(-1, keepdims=True)).astype("float32") for each in found]


def test_the_pool_holds_the_members_and_the_next_training_continues_with_them(tmp_path):
    (tmp_path / "candidates").mkdir()
    selecting, random = Selecting(tmp_path), np.random.default_rng(0)
    model = selecting.train("search-0000", [drawn(random) for _ in range(6)], best_epoch=2)
    members = {each.epoch for each in selecting.selection.best.members}
    on_disk = selecting.pool.candidates(CHECKPOINTS)
    assert {each.best_epoch for each in on_disk} == members - {2} and len(on_disk) >= SIZE - 1
    for each in on_disk:
        assert parent_of(each.name) == each.parent == "search-0000" and each.metrics == {}
        model.load_weights(selecting.pool.weights_files(each)[0])
        assert model.get_weights()[0] == each.best_epoch
    before, again = selecting.state(), Selecting(tmp_path)
    assert again.begun("search-0001") == before
    again.train("search-0001", good(4), best_epoch=0)
    assert again.begun("search-0002") != before
    assert not [each for each in again.pool.candidates(CHECKPOINTS) if each.parent == "search-0000"]
    again.pool.forget("search-0001")  # a damaged candidate, which is trained again
    again.selection.begin(["search-0001"])
    assert not again.pool.candidates(CHECKPOINTS) and not list(tmp_path.glob("candidates/checkpoints-*"))


def test_without_known_members_it_selects_among_all_candidates(tmp_path):
    (tmp_path / "candidates").mkdir()
    selecting, random = Selecting(tmp_path), np.random.default_rng(0)
    for number in range(4):
        selecting.train(f"search-000{number}", [drawn(random) for _ in range(3)], best_epoch=0)
    everyone = [selecting.pool.predictions(each)[0] for each in selecting.pool.finished("search", CHECKPOINTS)]
    expected = sorted(float(everyone[i].sum(dtype="float64")) for i in greedy(everyone).members)
    for content in ("", None):
        file = tmp_path / "ensemble.json"
        file.unlink() if content is None else file.write_text(content)
        assert Selecting(tmp_path).begun("search-0004") == expected


def test_a_training_only_reads_the_members(tmp_path):
    (tmp_path / "candidates").mkdir()
    selecting, random = Selecting(tmp_path), np.random.default_rng(2)
    for number in range(6):
        selecting.train(f"search-000{number}", [drawn(random) for _ in range(2)], best_epoch=1)
    assert selecting.reads <= 5 * SIZE  # all of them: 1 + 2 + 3 + 4 + 5, and more with checkpoints
    begun, selecting.reads = selecting.begun("search-0006"), 0
    assert Selecting(tmp_path).begun("search-0006") == begun == selecting.begun("search-0006")
    assert selecting.reads == len(begun)


@pytest.mark.parametrize("end", ["interrupted", "failed"])
def test_a_training_without_a_result_leaves_the_members(tmp_path, end):
    (tmp_path / "candidates").mkdir()
    selecting, random = Selecting(tmp_path), np.random.default_rng(0)
    selecting.train("search-0000", [drawn(random) for _ in range(6)], best_epoch=2)
    before = selecting.state()
    failure = "diverged" if end == "failed" else None
    selecting.train("search-0001", good(4), 0, failure, is_recorded=end == "failed")
    assert selecting.state() != before
    next_one = "search-0002" if end == "failed" else "search-0001"
    selecting.pool.add(selecting.candidate("search-0009", 0), good(1))  # which no training run has offered
    assert Selecting(tmp_path).begun(next_one) == before
    assert {each.parent for each in selecting.pool.candidates(CHECKPOINTS)} == {"search-0000"}


def test_early_stopping_monitors_the_ensemble_of_the_training(tmp_path):
    (tmp_path / "candidates").mkdir()
    selecting, random = Selecting(tmp_path), np.random.default_rng(0)
    selecting.train("search-0000", good(2), best_epoch=0)  # better than all that follows
    epochs = [drawn(random) for _ in range(20)]
    members, score, scores = [], math.inf, []
    for each in epochs:
        found = greedy([*members, each])
        if len(found.members) > len(members) or found.trajectory[-1] < score:
            members, score = [[*members, each][index] for index in found.members], found.trajectory[-1]
        scores.append(score)
    waits = [epoch - int(np.argmin(scores[: epoch + 1])) for epoch in range(20)]
    expected = waits.index(3) + 1
    assert 4 < expected < 20
    left = iter(epochs)
    selecting.selection.begin(["search-0001"])
    offers = Offers(selecting.selection, lambda: ({"search-0001": [next(left)]}, SOFTMAX, ()), lambda _: [np.ones(1)])
    stop = keras.callbacks.EarlyStopping("val_ensemble_score", mode="min", patience=3)
    callbacks = keras.callbacks.CallbackList([offers, stop, keras.callbacks.History()])
    callbacks.set_model(keras.Model())
    callbacks.on_train_begin()
    for epoch in range(20):
        callbacks.on_epoch_end(epoch, {"loss": 1.0})
        if getattr(callbacks.model, "stop_training", False):
            break
    np.testing.assert_allclose(callbacks.model.history.history["val_ensemble_score"], scores[:expected])


def test_epochs_count_from_the_first_one_of_the_network():
    """Hyperband continues at an `initial_epoch`, and checkpoints must not repeat the best epoch."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=5, initial_epoch=3, verbose=0)
    assert best_metrics(history, keras_tuner.Objective("loss", "min"))[1] == 4


def make_builder(directory, hypermodel=eager_model, **changes):
    small = {"max_trials": 3, "initializations": 0, "checkpoints": "ensemble", **changes}
    return problem.make_builder(directory, hypermodel, **small)


def check_checkpoints(builder):
    """Predictions on disk equal those of the weights on disk."""
    x, _ = blobs(45, seed=1)
    found = builder.pool.candidates(CHECKPOINTS)
    for each in found:
        assert each.best_epoch != builder.pool.find(each.parent).best_epoch
        (network,) = networks_of(builder._settings.hypermodel, builder.pool, each)
        network.run_eagerly = True
        probabilities = keras.ops.softmax(network(x))
        np.testing.assert_allclose(builder.pool.predictions(each)[0], probabilities, atol=1e-5)
    return found


def same_structure(hp):
    """Models that can form a group."""
    hp.Fixed("units", 4)
    return problem.build_model(hp)


@pytest.fixture
def fits(monkeypatch):
    """The trainings of groups, which always form."""
    found, fit = [], group_trainer.CandidateGroup.fit
    monkeypatch.setattr(group_trainer, "paces", lambda *_: None)
    monkeypatch.setattr(
        group_trainer.CandidateGroup,
        "fit",
        lambda self, **given: (found.append(self.ensemble_size), fit(self, **given)),
    )
    return found


@pytest.mark.integration
def test_trainings_stay_as_they_are_and_the_ensemble_gains(tmp_path):
    best = search(make_builder(tmp_path / "best", checkpoints="best"), epochs=3)
    ensemble = search(make_builder(tmp_path / "ensemble"), epochs=3)
    assert essence(ensemble.pool.candidates("search")) == essence(best.candidates)
    assert check_checkpoints(ensemble)
    ensemble.build_ensemble()
    gained = ensemble.scores_by_size(3)["hyper-deep ensemble"][-1]
    assert gained <= best.scores_by_size(3)["hyper-deep ensemble"][-1]
    before = essence(ensemble.candidates)
    assert essence(search(make_builder(tmp_path / "ensemble"), epochs=3).candidates) == before
    with pytest.raises(ValueError, match=r"differs in \['checkpoints'\]"):
        search(make_builder(tmp_path / "ensemble", checkpoints="best"), epochs=3)


@pytest.mark.integration
def test_one_epoch_for_each_candidate_is_the_selection_of_candidates(tmp_path):
    builders = [search(make_builder(tmp_path / each, checkpoints=each), epochs=1) for each in ("best", "ensemble")]
    assert essence(builders[0].candidates) == essence(builders[1].candidates)
    for builder in builders:
        builder.build_ensemble()
    assert builders[0].weights_by_name() == builders[1].weights_by_name()


@pytest.mark.integration
def test_members_of_a_group_are_offered_after_each_epoch(tmp_path, fits):
    changes = {"candidates_at_once": 2, "max_trials": 2, "ensemble_size": 2}
    best = search(make_builder(tmp_path / "best", same_structure, checkpoints="best", **changes), epochs=3)
    ensemble = search(make_builder(tmp_path / "ensemble", same_structure, **changes), epochs=3)
    assert fits == [2, 2]
    assert essence(ensemble.pool.candidates("search")) == essence(best.candidates)
    check_checkpoints(ensemble)


@pytest.mark.integration
@pytest.mark.parametrize("at_once", [1, 2])
def test_candidates_stop_with_the_ensemble(tmp_path, monkeypatch, fits, at_once):
    scores, offer = [], CheckpointSelection.offer

    def recorded(self, epoch, *others):
        offer(self, epoch, *others)
        scores.append((epoch, self.own.score))

    monkeypatch.setattr(CheckpointSelection, "offer", recorded)
    changes = {"candidates_at_once": at_once, "max_trials": 2, "ensemble_size": 2}
    stop = keras.callbacks.EarlyStopping("val_ensemble_score", mode="min", patience=1)
    hypermodel = eager_model if at_once == 1 else same_structure
    builder = search(make_builder(tmp_path, hypermodel, **changes), epochs=12, callbacks=[stop])
    assert len(builder.pool.finished("search")) == 2 and fits == [at_once] * (at_once - 1)
    assert all("val_ensemble_score" not in each.metrics for each in builder.candidates)
    starts = [number for number, (epoch, _) in enumerate(scores) if epoch == 0]
    assert len(starts) == 2 // at_once
    for start, end in zip(starts, [*starts[1:], len(scores)], strict=True):
        found = [score for _, score in scores[start:end]]
        assert len(found) == 12 or found[-1] >= min(found[:-1])
        best = np.minimum.accumulate(found)
        assert (best[1:-1] < best[:-2]).all()  # each epoch but the last has improved


@pytest.mark.integration
def test_epochs_of_candidates_that_cannot_be_members_are_not_offered(tmp_path):
    changes = {"max_trials": 2, "include_search": False, "num_hyperparameter_sets": 1, "initializations": 2}
    stop = keras.callbacks.EarlyStopping("val_ensemble_score", mode="min", patience=9)
    builder = search(make_builder(tmp_path, ensemble_size=2, **changes), epochs=3, callbacks=[stop])
    found = check_checkpoints(builder)
    assert found and all(each.parent.startswith("initializations") for each in found)
    builder.build_ensemble()
    assert not [each.name for each in builder.members if "search" in each.name]


def test_bad_settings(tmp_path, monkeypatch):
    for changes, message in (
        ({"checkpoints": "all"}, r"`checkpoints` must be one of \('best', 'ensemble'\). Received: checkpoints='all'"),
        ({"cross_validation": 5}, "only be compared after all folds.*checkpoints='ensemble'"),
    ):
        with pytest.raises(ValueError, match=message):
            make_builder(tmp_path, **changes)
    with pytest.raises(ValueError, match="Workers have no access to the epochs of other workers"):
        search(make_builder(tmp_path), workers=2)
    stop = keras.callbacks.EarlyStopping("val_ensemble_score", mode="min")
    with pytest.raises(ValueError, match="only monitor 'val_ensemble_score' with `checkpoints=\"ensemble\"`"):
        search(make_builder(tmp_path, checkpoints="best"), callbacks=[stop])
    tuner = keras_tuner.RandomSearch(eager_model, problem.NLL, 2, executions_per_trial=2, directory=tmp_path / "tuner")
    with pytest.raises(ValueError, match="one training run per trial.*Received: executions_per_trial=2"):
        search(make_builder(tmp_path, tuner=tuner))
    for name, value in (("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "1"), ("TUNER_ID", "worker0")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ValueError, match="use one process"):
        search(make_builder(tmp_path))
