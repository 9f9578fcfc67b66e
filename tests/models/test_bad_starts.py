"""Tuning does no harm: from too strong penalties, on tuning samples of another distribution, with one member."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from tests.models.networks import LOGITS

SPACE = khe.HyperparameterSpace(
    [khe.Hyperparameter("l2", 1e-5, 1e-1), khe.Hyperparameter("dropout", 0.0, 0.8, scale="linear")]
)
STRONG = {"l2": 0.05, "dropout": 0.6}
STEPS = 600
CLEAR = 6.0


def samples(rows, seed, sharpness):
    """Labels drawn from the softmax of a linear function of 20 inputs."""
    weights = sharpness * np.random.default_rng(0).normal(0, 20**-0.5, (20, 3))
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 20))
    odds = np.exp(x @ weights)
    y = [generator.choice(3, p=row / row.sum()) for row in odds]
    return x.astype("float32"), np.array(y)


def trained(start, tuning, ensemble_size, seed, **settings):
    keras.utils.set_random_seed(seed)
    members = {"ensemble_size": ensemble_size, "hyperparameters": SPACE}
    network = keras.Sequential(
        [
            keras.Input((20,)),
            khe.HyperBatchDense(16, activation="relu", kernel_l2="l2", **members),
            khe.HyperDropout("dropout", **members),
            khe.HyperBatchDense(3, kernel_l2="l2", **members),
        ]
    )
    ensemble = khe.HyperBatchEnsemble(network, SPACE, ensemble_size, initial_values=start, seed=seed)
    ensemble.compile(keras.optimizers.Adam(5e-3), LOGITS, steps_per_execution=50, **settings)
    ensemble.fit(*samples(320, 1, CLEAR), epochs=STEPS // 10, tuning_data=tuning, verbose=0)
    return ensemble


def losses(start, tuning, ensemble_size, seed=0):
    """On 2,000 samples distributed as the tuning samples, of bounds that are tuned and of such that stay."""
    further = samples(2_000, 3, tuning["sharpness"])
    rows = samples(1_000, 2, tuning["sharpness"])
    ensembles = [trained(start, rows, ensemble_size, seed, tuning_warmup=warmup) for warmup in (0, STEPS)]
    return [ensemble.evaluate(*further, verbose=0) for ensemble in ensembles], ensembles[0]


@pytest.mark.integration
@pytest.mark.parametrize("ensemble_size", [1, 3])
def test_from_strong_penalties_tuning_helps(ensemble_size):
    (tuned, fixed), ensemble = losses(STRONG, {"sharpness": CLEAR}, ensemble_size)
    assert tuned < 0.99 * fixed
    values = ensemble.hyperparameter_values()
    assert max(values["l2"]) < STRONG["l2"] and max(values["dropout"]) < STRONG["dropout"] + 0.1


@pytest.mark.integration
@pytest.mark.parametrize("sharpness", [-CLEAR, 1.0, 20.0])
def test_tuning_samples_of_another_distribution_do_no_harm(sharpness):
    """Labels of the opposite kind, noisier ones, and clearer ones."""
    (tuned, fixed), ensemble = losses({"l2": 1e-3, "dropout": 0.2}, {"sharpness": sharpness}, 3)
    assert tuned < 1.02 * fixed
    for name, bounds in ensemble.hyperparameter_bounds().items():
        entry = next(each for each in SPACE if each.name == name)
        assert np.isfinite(bounds).all() and bounds.min() >= 0.999 * entry.low and bounds.max() <= 1.001 * entry.high
