import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.models.training.bounds_prior import MEMORY
from keras_hyperens.models.training.bounds_prior import BoundsPrior
from keras_hyperens.models.training.tuning_rows import TuningRows
from tests.models.networks import blobs
from tests.models.networks import compiled

SPACE = khe.HyperparameterSpace(
    [khe.Hyperparameter("l2", 1e-6, 1e-2, "log"), khe.Hyperparameter("dropout", 0.0, 0.8, "linear")]
)
M = 2


def prior_of(members=M, **arguments):
    distribution = HyperparameterDistribution(SPACE, members, seed=0, **arguments)
    return BoundsPrior(distribution), np.stack(distribution.bounds())


def take(prior, gradients):
    state = prior.updated([gradients[0], gradients[1]])
    for variable, value in zip(prior.state, state, strict=True):
        variable.assign(value)
    return state


def test_the_pull_is_the_standard_error_times_the_distance_in_half_widths():
    prior, initial = prior_of(initial_values={"l2": 1e-4})
    gradients = np.random.default_rng(0).normal(0.3, 2.0, (40, 2, M, 2)).astype("float32")
    for gradient in gradients:
        state = take(prior, gradient)
    moved = initial + np.float32([0.1, -0.2])
    weights = MEMORY ** np.arange(40)[::-1]
    mean = np.average(gradients, axis=0, weights=weights)
    deviation = np.sqrt(np.average(np.square(gradients - mean), axis=0, weights=weights))  # [2, M, P]
    expected = deviation / np.sqrt(16) * (moved - initial) / [0.15, 1 / 3]  # l2 begins around a value, dropout does not
    np.testing.assert_allclose(np.stack(prior.pull(list(moved), state, 16.0)), expected, rtol=2e-4)


def test_a_gradient_of_so_many_standard_errors_moves_bounds_by_so_many_half_widths():
    errors = np.repeat([0.0, 1.0, -3.0], 4)[:, None]  # of each member
    prior, initial = prior_of(initial_values={"l2": 1e-4, "dropout": 0.4}, members=len(errors))
    generator, batches, deviation = np.random.default_rng(1), 25, 0.5
    gradient, bounds, places = errors * deviation / np.sqrt(batches), initial.copy(), []
    noise = generator.normal(0, deviation, (1000, *initial.shape)).astype("float32")
    for each in noise - noise.mean(0) + np.float32(gradient):
        state = take(prior, each)
        bounds = bounds - np.float32(0.02) * (each + np.stack(prior.pull(list(bounds), state, float(batches))))
        places.append(bounds)
    moved = (np.mean(places[300:], axis=0) - initial).mean(axis=0)  # of both bounds
    moved = moved.reshape(3, 4, 2).mean(axis=1)  # of four members
    np.testing.assert_allclose(moved, [[0.0] * 2, [-0.15] * 2, [0.45] * 2], atol=0.02)


def test_a_gradient_that_is_not_finite_changes_nothing():
    prior, initial = prior_of()
    take(prior, np.ones_like(initial))
    before = [variable.numpy() for variable in prior.state]
    take(prior, np.full_like(initial, np.inf))
    for variable, value in zip(prior.state, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_the_more_weight_the_nearer_bounds_stay():
    travelled = []
    for weight in (0.0, 100.0):
        ensemble, (x, y) = compiled(tuning_every=1, prior_weight=weight, run_eagerly=True), blobs()
        before = np.stack(ensemble.distribution.bounds())
        ensemble.fit(x, y, tuning_data=(x, y), batch_size=8, verbose=0)
        travelled.append(np.abs(np.stack(ensemble.distribution.bounds()) - before).mean())
    assert travelled[1] < travelled[0] / 2


def test_tuning_rows_count_batches_on_all_replicas():
    x, y = blobs(12)
    rows = TuningRows((x, y), None, seed=0)
    assert [float(rows.num_batches(tf.constant(size), replicas)) for size, replicas in ((4, 1), (4, 2), (8, 2))] == [
        3.0, 1.5, 1.0,
    ]  # fmt: skip
