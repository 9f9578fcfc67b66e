"""Cross-validated candidates, compared with loops over folds."""

import json
import math
import shutil

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from sklearn import model_selection

import keras_hyperens as khe
from keras_hyperens.search.assembly import networks_of
from keras_hyperens.search.folds import folds_of
from keras_hyperens.search.grouped import group_trainer
from tests.search import problem
from tests.search.problem import blobs
from tests.search.problem import eager_model
from tests.search.problem import essence

X, Y = blobs(40)
SPLITTER = model_selection.KFold(3, shuffle=True, random_state=0)
FOLDS = list(SPLITTER.split(X))


class Ridge(keras_tuner.HyperModel):
    """Linear classifier in closed form; its "best epoch" is the number of training samples modulo 3."""

    def __init__(self, interrupted_after=None):
        super().__init__()
        self.calls, self.interrupted_after = [], interrupted_after

    def build(self, hp):
        hp.Float("penalty", 1e-1, 1e2, sampling="log")
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, run_eagerly=True)
        return model

    def fit(self, hp, model, x, y, sample_weight=None, validation_data=None, epochs=1, **others):
        if len(self.calls) == self.interrupted_after:
            raise KeyboardInterrupt
        self.calls.append((len(x), epochs))
        model.layers[-1].set_weights([solution(x, y, hp.get("penalty"), sample_weight)])
        history = keras.callbacks.History()
        losses = [1.0] * 3
        losses[len(x) % 3] = len(x) / 100
        history.history = {"loss": losses, "val_loss": losses}
        return history


def solution(x, y, penalty, weights=None):
    weighted = x if weights is None else x * weights[:, None]
    return np.linalg.solve(weighted.T @ x + penalty * np.eye(2), weighted.T @ np.eye(3)[y])


def probabilities(x, kernel):
    exponents = np.exp(x @ kernel)
    return exponents / exponents.sum(-1, keepdims=True)


def make_builder(directory, hypermodel=None, **changes):
    small = {"ensemble_size": 2, "max_trials": 2, "initializations": 0, "objective": "val_loss", "refit": False}
    return problem.make_builder(directory, hypermodel or Ridge(), **{**small, "cross_validation": SPLITTER, **changes})


def search(builder, x=X, y=Y, **arguments):
    builder.search(x, y, epochs=3, verbose=0, **arguments)
    return builder


def searched(builder):
    """Its candidates, without those that other tests retrained."""
    return builder.pool.candidates("search")


def out_of_fold(candidate, weights=None):
    """Predictions for all samples, each by the network of the fold that holds it out."""
    found = np.empty((40, 3))
    for training, held_out in FOLDS:
        of_samples = None if weights is None else weights[training]
        kernel = solution(X[training], Y[training], candidate.values["penalty"], of_samples)
        found[held_out] = probabilities(X[held_out], kernel)
    return found


def nll(predictions, weights=None):
    return np.average(-np.log(predictions[np.arange(40), Y]), weights=weights)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return search(make_builder(tmp_path_factory.mktemp("search")))


def test_candidates_predict_all_samples_out_of_fold(finished):
    assert len(searched(finished)) == 2
    for candidate in searched(finished):
        expected = out_of_fold(candidate)
        np.testing.assert_allclose(finished.pool.predictions(candidate)[0], expected, atol=1e-6)
        np.testing.assert_allclose(candidate.score, nll(expected), rtol=1e-5)
        lengths = [len(training) for training, _ in FOLDS]  # 26, 27, 27
        expected = np.average(np.array(lengths) / 100, weights=[40 - each for each in lengths])
        np.testing.assert_allclose(candidate.metrics["val_loss"], expected)
        assert candidate.best_epoch == np.median([each % 3 for each in lengths]) == 0
    np.testing.assert_array_equal(finished.pool.labels()[0], Y)
    trial = json.loads((finished.pool.directory / "search/trial_0/trial.json").read_text())
    assert trial["score"] == searched(finished)[0].metrics["val_loss"]


def test_selection_is_that_of_the_joined_predictions_and_members_are_means_of_folds(finished):
    predictions = [out_of_fold(each) for each in searched(finished)]
    expected = khe.greedy_selection(predictions, Y, 2, tolerance=-math.inf, weights="convex", seed=0)
    ensemble = finished.build_ensemble()
    assert [each.name for each in finished.members] == [searched(finished)[i].name for i in expected.members]
    np.testing.assert_allclose(finished.member_weights, expected.weights, rtol=1e-4)
    assert ensemble.ensemble_size == 6 and len(ensemble.hyperparameter_values()["penalty"]) == 6
    x = blobs(30, seed=5)[0]
    of_members = [
        np.mean([probabilities(x, solution(X[t], Y[t], each.values["penalty"])) for t, _ in FOLDS], axis=0)
        for each in finished.members
    ]
    mean = np.average(of_members, axis=0, weights=finished.member_weights)
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), mean, atol=1e-6)


@pytest.mark.integration
def test_other_samples_and_costs_see_the_means_of_folds(finished):
    x, y = blobs(30, seed=5)
    of_candidates = [
        np.mean([probabilities(x, solution(X[t], Y[t], each.values["penalty"])) for t, _ in FOLDS], axis=0)
        for each in searched(finished)
    ]
    expected = khe.greedy_selection(of_candidates, y, 2, tolerance=-math.inf)
    finished.build_ensemble(validation_data=(x, y), selection="greedy", cost="parameters")
    assert [each.name for each in finished.members] == [searched(finished)[i].name for i in expected.members]
    assert finished.cost_frontier()[0].cost == 3 * 6


@pytest.mark.integration
def test_refitted_members_are_trained_on_all_samples(finished, tmp_path):
    hypermodel = Ridge()
    refitted = search(make_builder(tmp_path, hypermodel, refit=True))
    assert hypermodel.calls == [(26, 3), (27, 3), (27, 3), (40, 1)] * 2  # the median best epoch is the first
    assert [each[:4] for each in essence(refitted.candidates)] == [each[:4] for each in essence(searched(finished))]
    ensemble = refitted.build_ensemble()
    assert refitted.weights_by_name() == {each.name: w for each, w in zip(refitted.members, ensemble.member_weights)}
    kernels = [solution(X, Y, each.values["penalty"]) for each in refitted.members]
    expected = np.stack([probabilities(X, kernel) for kernel in kernels])
    np.testing.assert_allclose(ensemble.predict_members(X, verbose=0), expected, atol=1e-6)
    assert len(list(tmp_path.rglob("*.weights.h5"))) == 2
    finished.build_ensemble()
    retrained = finished.retrain(X, Y, epochs=3, verbose=0)
    np.testing.assert_allclose(retrained.predict_members(X, verbose=0), expected, atol=1e-6)


@pytest.mark.integration
def test_an_interrupted_search_resumes_at_the_fold(finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search(make_builder(tmp_path, Ridge(interrupted_after=5)))
    hypermodel = Ridge()
    resumed = search(make_builder(tmp_path, hypermodel))
    assert len(hypermodel.calls) == 6 - 5
    assert essence(searched(resumed)) == essence(searched(finished))
    assert not list(tmp_path.glob("*/folds/candidates/*.json")) and not list(tmp_path.glob("*/folds/candidates/*.npy"))
    search(make_builder(tmp_path, hypermodel))
    assert len(hypermodel.calls) == 1
    damaged = next(tmp_path.glob("*/folds/candidates/search-0001-fold-2.weights.h5"))
    damaged.write_text("hello")
    with pytest.warns(UserWarning, match="search-0001 will be trained again: .*fold-2.weights.h5 is damaged"):
        search(make_builder(tmp_path, hypermodel))
    assert len(hypermodel.calls) == 4
    for changes, arguments, message in (
        ({"cross_validation": 3}, {}, r"differs in \['folds'\]"),
        ({"refit": True}, {}, r"differs in \['refit'\]"),
        ({"cross_validation": None}, {"validation_data": (X, Y)}, r"differs in \['folds'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            search(make_builder(tmp_path, **changes), **arguments)


@pytest.mark.integration
def test_a_part_that_is_damaged_is_trained_again(finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search(make_builder(tmp_path, Ridge(interrupted_after=2)))
    next(tmp_path.glob("*/folds/candidates/search-0000-fold-1.0.npy")).write_text("hello")
    hypermodel = Ridge()
    with pytest.warns(UserWarning, match="search-0000-fold-1 will be trained again"):
        resumed = search(make_builder(tmp_path, hypermodel))
    assert len(hypermodel.calls) == 5 and essence(searched(resumed)) == essence(searched(finished))


@pytest.mark.integration
def test_a_candidate_fails_with_its_first_fold_that_does(tmp_path):
    class Failing(Ridge):
        def fit(self, hp, model, x, *others, **arguments):
            history = super().fit(hp, model, x, *others, **arguments)
            if len(self.calls) == 2:
                raise RuntimeError("no luck")
            return history

    hypermodel = Failing()
    builder = search(make_builder(tmp_path, hypermodel, ensemble_size=1))
    assert ["no luck" in each.reason for each in builder.candidates] == [True, False]
    assert len(hypermodel.calls) == 2 + 3
    assert len(list(tmp_path.rglob("*.weights.h5"))) == 3


def no_files_of_parts(directory):
    return not [each for each in directory.glob("*/folds/candidates/*") if each.suffix in (".json", ".npy")]


def test_an_error_in_joining_folds_is_a_failure_of_the_candidate(tmp_path):
    scored = []

    def metric(labels, predictions):
        scored.append(len(labels))
        if len(scored) == 2:  # the first one is that of an untrained model
            raise RuntimeError("no such score")
        return float(nll(predictions))

    builder = search(make_builder(tmp_path, ensemble_size=1, metric=metric))
    assert ["no such score" in each.reason for each in builder.candidates] == [True, False]
    assert no_files_of_parts(tmp_path) and len(list(tmp_path.rglob("*.weights.h5"))) == 3


def test_no_files_remain_of_folds_after_a_failed_one(tmp_path):
    """Groups train the other folds of a candidate, whose first one has failed."""
    with pytest.raises(KeyboardInterrupt):
        search(make_builder(tmp_path, Ridge(interrupted_after=2)))
    record = next(tmp_path.glob("*/folds/candidates/search-0000-fold-0.json"))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"failure": "diverged: infinite"}))
    builder = search(make_builder(tmp_path, ensemble_size=1))
    assert [each.reason for each in builder.candidates] == ["diverged: infinite", ""]
    assert no_files_of_parts(tmp_path) and len(list(tmp_path.rglob("*.weights.h5"))) == 3


def test_files_of_parts_of_a_recorded_candidate_are_deleted(finished, tmp_path):
    shutil.copytree(finished._settings.directory, tmp_path / "copy")
    with pytest.raises(KeyboardInterrupt):
        search(make_builder(tmp_path, Ridge(interrupted_after=2)))
    (parts,) = tmp_path.glob("hyper_deep_ensemble/folds/candidates")
    for each in parts.glob("*fold-[01].*"):
        if each.suffix != ".h5":
            shutil.copy(each, tmp_path / "copy/hyper_deep_ensemble/folds/candidates")
    assert not no_files_of_parts(tmp_path / "copy")
    copied = search(make_builder(tmp_path / "copy"))
    assert no_files_of_parts(tmp_path / "copy") and essence(searched(copied)) == essence(searched(finished))
    assert all(map(copied.pool.has_weights, searched(copied)))


@pytest.mark.integration
def test_sample_weights_and_a_number_of_folds(tmp_path):
    weights = np.random.default_rng(0).uniform(0.5, 2, 40)
    builder = search(make_builder(tmp_path / "weights"), sample_weight=weights)
    for each in builder.candidates:
        predictions = out_of_fold(each, weights)
        np.testing.assert_allclose(builder.pool.predictions(each)[0], predictions, atol=1e-6)
        np.testing.assert_allclose(each.score, nll(predictions, weights), rtol=1e-5)
    groups = np.arange(40) // 8
    builder = search(make_builder(tmp_path / "groups", cross_validation=2), groups=groups)
    (first, second) = folds_of(2, [Y], groups, 0)
    kernel = solution(X[first.training], Y[first.training], builder.candidates[0].values["penalty"])
    predictions = builder.pool.predictions(builder.candidates[0])[0]
    np.testing.assert_allclose(predictions[first.held_out], probabilities(X[first.held_out], kernel), atol=1e-6)
    assert not {*groups[first.held_out]} & {*groups[second.held_out]}


@pytest.mark.integration
def test_splitters_that_hold_out_some_samples_never_or_often(tmp_path):
    splitter = model_selection.TimeSeriesSplit(3)
    builder = search(make_builder(tmp_path / "time", cross_validation=splitter))
    assert len(builder.pool.labels()[0]) == 30
    np.testing.assert_array_equal(builder.pool.labels()[0], Y[10:])
    repeated = model_selection.RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)
    builder = search(make_builder(tmp_path / "repeated", cross_validation=repeated))
    np.testing.assert_array_equal(builder.pool.labels()[0], np.repeat(Y, 2))
    assert builder.build_ensemble(1).ensemble_size == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cross_validation": 1}, "`cross_validation` must be an integer of at least 2, or a splitter.*Received: .*=1"),
        ({"cross_validation": "5"}, "cross_validation='5'"),
        ({"cross_validation": True}, "cross_validation=True"),
        ({"refit": "yes"}, "`refit` must be True or False. Received: refit='yes'"),
        ({"tuner": "hyperband"}, "several networks.*pass another tuner.*Received: tuner='hyperband'"),
    ],
)
def test_bad_settings(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_builder(tmp_path, **changes)


def test_bad_data_are_refused_before_any_work(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    for changes, data, arguments, message in (
        ({}, (X, Y), {"validation_data": (X, Y)}, "remove `validation_data` and `validation_split`"),
        ({}, (X, Y), {"validation_split": 0.5}, "remove `validation_data` and `validation_split`"),
        (
            {},
            (dataset, None),
            {},
            "requires `x` and `y` as arrays: .*Received: x of type _BatchDataset, y of type None",
        ),
        ({}, (iter([(X, Y)]), None), {}, "requires `x` and `y` as arrays"),
        ({}, (X, Y[:9]), {}, "equal lengths. Received: arrays of lengths .40, 9."),
        (
            {"cross_validation": None},
            (X, Y),
            {"groups": Y, "validation_data": (X, Y)},
            "`groups` require `cross_validation`",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make_builder(tmp_path, **changes).search(*data, epochs=1, verbose=0, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
def test_a_fold_is_an_ordinary_training(tmp_path):
    builder = problem.make_builder(
        tmp_path, eager_model, cross_validation=2, refit=False, max_trials=1, initializations=0, ensemble_size=1
    )
    class_weight = {0: 1.0, 1: 2.0, 2: 0.5}
    stop = keras.callbacks.EarlyStopping("val_nll", patience=1, mode="min")
    builder.search(X, Y, epochs=3, batch_size=10, verbose=0, class_weight=class_weight, callbacks=[stop])
    (candidate,) = builder.candidates
    networks = networks_of(builder._settings.hypermodel, builder.pool, candidate)
    for network, fold in zip(networks, folds_of(2, [Y], None, 0), strict=True):
        predictions = keras.ops.softmax(network.predict(X[fold.held_out], verbose=0))
        on_disk = builder.pool.predictions(candidate)[0][fold.held_out]
        np.testing.assert_allclose(on_disk, predictions, atol=1e-6)


@pytest.mark.integration
def test_dictionaries_of_inputs_and_several_outputs(tmp_path):
    def build(hp):
        left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
        hidden = keras.layers.Dense(hp.Int("units", 3, 9), "relu")(keras.layers.Concatenate()([left, right]))
        size, kind = keras.layers.Dense(1, name="size")(hidden), keras.layers.Dense(3, name="kind")(hidden)
        model = keras.Model({"left": left, "right": right}, {"size": size, "kind": kind})
        logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", {"size": "mse", "kind": logits}, run_eagerly=True)
        return model

    x, y = {"left": X[:, :1], "right": X[:, 1:]}, {"size": X.sum(-1, keepdims=True), "kind": Y}
    builder = problem.make_builder(
        tmp_path,
        build,
        cross_validation=2,
        refit=False,
        max_trials=1,
        initializations=0,
        ensemble_size=1,
        objective="val_loss",
    )
    builder.search(x, y, epochs=1, verbose=0)
    (candidate,) = builder.candidates
    networks = networks_of(builder._settings.hypermodel, builder.pool, candidate)
    kind, size = builder.pool.predictions(candidate)
    labels = [np.asarray(y["size"]), Y]
    for network, fold in zip(networks, folds_of(2, labels, None, 0), strict=True):
        found = network.predict({name: part[fold.held_out] for name, part in x.items()}, verbose=0)
        np.testing.assert_allclose(kind[fold.held_out], keras.ops.softmax(found["kind"]), atol=1e-6)
        np.testing.assert_allclose(size[fold.held_out], found["size"], atol=1e-6)
    np.testing.assert_allclose(candidate.score, nll(kind) + ((size - y["size"]) ** 2).mean(), rtol=1e-5)
    ensemble = builder.build_ensemble()
    of_networks = np.mean([network.predict(x, verbose=0)["size"] for network in networks], axis=0)
    np.testing.assert_allclose(ensemble.predict(x, verbose=0)["size"], of_networks, atol=1e-6)


@pytest.mark.integration
def test_candidates_at_once_train_fold_by_fold(tmp_path, monkeypatch):
    sizes, train = [], group_trainer.GroupTrainer.train
    monkeypatch.setattr(group_trainer, "paces", lambda *_: None)
    monkeypatch.setattr(
        group_trainer.GroupTrainer,
        "train",
        lambda self, group, *others: (sizes.append(len(group)), train(self, group, *others)),
    )

    def build(hp):
        l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-1, sampling="log"))
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_regularizer=l2)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    settings = {"max_trials": 2, "initializations": 0, "ensemble_size": 2, "objective": "val_loss"}
    settings |= {"cross_validation": 2}
    arguments = {"epochs": 2, "verbose": 0, "shuffle": False}
    grouped = problem.make_builder(tmp_path / "grouped", build, candidates_at_once=2, **settings)
    grouped.search(X, Y, **arguments)
    assert sizes == [2, 2]
    alone = problem.make_builder(tmp_path / "alone", build, **settings)
    alone.search(X, Y, **arguments)
    for one, other in zip(alone.candidates, grouped.candidates, strict=True):
        assert (one.name, one.values, one.seed, one.best_epoch) == (
            other.name,
            other.values,
            other.seed,
            other.best_epoch,
        )
        np.testing.assert_allclose(other.score, one.score, rtol=1e-5)
        np.testing.assert_allclose(grouped.pool.predictions(other)[0], alone.pool.predictions(one)[0], atol=1e-5)
