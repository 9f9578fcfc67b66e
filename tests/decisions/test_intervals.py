"""Intervals against NumPy, against MAPIE, and as often right as they say."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from keras import ops

from keras_hyperens.calibration import ConformalIntervals
from keras_hyperens.decisions import Conformal
from keras_hyperens.decisions import Intervals
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Quantiles
from keras_hyperens.likelihoods import Value

SPLITS, HELD_OUT = 200, 300


def measured(rows=2000, seed=0):
    """Predictions of each kind for targets whose spread grows with x, none of them right."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 2, (rows, 1))
    targets = x + x * generator.standard_t(4, (rows, 1))
    predictions = {
        "values": (x + 0.1, Value()),
        "gaussian": (np.concatenate([x, 0.2 * x**2], -1), Gaussian()),
        "quantiles": (np.concatenate([x - 0.3 * x, x, x + 0.9 * x], -1), Quantiles()),
    }
    return predictions, targets


def fitted(prediction, targets, likelihood, coverage=0.8, weights=None):
    return Intervals.fitted(prediction, targets, weights, coverage, likelihood.conformal_methods[0], likelihood)


@pytest.mark.parametrize("kind", ["values", "gaussian", "quantiles"])
def test_coverage_over_200_splits(kind):
    predictions, targets = measured()
    prediction, likelihood = predictions[kind]
    generator, held = np.random.default_rng(1), []
    for _ in range(SPLITS):
        order = generator.permutation(len(targets))
        fit, new = order[:HELD_OUT], order[HELD_OUT:]
        ends = np.asarray(fitted(prediction[fit], targets[fit], likelihood).of(prediction[new], likelihood))
        held.append(((ends[..., 0] <= targets[new]) & (targets[new] <= ends[..., 1])).mean())
    error = 4 * np.std(held) / math.sqrt(SPLITS)
    assert 0.8 - error <= np.mean(held) <= 0.8 + 1 / (HELD_OUT + 1) + error


def test_what_is_predicted_gives_the_widths():
    predictions, targets = measured()
    widths = {}
    for kind, (prediction, likelihood) in predictions.items():
        ends = np.asarray(fitted(prediction, targets, likelihood).of(prediction, likelihood))
        widths[kind] = np.diff(ends[:, 0], axis=-1)
    assert np.ptp(widths["values"]) < 1e-12 and np.ptp(widths["gaussian"]) > 1 < np.ptp(widths["quantiles"])
    ends = np.asarray(fitted(*predictions["quantiles"][:1], targets, Quantiles(), 0.05).of(*predictions["quantiles"]))
    assert (np.diff(ends[:, 0], axis=-1) < 1.2 * predictions["quantiles"][0][:, 1:2]).all()  # they may also shrink


# MAPIE 1.6.0 with prefit estimators: SplitConformalRegressor, and ConformalizedQuantileRegressor (symmetric).
MAPIE = {
    "values": [[-2.872704, 0.401535], [-0.995992, 2.278248], [-2.403057, 0.871183]],
    "quantiles": [[-2.664565, 0.553003], [-1.037623, 1.648356], [-2.069254, 0.419079]],
}


@pytest.mark.parametrize("kind", MAPIE)
def test_intervals_are_those_of_mapie(kind):
    generator = np.random.default_rng(2)
    x = np.sort(generator.normal(size=(40, 3)), -1)
    targets = x[:, 1:2] + generator.standard_t(3, 40)[:, None]
    new = np.sort(generator.normal(size=(3, 3)), -1)
    columns, likelihood = (slice(1, 2), Value()) if kind == "values" else (slice(None), Quantiles())
    ends = fitted(x[:, columns], targets, likelihood).of(new[:, columns], likelihood)
    np.testing.assert_allclose(ends[:, 0], MAPIE[kind], atol=1e-6)


@pytest.mark.parametrize("kind", ["values", "gaussian", "quantiles"])
def test_weights_equal_repeated_rows(kind):
    predictions, targets = measured(50)
    prediction, likelihood = predictions[kind]
    counts = np.random.default_rng(0).integers(0, 4, 50)
    weighted = fitted(prediction, targets, likelihood, 0.7, counts)
    assert weighted == fitted(prediction.repeat(counts, 0), targets.repeat(counts, 0), likelihood, 0.7)
    with pytest.raises(ValueError, match="`sample_weight` must be finite, at least 0, and not all 0"):
        fitted(prediction, targets, likelihood, 0.7, np.zeros(50))


def test_every_target_has_a_threshold_of_its_own():
    predictions, targets = measured()
    twice = np.concatenate([targets, 10 * targets], -1)
    for kind, (prediction, likelihood) in predictions.items():
        scaled = (
            np.concatenate([10 * prediction[:, :1], 100 * prediction[:, 1:]], -1)
            if kind == "gaussian"
            else (10 * prediction)
        )
        both = np.stack([prediction, scaled], -1).reshape(len(targets), -1)  # D of the first, then D of the second
        found = fitted(both, twice, likelihood)
        single = fitted(prediction, targets, likelihood).thresholds[0]
        np.testing.assert_allclose(found.thresholds, [single, single * (1 if kind == "gaussian" else 10)])
        assert found.of(both, likelihood).shape == (len(targets), 2, 2)


def test_gaussians_are_those_of_the_calibration_package():
    predictions, targets = measured()
    prediction, likelihood = predictions["gaussian"]
    expected = ConformalIntervals(0.8).fit(prediction, targets).predict(prediction)
    np.testing.assert_allclose(fitted(prediction, targets, likelihood).of(prediction, likelihood), expected)


def test_bounds_never_cross_and_cover_no_less():
    """A quantile network may predict crossing quantiles; a low coverage narrows bands beyond their middle."""
    generator = np.random.default_rng(0)
    prediction, targets = generator.normal(size=(500, 2)), generator.normal(size=(500, 1))
    intervals = Intervals.fitted(prediction, targets, None, 0.3, "quantile", Quantiles())
    lower, upper = np.moveaxis(intervals.of(ops.convert_to_tensor(prediction), Quantiles()).numpy()[:, 0], -1, 0)
    (threshold,) = intervals.thresholds
    ends = prediction[:, 0] - threshold, prediction[:, 1] + threshold
    crossed = ends[0] > ends[1]
    assert 100 < crossed.sum() < 400
    np.testing.assert_allclose([lower[~crossed], upper[~crossed]], [each[~crossed] for each in ends], atol=1e-6)
    np.testing.assert_allclose([lower[crossed], upper[crossed]], 2 * [prediction[crossed].mean(-1)], atol=1e-6)


def test_too_few_rows_give_everything_and_no_numbers_are_named():
    everything = fitted(np.zeros((3, 1)), np.zeros((3, 1)), Value(), 0.9)
    assert everything.thresholds == (math.inf,)
    assert np.isinf(everything.of(np.zeros((2, 1)), Value())).all()
    zero_variance = np.array([[0.0, 0.0]])
    assert not np.isnan(Intervals("interval", (math.inf,)).of(zero_variance, Gaussian())).any()
    with pytest.raises(ValueError, match="must be finite"):
        fitted(np.full((3, 1), np.nan), np.zeros((3, 1)), Value())


def test_files_hold_them():
    conformal = Conformal(0.9, False, (Intervals("quantile", (-0.5, math.inf)),))
    assert Conformal.from_config(json.loads(json.dumps(asdict(conformal)))) == conformal
