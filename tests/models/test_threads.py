"""One ensemble, several threads: each gets what it asked for, and the ensemble is as it was."""

import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.views import MOST
from keras_hyperens.models.views import SharedModel
from tests.models.networks import LOGITS

THREADS = 6
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = np.arange(16) % 2


def ensemble_of(kind):
    if kind == "hyper-deep":
        ensemble = khe.HyperDeepEnsemble(
            [keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]) for _ in range(2)],
            output_activation="softmax",
        )
        ensemble.compile(loss=LOGITS)
        return ensemble
    network = keras.Sequential([keras.Input((3,)), khe.HyperBatchDense(2, ensemble_size=2)])
    ensemble = khe.HyperBatchEnsemble(network, ensemble_size=2, seed=0)
    ensemble.compile("sgd", LOGITS)
    return ensemble


def kinds_of(ensemble):
    return (
        lambda: {"prediction": ensemble.predict(X, verbose=0)},
        lambda: {"members": ensemble.predict_members(X, verbose=0)},
        lambda: ensemble.predict_uncertainty(X, verbose=0),
    )


def same(one, other):
    return one.keys() == other.keys() and all(np.allclose(one[name], other[name], atol=1e-6) for name in one)


def in_threads(number, work):
    """Runs `work(0)`, `work(1)`, ... at the same time; gives the errors."""
    errors, start = [], threading.Barrier(number)

    def run(place):
        start.wait()
        try:
            work(place)
        except Exception as error:  # of any kind: the test says which
            errors.append(error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.integration)])
@pytest.mark.parametrize("kind", ["hyper-batch", pytest.param("hyper-deep", marks=pytest.mark.integration)])
def test_threads_get_what_they_asked_for(kind, rounds):
    ensemble = ensemble_of(kind)
    calls, alone = kinds_of(ensemble), [call() for call in kinds_of(ensemble_like(ensemble))]
    wrong = []

    def work(place):
        for number in range(rounds):
            asked = (place + number) % len(calls)
            if not same(calls[asked](), alone[asked]):
                wrong.append(asked)

    assert not in_threads(THREADS, work) and not wrong
    assert all(same(call(), expected) for call, expected in zip(calls, alone, strict=True))


def ensemble_like(ensemble):
    """Another one of the same weights, so that nothing of the first is traced yet."""
    twin = type(ensemble).from_config(ensemble.get_config())
    twin(X)
    twin.set_weights(ensemble.get_weights())
    return twin


@pytest.mark.integration
@pytest.mark.parametrize("per", ["ensemble", "member"])
def test_a_calibration_beside_predictions(per):
    """Each prediction is that of before or that of after."""
    ensemble = ensemble_of("hyper-batch")
    calls = kinds_of(ensemble)
    states = [[call() for call in calls]]
    ensemble.calibrate(X, Y, per, verbose=0)
    states.append([call() for call in calls])
    assert not same(states[0][0], states[1][0])
    wrong = []

    def work(place):
        for number in range(6):
            if place == 0:
                ensemble.calibrate(X, Y, per, verbose=0)
                ensemble._set_temperatures(None)
                continue
            got = calls[number % 3]()
            if not any(same(got, state[number % 3]) for state in states):
                wrong.append(got)

    assert not in_threads(4, work) and not wrong
    assert all(same(call(), expected) for call, expected in zip(calls, states[0], strict=True))


@pytest.mark.parametrize("method", ["predict", "predict_members"])
def test_the_first_prediction_may_be_that_of_several_threads(method, monkeypatch):
    """TensorFlow prepares an object when the first function becomes an attribute: two threads must not both do it."""
    track, assign = SharedModel._track_trackable, SharedModel.__setattr__

    def late(model, *arguments, **keywords):
        time.sleep(0.1)
        track(model, *arguments, **keywords)

    def slow(model, name, value):
        time.sleep(0.02 if name.startswith("_self_uncond") else 0)
        assign(model, name, value)

    ensemble = ensemble_like(ensemble_of("hyper-deep"))  # not compiled: nothing has prepared it
    monkeypatch.setattr(SharedModel, "_track_trackable", late)
    monkeypatch.setattr(SharedModel, "__setattr__", slow)
    assert not in_threads(3, lambda place: getattr(ensemble, method)(X, verbose=0))


def test_views_are_made_once_and_not_without_end():
    ensemble = ensemble_of("hyper-deep")
    ensemble.run_eagerly = True
    first = [ensemble.predict_members(X, verbose=0) for _ in range(2)]
    assert len(ensemble._views.by_kind) == 1 and (first[0] == first[1]).all()
    for number in range(10):
        said = ensemble.predict_uncertainty(X, [lambda members, _, number=number: members[0] * 0 + number], verbose=0)
        assert (said["<lambda>"] == number).all()
    assert len(ensemble._views.by_kind) <= MOST


def test_a_view_follows_the_settings_of_the_ensemble():
    ensemble = ensemble_of("hyper-deep")
    ensemble.predict_members(X, verbose=0)
    ensemble.run_eagerly = True
    eager = []
    ensemble.predict_uncertainty(X, [lambda members, _: eager.append(tf.executing_eagerly()) or members[0]], verbose=0)
    assert eager == [True]
