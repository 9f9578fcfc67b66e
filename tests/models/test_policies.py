"""Precisions and frozen networks: they work, or are refused in words."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network

X, Y = blobs(32)


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.integration)])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        ensemble = compiled(run_eagerly=True, tune_temperature=True, metrics=[khe.metrics.NegativeLogLikelihood()])
    finally:
        keras.config.set_dtype_policy("float32")
    logs = ensemble.fit(X, Y, tuning_data=(X, Y), verbose=0).history
    assert np.isfinite(logs["loss"] + logs["tuning_loss"]).all()
    logs = ensemble.evaluate(X, Y, verbose=0, return_dict=True)
    assert logs["nll"] == pytest.approx(logs["loss"], rel=1e-3)
    assert ensemble.predict(X, verbose=0).dtype == "float32"


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float64"])
def test_other_precisions_of_variables_are_refused(precision):
    try:
        keras.config.set_dtype_policy(precision)
        with pytest.raises(ValueError, match=f"must be in float32.*mixed_float16.*dtype='{precision}'"):
            compiled()
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx(precision)
        with pytest.raises(ValueError, match=f"must be in float32.*floatx='{precision}'"):
            compiled()
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float64"])
def test_metrics_count_in_float32_at_least(precision):
    """Half precision cannot count to 5000."""
    keras.config.set_floatx(precision)
    try:
        metrics = [khe.metrics.NegativeLogLikelihood(), khe.metrics.ExpectedCalibrationError()]
        metrics += [khe.metrics.BrierScore(dtype=precision), khe.metrics.AreaUnderRiskCoverage()]
        rows, labels = np.tile([[0.75, 0.25]], (5000, 1)), (np.arange(5000) % 4 == 0).astype(int)
        for metric, expected in zip(metrics, [0.56234, 0.0, 0.375, 0.25], strict=True):
            metric.update_state(labels, rows)
            assert float(metric.result()) == pytest.approx(expected, abs=1e-4)
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float64"])
def test_members_of_any_precision(precision):
    member = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=precision)])
    ensemble = khe.HyperDeepEnsemble([member], output_activation="softmax")
    ensemble.compile(loss="sparse_categorical_crossentropy", metrics=[khe.metrics.BrierScore()], run_eagerly=True)
    logs = ensemble.evaluate(X, Y, verbose=0, return_dict=True)
    probabilities = ensemble.predict(X, verbose=0)
    assert logs["brier"] == pytest.approx(((probabilities - np.eye(3)[Y]) ** 2).sum(-1).mean(), rel=1e-2)
    ensemble.calibrate(X, Y, verbose=0)
    assert ensemble.evaluate(X, Y, verbose=0)[0] <= logs["loss"] + 1e-3


@pytest.mark.parametrize("whole", [True, False])
def test_frozen_networks_are_tuned_and_nothing_else(whole):
    ensemble = compiled(dense_network(), run_eagerly=True, tune_temperature=True)
    (ensemble if whole else ensemble.network).trainable = False
    before, bounds = [np.asarray(weight) for weight in ensemble.network.weights], ensemble.hyperparameter_bounds()
    ensemble.fit(X, Y, 16, tuning_data=(X, Y), verbose=0)
    for was, now in zip(before, ensemble.network.weights, strict=True):
        np.testing.assert_array_equal(was, now)
    assert ensemble.temperature_values()[0] != 1 and bounds.keys() == ensemble.hyperparameter_bounds().keys()
