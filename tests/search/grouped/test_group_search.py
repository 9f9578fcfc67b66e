"""Candidates trained together: the same search, records and files as one at a time."""

import json
import shutil

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.search.assembly import trained_model
from keras_hyperens.search.grouped import group_trainer
from keras_hyperens.search.grouped.pace import Pace
from keras_hyperens.search.grouped.pace import number_of_steps
from keras_hyperens.search.grouped.pace import paces
from tests.search.problem import blobs
from tests.search.problem import essence
from tests.search.problem import make_builder
from tests.search.problem import search


def build_model(hp, units=4):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-1, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(units, "relu", kernel_regularizer=l2),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5)),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, sampling="log")),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
    )
    return model


@pytest.fixture(autouse=True)
def always_faster(monkeypatch):
    """Whoever measures a tiny network on a busy machine measures the machine."""
    monkeypatch.setattr(group_trainer, "paces", lambda *_: None)


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of the groups that are trained."""
    found = []
    train = group_trainer.GroupTrainer.train
    monkeypatch.setattr(
        group_trainer.GroupTrainer,
        "train",
        lambda self, group, *others: (found.append(len(group)), train(self, group, *others)),
    )
    return found


SMALL = {"max_trials": 5, "num_hyperparameter_sets": 3, "initializations": 1, "candidates_at_once": 3}


def together(directory, hypermodel=build_model, **changes):
    return make_builder(directory, hypermodel, **{"candidates_at_once": 4, **changes})


def check_candidates(builder, every=1):
    """What is on disk is what the weights give in a model alone."""
    x, y = blobs(45, seed=1)
    for each in builder.pool.finished()[::every]:
        weights = builder.pool.weights_files(each)[0]
        model = trained_model(builder._settings.hypermodel, each.values, weights, each.build_config)
        model.run_eagerly = True  # once
        probabilities = keras.ops.softmax(model(x)).numpy()
        np.testing.assert_allclose(probabilities, builder.pool.predictions(each)[0], atol=1e-5)
        scores = model.evaluate(x, y, verbose=0, return_dict=True)
        for name, score in scores.items():
            np.testing.assert_allclose(each.metrics[f"val_{name}"], score, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search that has ended, and the sizes of its groups."""
    directory, sizes, train = tmp_path_factory.mktemp("search"), [], group_trainer.GroupTrainer.train
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(group_trainer, "paces", lambda *_: None)
        patched.setattr(
            group_trainer.GroupTrainer,
            "train",
            lambda self, group, *others: (sizes.append(len(group)), train(self, group, *others)),
        )
        return search(together(directory, **SMALL)), sizes


def test_a_search_in_groups(finished):
    builder, sizes = finished
    assert sizes == [3, 2, 3]  # then three sets of hyperparameters from another initialization
    assert len(builder.candidates) == 8 and not [each for each in builder.candidates if each.failure]
    assert len({each.score for each in builder.candidates}) == 8
    check_candidates(builder, every=2)  # of each group, and at each of its places
    trials = sorted(builder.pool.directory.glob("search/trial_*/trial.json"))
    assert len(trials) == 5
    for each, file in zip(builder.candidates[3:], trials, strict=True):
        trial = json.loads(file.read_text())
        assert trial["status"] == "COMPLETED" and trial["hyperparameters"]["values"] == each.values
        assert trial["score"] == each.metrics["val_nll"]
    ensemble = builder.build_ensemble()
    assert ensemble.predict(blobs()[0], verbose=0).shape == (60, 3)
    before = essence(builder.candidates)
    sizes.clear()
    assert essence(search(together(builder._settings.directory, **SMALL)).candidates) == before and not sizes


@pytest.mark.integration
def test_the_values_and_seeds_are_those_of_one_at_a_time(tmp_path):
    arguments = {"shuffle": False, "epochs": 1}
    settings = {"max_trials": 4, "initializations": 0}

    def undisturbed(hp):
        hp.Fixed("dropout", 0.0)
        return build_model(hp)

    def eager(hp):
        model = undisturbed(hp)
        model.run_eagerly = True
        return model

    alone = search(make_builder(tmp_path / "alone", eager, **settings), **arguments)
    grouped = search(together(tmp_path / "together", undisturbed, **settings), **arguments)
    for one, other in zip(alone.candidates, grouped.candidates, strict=True):
        assert (one.name, one.values, one.seed, one.best_epoch) == (
            other.name,
            other.values,
            other.seed,
            other.best_epoch,
        )
        assert list(one.metrics) == list(other.metrics)
        np.testing.assert_allclose(list(other.metrics.values()), list(one.metrics.values()), rtol=1e-4)
        np.testing.assert_allclose(other.score, one.score, rtol=1e-4)


@pytest.mark.integration
def test_structures_form_groups_of_their_own(tmp_path, sizes):
    def structured(hp):
        return build_model(hp, hp.Choice("units", [3, 5]))

    builder = search(together(tmp_path, structured, max_trials=5, initializations=0, candidates_at_once=2))
    assert sum(sizes) == 5 and len(sizes) >= 3
    check_candidates(builder)


@pytest.mark.integration
def test_grid_search(tmp_path, sizes):
    def gridded(hp):
        hp.Choice("rate", [0.01, 0.1])
        hp.Fixed("dropout", 0.0)
        hp.Choice("l2", [0.0, 1e-3])
        model = build_model(hp)
        return model

    builder = search(together(tmp_path, gridded, tuner="grid", max_trials=None, initializations=0))
    assert len(builder.candidates) == 4 and max(sizes) > 1
    check_candidates(builder)


class Interrupted(BaseException):
    pass


@pytest.mark.integration
def test_a_search_that_was_cut_off_goes_on_to_the_same_candidates(tmp_path, finished, sizes, monkeypatch):
    fit = group_trainer.CandidateGroup.fit

    def cut_off(self, *args, **kwargs):
        if len(sizes) == 2:
            raise Interrupted
        return fit(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(group_trainer.CandidateGroup, "fit", cut_off)
        with pytest.raises(Interrupted):
            search(together(tmp_path, **SMALL))
    first = together(tmp_path, **SMALL)
    assert len(first.candidates) == 3
    sizes.clear()
    assert essence(search(first).candidates) == essence(finished[0].candidates) and sizes == [2, 3]


def test_a_candidate_is_missing_in_the_middle(tmp_path, finished, sizes):
    shutil.copytree(finished[0]._settings.directory, tmp_path / "copy")
    builder = together(tmp_path / "copy", **{**SMALL, "initializations": 0})
    before = essence(builder.candidates)
    builder.pool.forget("search-0002")
    after = essence(search(builder).candidates)
    assert [each for each in after if each[0] != "search-0002"] == [e for e in before if e[0] != "search-0002"]
    assert len(after) == len(before) == 8 and sizes == [1]


def test_one_that_diverges_or_cannot_be_built_fails_alone(tmp_path, sizes):
    calls = []

    def fragile(hp):
        rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
        calls.append(rate)
        if len(set(calls)) == 5:
            raise RuntimeError("no such model")
        model = build_model(hp)
        if len(set(calls)) == 3:
            model.optimizer.learning_rate.assign(float("nan"))
        return model

    builder = search(together(tmp_path, fragile, max_trials=5, initializations=0))
    reasons = [each.reason for each in builder.candidates if each.failure]
    assert len(reasons) == 2 and any("diverged" in each for each in reasons)
    assert any("no such model" in each for each in reasons) and 4 in sizes
    assert len(builder.pool.finished()) == 3


class Fitting(keras_tuner.HyperModel):
    def build(self, hp):
        return build_model(hp)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)


def clipped(hp):
    model = build_model(hp)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, clipnorm=1.0), loss)
    return model


ALONE = {
    "results": {"tuner": "bayesian"},
    "training_subset": {"training_subset": 0.5},
    "custom .fit": {"hypermodel": Fitting()},
    "clipnorm": {"hypermodel": clipped, "objective": "val_loss"},
}


@pytest.mark.integration
@pytest.mark.parametrize("reason", ALONE)
def test_what_cannot_go_together_is_trained_one_at_a_time(tmp_path, reason):
    settings = {"max_trials": 2, "initializations": 0, "ensemble_size": 2}
    builder = together(tmp_path, **settings, **ALONE[reason])
    with pytest.warns(UserWarning, match=f"one at a time.*{reason}"):
        search(builder)
    assert len(builder.pool.finished()) == 2


@pytest.mark.integration
def test_callbacks_are_of_one_model(tmp_path):
    builder = together(tmp_path, max_trials=2, initializations=0, ensemble_size=2)
    with pytest.warns(UserWarning, match="one at a time.*callbacks"):
        search(builder, callbacks=[keras.callbacks.TerminateOnNaN()])


def test_bad_numbers():
    for wrong in (0, 2.0, None):
        with pytest.raises(ValueError, match="`candidates_at_once` must be an integer of at least 1. Received"):
            khe.HyperDeepEnsembleBuilder(build_model, candidates_at_once=wrong)
    with pytest.raises(ValueError, match="either `workers` or `candidates_at_once`. Received: workers=2"):
        khe.HyperDeepEnsembleBuilder(build_model, candidates_at_once=2).search(*blobs(), workers=2)


@pytest.mark.integration
@pytest.mark.parametrize(("step", "decision"), [(3.0, "2 at once: about 9 s"), (5.0, "one at a time: about 15 s")])
def test_it_decides_by_the_time_of_a_training_and_says_so(tmp_path, monkeypatch, capsys, step, decision):
    monkeypatch.setattr(group_trainer, "paces", lambda *_: [Pace(9.0, step), Pace(0.5, 2.0)])
    builder = together(tmp_path, max_trials=2, initializations=0, ensemble_size=2, candidates_at_once=2)
    search(builder, batch_size=20, verbose=1)  # 2 epochs of 3 steps
    assert f"candidates are trained {decision} each in a group, 12.5 separately" in capsys.readouterr().out
    assert len(builder.pool.finished()) == 2


def test_paces():
    model = build_model(keras_tuner.HyperParameters())
    x, y = blobs()
    (pace,) = paces([model], {"x": x, "y": y, "batch_size": 4, "verbose": 0, "epochs": 9})
    assert 0 < pace.step < pace.begin and pace.of(3) == pace.begin + 3 * pace.step and pace.of(None) == pace.step
    assert paces([model], {"x": x, "y": y, "batch_size": 60, "verbose": 0}) is None


def test_number_of_steps():
    x, y = blobs()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    assert number_of_steps({"x": x, "batch_size": 7, "epochs": 2}) == 18
    assert number_of_steps({"x": data, "epochs": 3}) == 12
    assert number_of_steps({"x": x, "steps_per_epoch": 5}) == 5
    assert number_of_steps({"x": data.filter(lambda *_: True)}) is None


@pytest.mark.integration
def test_candidates_stop_by_their_own_patience(tmp_path, sizes):
    def build(hp):
        rate = hp.Float("learning_rate", 0.01, 10.0, sampling="log")
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(rate), loss)
        return model

    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    arguments = {"shuffle": False, "epochs": 12, "callbacks": [stop]}
    settings = {"max_trials": 4, "initializations": 0, "objective": "val_loss"}
    alone = search(make_builder(tmp_path / "alone", build, **settings), **arguments)
    grouped = search(together(tmp_path / "together", build, **settings), **arguments)
    assert sizes == [4] and len({each.best_epoch for each in grouped.candidates}) > 1
    for one, other in zip(alone.candidates, grouped.candidates, strict=True):
        assert (one.name, one.values, one.best_epoch) == (other.name, other.values, other.best_epoch)
        np.testing.assert_allclose(list(other.metrics.values()), list(one.metrics.values()), rtol=1e-4)
