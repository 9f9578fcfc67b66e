from functools import partial

import keras
import numpy as np
import pandas
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.training import member_rows
from keras_hyperens.models.training.draws import draw
from keras_hyperens.models.training.member_rows import Batch
from keras_hyperens.models.training.member_rows import BatchWindow
from tests.models.eagerly import eagerly_first
from tests.models.networks import M
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.networks import members


def window_of(size, lag=1, weights=False):
    weight_spec = tf.TensorSpec([None]) if weights else None
    return BatchWindow((tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int64), weight_spec), size, M, lag)


in_graph = partial(tf.function, autograph=False)


def given(window, sizes, wrap=in_graph):
    """The number of the batch that each member gets at each step, and that all of its parts are of that batch."""

    @wrap
    def step(x, y):
        return [(batch.x, batch.y) for batch in window.batches(Batch(x, y, None))]

    numbers = []
    for number, size in enumerate(sizes):
        parts = step(tf.fill([size, 2], float(number)), tf.fill([size], tf.constant(number, tf.int64)))
        for x, y in parts:
            assert x.shape == (size, 2) and y.shape == (size,)
            np.testing.assert_array_equal(x[:, 0], y)
        numbers.append([int(y[0]) for _, y in parts])
    return numbers


@pytest.mark.parametrize("size", [4, None])
@pytest.mark.parametrize("wrap", [partial(in_graph, reduce_retracing=True), lambda function: function])
def test_member_k_gets_the_batch_of_k_steps_ago(size, wrap):
    expected = [[0, 0, 0], [1, 1, 1], [2, 1, 0], [3, 2, 1], [4, 4, 4], [5, 3, 2], [6, 5, 3]]
    assert given(window_of(size), [4, 4, 4, 4, 2, 4, 4], wrap) == expected  # the fifth is the last of an epoch


def test_a_lag_of_two_steps():
    assert given(window_of(4, lag=2), [4] * 7)[4:] == [[4, 2, 0], [5, 3, 1], [6, 4, 2]]


def test_a_window_begins_anew_with_larger_batches_and_with_another_fit():
    window = window_of(None)
    assert given(window, [2, 4, 4, 4])[1:] == [[1, 1, 1], [2, 2, 2], [3, 2, 1]]
    arguments = (window.specs, None, M, 1)
    assert window.serves(*arguments) and not window.serves(window.specs, 8, M, 1)
    assert given(window, [4, 4, 4]) == [[0, 0, 0], [1, 1, 1], [2, 1, 0]]


def test_every_member_sees_every_sample_of_each_epoch_once():
    sizes = ([4] * 5 + [3]) * 6
    seen = np.array(given(window_of(4), sizes))[6:-6]  # the first epoch fills the window, the last one leaves it full
    for member in range(M):
        numbers, counts = np.unique(seen[:, member], return_counts=True)
        assert (counts == 1).all() and len(numbers) == len(seen)


def test_a_split_batch():
    batch = Batch({"a": np.arange(8), "b": np.arange(8)}, np.arange(8), None)
    parts = member_rows.split(batch, 3)
    assert [np.array(part.y).tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert all(np.array_equal(part.x["a"], part.y) and part.sample_weight is None for part in parts)
    small = member_rows.split(Batch(np.arange(2), np.arange(2), None), 3)
    assert [np.array(part.y).tolist() for part in small] == [[0], [1], [0]]
    np.testing.assert_array_equal(member_rows.joined(parts).y, np.arange(6))


class ByHand:
    """The steps of gradient descent that `fit` should do, of batches that are given."""

    def __init__(self, rows):
        keras.utils.set_random_seed(1)
        with pytest.warns(UserWarning, match="rate"):
            self.ensemble = compiled(dense_network(rate=1e-7), optimizer=keras.optimizers.SGD(0.1), member_rows=rows)
        self.network = self.ensemble.network

    def step(self, number, batches):
        bounds = self.ensemble.distribution.bounds()
        self.ensemble.step.assign(number)
        values = draw(self.ensemble, bounds, 1, 0)
        centers = self.ensemble.distribution.middle(bounds)[:, None]
        with tf.GradientTape() as tape, khe.hyperparameter_scope(values, centers):
            logits = self.network(np.concatenate([x for x, *_ in batches]), training=True)
            logits = tf.reshape(logits, (M, -1, 3))
            losses = [
                tf.reduce_mean(weight * tf.nn.sparse_softmax_cross_entropy_with_logits(y, one))
                for one, (_, y, weight) in zip(logits, batches)
            ]
            total = tf.reduce_mean(losses) + sum(self.network.losses)
        gradients = tape.gradient(total, [weight.value for weight in self.network.trainable_weights])
        for weight, gradient in zip(self.network.trainable_weights, gradients):
            weight.assign_sub(0.1 * gradient)


@eagerly_first
@pytest.mark.filterwarnings("ignore:No tuning data")
@pytest.mark.parametrize("rows", ["distinct", "split"])
def test_training_is_that_of_members_on_their_own_samples(rows):
    """Two epochs of gradient descent, weighted samples, a partial last batch, equal those by hand."""
    x, y = blobs(42)
    weight = np.random.default_rng(2).uniform(0.5, 2, 42).astype("float32")
    trained = ByHand(rows).ensemble
    trained.fit(x, y, batch_size=12, epochs=2, sample_weight=weight, shuffle=False, verbose=0)
    expected = ByHand(rows)
    batches = [tuple(part[start : start + 12] for part in (x, y, weight)) for start in range(0, 42, 12)]
    past = []
    for number, batch in enumerate(batches * 2):
        if rows == "split":
            size = len(batch[1]) // M
            each = [tuple(part[k * size : (k + 1) * size] for part in batch) for k in range(M)]
        elif len(batch[1]) < 12 or len(past) < M - 1:
            each = [batch] * M
        else:
            each = [batch, past[-1], past[-2]]
        if len(batch[1]) == 12:
            past.append(batch)
        expected.step(number, each)
    for left, right in zip(trained.network.get_weights(), expected.network.get_weights()):
        np.testing.assert_allclose(left, right, atol=1e-5)


@eagerly_first
@pytest.mark.filterwarnings("ignore:No tuning data", "ignore:Neither a layer")
def test_training_metrics_are_those_of_members_on_their_own_samples():
    x, y = blobs(12)
    ensemble = compiled(
        dense_network(rate=0.0),
        optimizer=keras.optimizers.SGD(0.0),
        metrics=["accuracy"],
        member_metrics=[khe.metrics.Disagreement()],
        member_rows="split",
    )
    history = ensemble.fit(x, y, batch_size=12, shuffle=False, validation_data=(x, y), verbose=0).history
    assert {"accuracy", "loss", "val_disagreement"} <= set(history) and "disagreement" not in history
    each = ensemble.predict_members(x, verbose=0).argmax(-1)
    own = [each[k, 4 * k : 4 * k + 4] == y[4 * k : 4 * k + 4] for k in range(M)]
    np.testing.assert_allclose(history["accuracy"], np.mean(own), rtol=1e-6)


@eagerly_first
@pytest.mark.filterwarnings("ignore:No tuning data")
def test_tables_of_pandas_and_class_weights():
    x, y = blobs(24)
    ensemble = compiled()
    ensemble.fit(pandas.DataFrame(x), pandas.Series(y), batch_size=6, verbose=0)
    assert int(ensemble._trainer.window.count) == 4
    ensemble.fit(x, y, batch_size=6, class_weight={0: 2.0, 1: 1.0, 2: 1.0}, verbose=0)
    assert int(ensemble._trainer.window.count) == 4


def test_choices_are_checked():
    with pytest.raises(ValueError, match="`member_rows` must be one of .* Received: member_rows='other'"):
        compiled(member_rows="other")
    with pytest.raises(ValueError, match="positive number of steps. Received: member_rows=0"):
        compiled(member_rows=0)
    with pytest.raises(ValueError, match="requires the same samples for all members"):
        compiled(member_rows="distinct", member_loss="ensemble")
    assert compiled(member_loss="ensemble")._trainer.settings.lag is None and compiled()._trainer.settings.lag == 1


@eagerly_first
@pytest.mark.filterwarnings("ignore:No tuning data")
def test_one_member_needs_no_window():
    x, y = blobs(24)
    space = members(1)
    ensemble = khe.HyperBatchEnsemble(dense_network(size=1), **space, seed=0)
    ensemble.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ensemble.fit(x, y, verbose=0)
    assert ensemble._trainer.window is None
