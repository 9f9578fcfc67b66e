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
    with pytest.raises(ValueError, match="same rows in the same order every time.*make a dataset of a generator"):
        ValidationRows(blobs(9, seed=seed) for seed in range(5))


def test_rows_without_end_are_refused():
    with pytest.raises(ValueError, match="`validation_data` must end"):
        ValidationRows(tf.data.Dataset.from_tensors(blobs()).repeat())
