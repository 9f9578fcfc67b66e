"""Validation rows are read more than once, and only their labels stay."""

import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens.search.validation_rows import ValidationRows
from tests.search.problem import blobs


class Watched(keras.utils.PyDataset):
    """Batches whose inputs it would like to see gone before the next one."""

    def __init__(self):
        super().__init__()
        self.given = []

    def __len__(self):
        return 5

    def __getitem__(self, index):
        assert sum(inputs() is not None for inputs in self.given) <= 1
        x, y = blobs(9, seed=index)
        self.given.append(weakref.ref(x))
        return x, y


def test_labels_are_read_without_keeping_inputs():
    labels = np.concatenate([blobs(9, seed=index)[1] for index in range(5)])
    np.testing.assert_array_equal(ValidationRows(Watched()).labels, [labels])


def test_labels_stay_as_they_are():
    x, y = blobs()
    for data in ((x, y.astype("float64")), tf.data.Dataset.from_tensor_slices((x, y.astype("float64"))).batch(7)):
        (labels,) = ValidationRows(data).labels
        np.testing.assert_array_equal(labels, y)
        assert labels.dtype == "float64"


def test_a_generator_that_can_be_read_once_is_refused():
    with pytest.raises(ValueError, match="same samples in the same order every time.*convert a generator to a"):
        ValidationRows(blobs(9, seed=seed) for seed in range(5))


def test_rows_without_end_are_refused():
    with pytest.raises(ValueError, match="`validation_data` must be finite"):
        ValidationRows(tf.data.Dataset.from_tensors(blobs()).repeat())


def test_a_digest_knows_which_output_has_weights():
    (x, y), weights = blobs(), np.ones(60)
    digests = [ValidationRows((x, [y, y], each)).digest() for each in (None, [weights, None], [None, weights])]
    assert len(set(digests)) == 3


def tagger(layers=()):
    return keras.Sequential(
        [keras.Input((4,), dtype="int32"), keras.layers.Embedding(6, 2, mask_zero=True), *layers, keras.layers.Dense(3)]
    )


@pytest.mark.parametrize("kind", ["arrays", "dataset", "weights"])
def test_positions_that_a_model_masks_have_no_weight(kind):
    x = np.random.default_rng(0).integers(0, 6, (50, 4))
    weights = np.arange(50) % 3 if kind == "weights" else None
    data = (x, x % 3) if weights is None else (x, x % 3, weights)
    data = tf.data.Dataset.from_tensor_slices(data).batch(7) if kind == "dataset" else data
    rows = ValidationRows(data)
    assert rows.leave_out_masked(tagger(), 8)
    expected = (x != 0) * (1 if weights is None else weights[:, None])
    np.testing.assert_array_equal(rows.weights, [expected])
    assert rows.digest() != ValidationRows(data).digest()


def test_masks_that_end_before_the_output_count_nowhere():
    x = np.random.default_rng(0).integers(0, 6, (50, 4))
    rows = ValidationRows((x, x[:, 0] % 3))
    assert not rows.leave_out_masked(tagger([keras.layers.LSTM(2)]), None)
    assert rows.weights == [None]
