import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_hyperens.metrics import ExpectedCalibrationError

GENERATOR = np.random.default_rng(0)
PROBABILITIES = GENERATOR.dirichlet(np.ones(4), 500).astype("float32")
LABELS = GENERATOR.integers(0, 4, 500)


def score(labels, probabilities, **arguments):
    metric = ExpectedCalibrationError(**arguments)
    metric.update_state(labels, probabilities)
    return float(metric.result())


@pytest.mark.parametrize("num_bins", [1, 5, 15])
def test_equals_tensorflow_probability(num_bins):
    expected = tfp.stats.expected_calibration_error(
        num_bins, logits=tf.math.log(PROBABILITIES), labels_true=tf.constant(LABELS, tf.int32)
    )
    np.testing.assert_allclose(score(LABELS, PROBABILITIES, num_bins=num_bins), expected, rtol=1e-4)


def test_labels_of_every_kind():
    expected = score(LABELS, PROBABILITIES)
    assert score(LABELS[:, None], PROBABILITIES) == expected
    assert score(np.eye(4)[LABELS], PROBABILITIES) == expected
    assert score(LABELS.reshape(50, 10), PROBABILITIES.reshape(50, 10, 4)) == expected


def test_batches_add_up_and_weights_count_as_repetitions():
    metric = ExpectedCalibrationError()
    for part in (slice(0, 7), slice(7, 300), slice(300, 500)):
        metric.update_state(LABELS[part], PROBABILITIES[part])
    np.testing.assert_allclose(float(metric.result()), score(LABELS, PROBABILITIES), rtol=1e-5)
    weights = GENERATOR.integers(0, 3, 500)
    weighted = ExpectedCalibrationError()
    weighted.update_state(LABELS, PROBABILITIES, weights)
    repeated = score(np.repeat(LABELS, weights), np.repeat(PROBABILITIES, weights, 0))
    np.testing.assert_allclose(float(weighted.result()), repeated, rtol=1e-4)


def test_perfect_and_overconfident():
    assert score(np.array([0, 1]), np.eye(2)) == 0
    np.testing.assert_allclose(score(np.array([1, 0]), np.eye(2)), 1)
    assert float(ExpectedCalibrationError().result()) == 0


def test_one_probability_is_that_of_class_one():
    both = np.stack([1 - PROBABILITIES[:, 0], PROBABILITIES[:, 0]], -1)
    labels = LABELS % 2
    np.testing.assert_allclose(score(labels, PROBABILITIES[:, :1]), score(labels, both), rtol=1e-5)


def test_inside_a_compiled_model_and_a_file(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", metrics=[ExpectedCalibrationError(7)], jit_compile=True)
    logs = model.evaluate(PROBABILITIES, LABELS, verbose=0, return_dict=True)
    np.testing.assert_allclose(
        logs["ece"], score(LABELS, model.predict(PROBABILITIES, verbose=0), num_bins=7), rtol=1e-3
    )
    twin = ExpectedCalibrationError.from_config(ExpectedCalibrationError(7).get_config())
    assert twin.num_bins == 7


def test_bad_bins_are_named():
    with pytest.raises(ValueError, match="num_bins=0"):
        ExpectedCalibrationError(0)
