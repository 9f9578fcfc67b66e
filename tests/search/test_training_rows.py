"""Training and validation rows together: weights travel with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens.search.training_rows import joined_rows
from tests.search.problem import blobs

X, Y = blobs()
XV, YV = blobs(45, seed=1)
WEIGHTS, OF_VALIDATION = np.arange(60, dtype="float32"), np.arange(45, dtype="float32") + 0.5
CASES = [
    (None, None, None),
    (WEIGHTS, OF_VALIDATION, np.concatenate([WEIGHTS, OF_VALIDATION])),
    (WEIGHTS, None, np.concatenate([WEIGHTS, np.ones(45)])),
    (None, OF_VALIDATION, np.concatenate([np.ones(60), OF_VALIDATION])),
]


@pytest.mark.parametrize(("weights", "of_validation", "expected"), CASES)
def test_arrays_and_datasets_keep_their_weights(weights, of_validation, expected):
    train = tuple(part for part in (X, Y, weights) if part is not None)
    validation = tuple(part for part in (XV, YV, of_validation) if part is not None)
    arrays = joined_rows(X, Y, weights, validation)
    datasets = [tf.data.Dataset.from_tensor_slices(part).batch(7) for part in (train, validation)]
    dataset = joined_rows(datasets[0], None, None, datasets[1])["x"]
    batches = [keras.utils.unpack_x_y_sample_weight(batch) for batch in dataset]
    of_dataset = [None if parts[0] is None else np.concatenate(parts) for parts in zip(*batches)]
    for found in ((arrays["x"], arrays["y"], arrays.get("sample_weight")), of_dataset):
        np.testing.assert_array_equal(found[0], np.concatenate([X, XV]))
        np.testing.assert_array_equal(found[1], np.concatenate([Y, YV]))
        np.testing.assert_array_equal(found[2], expected)


def test_weights_of_outputs_and_of_steps():
    two = {"a": Y, "b": Y}, {"a": YV, "b": YV}
    weights = {"a": WEIGHTS, "b": np.tile(WEIGHTS[:, None], (1, 4))}
    joined = joined_rows(X, two[0], weights, (XV, two[1]))
    np.testing.assert_array_equal(joined["sample_weight"]["a"], np.concatenate([WEIGHTS, np.ones(45)]))
    np.testing.assert_array_equal(joined["sample_weight"]["b"], np.concatenate([weights["b"], np.ones((45, 4))]))
