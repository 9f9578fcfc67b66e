"""A call that is refused leaves an ensemble as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.networks import members

X, Y = blobs(32)
BATCHES = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)


def state_of(ensemble):
    """Everything that a later call would notice."""
    return [
        *ensemble.get_weights(),
        *[np.asarray(variable) for variable in ensemble.optimizer.variables],
        ensemble.predict(X, verbose=0),
        ensemble.evaluate(X, Y, verbose=0),
    ]


@pytest.fixture(scope="module")
def fitted():
    """An ensemble, and its state."""
    ensemble = compiled(run_eagerly=True, tune_temperature=True)
    ensemble.fit(X, Y, 16, tuning_data=(X[:8], Y[:8]), verbose=0)
    ensemble.calibrate(X, Y, verbose=0)
    return ensemble, state_of(ensemble)


REFUSED = {
    "tuning rows of another shape": lambda e: e.fit(X, Y, tuning_data=(X[:, :2], Y), verbose=0),
    "tuning rows that are not finite": lambda e: e.fit(X, Y, tuning_data=(X * np.nan, Y), verbose=0),
    "no labels in tuning rows": lambda e: e.fit(X, Y, tuning_data=(X, None), verbose=0),
    "both a split and rows": lambda e: e.fit(X, Y, tuning_data=(X, Y), tuning_split=0.5, verbose=0),
    "another number of labels": lambda e: e.fit(X, Y[:5], verbose=0),
    "another number of features": lambda e: e.fit(X[:, :2], Y, verbose=0),
    "a validation split of batches": lambda e: e.fit(BATCHES, validation_split=0.5, verbose=0),
    "an unknown argument": lambda e: e.fit(X, Y, epoch=3, verbose=0),
    "labels out of range": lambda e: e.calibrate(X, Y + 1, verbose=0),
    "labels of members out of range": lambda e: e.calibrate(X, Y + 1, per="member", verbose=0),
    "too few labels": lambda e: e.calibrate(X, Y[:5], verbose=0),
    "strings as labels": lambda e: e.calibrate(X, Y.astype(str), verbose=0),
    "negative weights": lambda e: e.calibrate(X, Y, sample_weight=-np.ones(32), verbose=0),
    "no weight at all": lambda e: e.calibrate(X, Y, sample_weight=np.zeros(32), verbose=0),
    "another number of weights": lambda e: e.calibrate(X, Y, sample_weight=np.ones(3), verbose=0),
}


@pytest.mark.filterwarnings("ignore:No tuning data")
@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_nothing_changes(call, fitted):
    ensemble, before = fitted
    temperatures, tuning_rows = ensemble.temperatures, ensemble._trainer.tuning.rows
    with pytest.raises((ValueError, TypeError)):
        call(ensemble)
    assert ensemble.temperatures == temperatures is not None and ensemble._trainer.tuning.rows is tuning_rows
    for was, now in zip(before, state_of(ensemble), strict=True):
        np.testing.assert_array_equal(was, now)


def test_an_error_in_the_middle_of_training_forgets_temperatures():
    ensemble = compiled(run_eagerly=True)
    ensemble.calibrate(X, Y, verbose=0)

    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("no more power")

    with pytest.raises(RuntimeError, match="no more power"):
        ensemble.fit(X, Y, tuning_data=(X, Y), callbacks=[Failing()], verbose=0)
    assert ensemble.temperatures is None  # they were those of other weights


def test_fit_before_compile_is_named():
    ensemble = khe.HyperBatchEnsemble(dense_network(), **members())
    with pytest.raises(ValueError, match="Call `compile` before `fit`"):
        ensemble.fit(X, Y, verbose=0)


@pytest.mark.filterwarnings("ignore:No tuning data")
def test_labels_are_numbers_and_may_be_a_list():
    predicted = []
    for y in (Y, Y.tolist()):
        keras.utils.set_random_seed(0)
        ensemble = compiled(run_eagerly=True)
        ensemble.fit(X, y, 16, tuning_data=(X, y), verbose=0)
        ensemble.calibrate(X, y, verbose=0)
        predicted.append(ensemble.predict(X, verbose=0))
    np.testing.assert_array_equal(*predicted)
    strings = np.array(["cat", "dog", "owl"])[Y]
    for call, name in (
        (lambda: ensemble.fit(X, strings, verbose=0), "y"),
        (lambda: ensemble.fit(X, Y, tuning_data=(X, strings), verbose=0), r"tuning_data\[1\]"),
        (lambda: ensemble.response_curves(X, strings, 2, verbose=0), "y"),
        (lambda: ensemble.calibrate(X, strings.tolist(), verbose=0), "y"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be numbers: encode strings as .* Received: dtype=<U3"):
            call()


def test_a_distribution_that_has_no_effect_is_refused():
    ensemble = compiled(run_eagerly=True)
    try:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"]))
        with pytest.raises(ValueError, match="no effect with the TensorFlow.*Received: a DataParallel over 2 devices"):
            ensemble.fit(X, Y, tuning_split=0.25, verbose=0)
    finally:
        keras.distribution.set_distribution(None)
