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
from keras_hyperens.search.grouped import group_trainer
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.selection import greedy_selection
from keras_hyperens.search.trial_recorder import best_metrics
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
    """A selection on a pool."""

    def __init__(self, directory):
        self.pool = Pool(directory)
        self.selection = CheckpointSelection(
            self.pool, lambda found, *_: greedy([each[0] for each in found]), lambda found, _: -float(found[0].max())
        )
        self.pool.write_labels([LABELS], [None])

    def state(self):
        return sorted(float(each.predictions[0].sum(dtype="float64")) for each in self.selection.members)

    def offer(self, epoch, offered):
        """Offers candidates whose weights equal the epoch; returns the names of those whose weights were requested."""
        taken = []

        def weights_of(name):
            taken.append(name)
            return [np.full((1, 1), epoch, "float32")]

        self.selection.offer(epoch, (offered, SOFTMAX, ()), weights_of)
        return taken

    def train(self, name, epochs, best_epoch):
        """Offers the epochs of a candidate, and adds it to the pool."""
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.selection.begin([name])
        for epoch, predictions in enumerate(epochs):
            self.offer(epoch, {name: [predictions]})
        candidate = Candidate(
            name, "search", {}, 0, name, best_epoch=best_epoch, build_config={}, likelihoods=("softmax",)
        )
        self.selection.write(candidate, model)
        self.pool.add(candidate, [epochs[best_epoch]])
        return model


def test_members_are_those_of_greedy_selections_that_improve(tmp_path):
    selecting, random = Selecting(tmp_path), np.random.default_rng(1)
    members, score, changes = [], math.inf, 0
    for epoch in range(12):
        new = {name: [drawn(random)] for name in ("search-0000", "search-0001")}
        if epoch == 5:
            new["search-0000"][0][0] = np.nan
        usable = [each for (each,) in new.values() if np.isfinite(each).all()]
        found = greedy([*members, *usable])
        if len(found.members) > len(members) or found.trajectory[-1] < score:
            members, score = [[*members, *usable][index] for index in found.members], found.trajectory[-1]
            changes += 1
        taken = selecting.offer(epoch, new)
        assert selecting.state() == sorted(float(each.sum(dtype="float64")) for each in members)
        assert len(taken) == sum(each.epoch == epoch for each in selecting.selection.members)
        np.testing.assert_allclose(selecting.selection.score, score)
    assert 2 < changes < 12


def test_the_pool_holds_the_members_and_a_new_selection_goes_on_with_them(tmp_path):
    selecting, random = Selecting(tmp_path), np.random.default_rng(0)
    model = selecting.train("search-0000", [drawn(random) for _ in range(6)], best_epoch=2)
    members = {each.epoch for each in selecting.selection.members}
    on_disk = selecting.pool.candidates(CHECKPOINTS)
    assert {each.best_epoch for each in on_disk} == members - {2} and len(on_disk) >= SIZE - 1
    for each in on_disk:
        assert parent_of(each.name) == each.parent == "search-0000" and each.metrics == {}
        model.load_weights(selecting.pool.weights_files(each)[0])
        assert model.get_weights()[0] == each.best_epoch
    again = Selecting(tmp_path)
    again.selection.begin(["search-0001"])
    everyone = [selecting.pool.predictions(each)[0] for each in selecting.pool.finished("search", CHECKPOINTS)]
    assert again.state() == sorted(float(everyone[i].sum(dtype="float64")) for i in greedy(everyone).members)
    good = [0.9 * np.eye(3)[LABELS] + 0.1 / 3 - 0.01 * number for number in range(4)]
    again.train("search-0001", [(each / each.sum(-1, keepdims=True)).astype("float32") for each in good], best_epoch=0)
    again.selection.begin(["search-0002"])
    assert not [each for each in again.pool.candidates(CHECKPOINTS) if each.parent == "search-0000"]
    again.selection.begin(["search-0001"])  # an interrupted training run
    assert not again.pool.candidates(CHECKPOINTS) and not list(tmp_path.glob("candidates/checkpoints-*"))


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
def test_members_of_a_group_are_offered_after_each_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(group_trainer, "paces", lambda *_: None)
    changes = {"candidates_at_once": 2, "max_trials": 2, "ensemble_size": 2}
    best = search(make_builder(tmp_path / "best", problem.build_model, checkpoints="best", **changes), epochs=3)
    ensemble = search(make_builder(tmp_path / "ensemble", problem.build_model, **changes), epochs=3)
    assert essence(ensemble.pool.candidates("search")) == essence(best.candidates)
    check_checkpoints(ensemble)


def test_bad_settings(tmp_path, monkeypatch):
    for changes, message in (
        ({"checkpoints": "all"}, r"`checkpoints` must be one of \('best', 'ensemble'\). Received: checkpoints='all'"),
        ({"cross_validation": 5}, "only be compared after all folds.*checkpoints='ensemble'"),
    ):
        with pytest.raises(ValueError, match=message):
            make_builder(tmp_path, **changes)
    with pytest.raises(ValueError, match="Workers have no access to the epochs of other workers"):
        search(make_builder(tmp_path), workers=2)
    for name, value in (("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "1"), ("TUNER_ID", "worker0")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ValueError, match="use one process"):
        search(make_builder(tmp_path))
