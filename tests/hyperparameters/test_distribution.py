import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_hyperens import Hyperparameter
from keras_hyperens import HyperparameterSpace
from keras_hyperens.hyperparameters.distribution import MINIMUM_WIDTH
from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution

SPACE = HyperparameterSpace([Hyperparameter("l2", 1e-6, 1e-2, "log"), Hyperparameter("dropout", 0.1, 0.5, "linear")])


@pytest.mark.parametrize("members", [1, 2, 3, 4, 16])
def test_members_start_spread_over_the_space(members):
    lower, upper = HyperparameterDistribution(SPACE, members, seed=0).bounds()
    np.testing.assert_allclose(upper - lower, 2 / 3, rtol=1e-5)
    assert (lower.numpy() >= -1.0001).all() and (upper.numpy() <= 1.0001).all()
    centers = np.sort((lower + upper) / 2, axis=0) / (1 - 1 / 3)  # in the reachable range, now [-1, 1]
    strata = np.floor((centers + 1) / 2 * members)
    np.testing.assert_array_equal(strata, np.tile(np.arange(members)[:, None], 2))


def test_members_start_around_initial_values():
    initial = {"l2": 1e-5, "dropout": 0.5}  # a quarter of the way up, and at the end
    distribution = HyperparameterDistribution(SPACE, 4, initial_width=0.2, seed=0, initial_values=initial)
    lower, upper = (bound.numpy() for bound in distribution.bounds())
    centers = np.sort((lower + upper)[:, 0] / 2)
    np.testing.assert_array_equal(np.floor((centers + 0.5 + 0.2) / 0.4 * 4), range(4))  # z = -0.5, one in each stratum
    np.testing.assert_allclose((upper - lower)[:, 0], 0.4, rtol=1e-5)
    assert ((lower[:, 0] < -0.5) & (-0.5 < upper[:, 0])).all()
    np.testing.assert_allclose(upper[:, 1], 1.0, rtol=1e-6)  # cut at the end of the range
    assert (lower[:, 1] > 1 - 3 * 0.2).all()
    spread = HyperparameterDistribution(SPACE, 4, initial_width=0.2, seed=0, initial_values={"dropout": 0.2})
    alone = HyperparameterDistribution(SPACE, 4, initial_width=0.2, seed=0)
    np.testing.assert_array_equal(spread.lower[:, 0], alone.lower[:, 0])


def test_bad_initial_values_are_named():
    with pytest.raises(ValueError, match="'l2' must be in its range .* Received: initial_values={'l2': 0.1}"):
        HyperparameterDistribution(SPACE, 2, initial_values={"l2": 0.1})
    with pytest.raises(ValueError, match="the space has .* Received: 'rate'"):
        HyperparameterDistribution(SPACE, 2, initial_values={"rate": 0.1})


def test_distributions_of_values_equal_scipy():
    distribution = HyperparameterDistribution(SPACE, 3, seed=0)
    found = distribution.of_values(distribution.bounds())
    low, high = (np.asarray(SPACE.values(bound)) for bound in distribution.bounds())
    expected = {
        "l2": scipy.stats.loguniform(low[:, 0], high[:, 0]),
        "dropout": scipy.stats.uniform(low[:, 1], high[:, 1] - low[:, 1]),
    }
    assert list(found) == ["l2", "dropout"]
    for name, oracle in expected.items():
        middle = oracle.ppf(0.3).astype("float32")
        np.testing.assert_allclose(found[name].quantile(0.3), middle, rtol=1e-4)
        np.testing.assert_allclose(found[name].cdf(middle), [0.3] * 3, rtol=1e-3)
        np.testing.assert_allclose(found[name].log_prob(middle), oracle.logpdf(middle), rtol=1e-4)
        np.testing.assert_allclose(found[name].mean(), oracle.mean(), rtol=1e-4)
        samples = found[name].sample(1000, seed=0)
        assert samples.shape == (1000, 3)
        assert (samples >= oracle.support()[0] * 0.999).numpy().all()
        assert (samples <= oracle.support()[1] * 1.001).numpy().all()


def test_seeds():
    first, again, other = (HyperparameterDistribution(SPACE, 4, seed=seed).lower.numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("rows", [1, 20_000])
def test_samples_are_uniform_in_position_and_reparameterized(rows):
    distribution = HyperparameterDistribution(SPACE, 3, seed=0)
    bounds = distribution.bounds()
    with tf.GradientTape() as tape:
        tape.watch(bounds)
        values = distribution.sample(bounds, rows, key=(3, 4))
        z = SPACE.positions(values)
        total = tf.reduce_mean(z, 1)
    assert values.shape == (3, rows, 2)
    fraction = (z - bounds[0][:, None]) / (bounds[1] - bounds[0])[:, None]  # u in z = lower + u (upper - lower)
    assert (fraction.numpy() > -1e-4).all() and (fraction.numpy() < 1 + 1e-4).all()
    lower_gradient, upper_gradient = tape.gradient(total, bounds)
    np.testing.assert_allclose(upper_gradient, tf.reduce_mean(fraction, 1), atol=1e-3)
    np.testing.assert_allclose(lower_gradient, 1 - tf.reduce_mean(fraction, 1), atol=1e-3)
    if rows > 1:
        for member in range(3):
            for column in range(2):
                histogram, _ = np.histogram(fraction[member, :, column], 10, (0, 1))
                np.testing.assert_allclose(histogram / rows, 0.1, atol=0.015)


def test_draws_follow_from_the_key():
    distribution = HyperparameterDistribution(SPACE, 3, seed=0)
    first, again, other = (distribution.sample(distribution.bounds(), 5, key) for key in ((0, 1), (0, 1), (0, 2)))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_entropy_is_that_of_all_positions_together():
    distribution = HyperparameterDistribution(SPACE, 3, initial_width=0.25, seed=0)
    np.testing.assert_allclose(distribution.entropy(distribution.bounds()), 3 * 2 * np.log(0.5), rtol=1e-4)


def test_mean_is_the_mean_of_samples():
    distribution = HyperparameterDistribution(SPACE, 2, seed=0)
    samples = distribution.sample(distribution.bounds(), 200_000, (0, 0))
    np.testing.assert_allclose(distribution.mean(distribution.bounds()), tf.reduce_mean(samples, 1), rtol=2e-2)


@pytest.mark.parametrize(
    ("bounds", "projected"),
    [
        ((-0.5, 0.5), (-0.5, 0.5)),
        ((-1.5, 0.5), (-1.0, 0.5)),
        ((0.2, 3.0), (0.2, 1.0)),
        ((0.3, 0.1), (0.2 - MINIMUM_WIDTH / 2, 0.2 + MINIMUM_WIDTH / 2)),  # crossed
        ((1.2, 1.3), (1 - MINIMUM_WIDTH, 1.0)),  # outside
        ((-7.0, -5.0), (-1.0, -1 + MINIMUM_WIDTH)),
    ],
)
def test_projection(bounds, projected):
    distribution = HyperparameterDistribution(SPACE, 1, seed=0)
    lower, upper = distribution.project(tuple(tf.fill((1, 2), bound) for bound in bounds))
    np.testing.assert_allclose([lower[0, 0], upper[0, 0]], projected, atol=1e-6)


@pytest.mark.parametrize("width", [0, -1, 1.5])
def test_bad_width_is_named(width):
    with pytest.raises(ValueError, match=f"initial_width={width}"):
        HyperparameterDistribution(SPACE, 2, initial_width=width)


def test_an_empty_space_has_empty_bounds():
    distribution = HyperparameterDistribution(HyperparameterSpace(), 3, seed=0)
    assert distribution.sample(distribution.bounds(), 1, (0, 0)).shape == (3, 1, 0)
    assert float(distribution.entropy(distribution.bounds())) == 0
