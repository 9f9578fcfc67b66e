import keras
import numpy as np
import pytest

from keras_hyperens import heads
from keras_hyperens import losses

LOGITS = np.random.default_rng(0).normal(0, 3, (4, 6, 5)).astype("float32")


@pytest.mark.parametrize(
    ("loss", "head"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "softmax"),
        (keras.losses.CategoricalFocalCrossentropy(from_logits=True), "softmax"),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), "categorical"),
        (keras.losses.BinaryCrossentropy(from_logits=True), "sigmoid"),
        ("sparse_categorical_crossentropy", "categorical"),
        ("binary_crossentropy", "bernoulli"),
        ("SparseCategoricalCrossentropy", "categorical"),
        (keras.losses.categorical_crossentropy, "categorical"),
        (keras.losses.CTC(), "softmax"),
        (keras.losses.ctc, "softmax"),
        ("mse", None),
        (keras.losses.MeanSquaredError(), None),
        (lambda y_true, y_pred: 0.0, None),
        (None, None),
    ],
)
def test_a_loss_tells_what_outputs_are(loss, head):
    assert heads.head_of_loss(loss) == head


def test_combined_raw_predicts_the_mean_of_predictions():
    for head in ("softmax", "sigmoid", "categorical", None):
        combined = heads.prediction(heads.combined_raw(LOGITS, head), head)
        np.testing.assert_allclose(combined, np.mean(heads.prediction(LOGITS, head), 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_combined_logits_stay_finite_where_probabilities_vanish(head):
    extreme = np.array([[[500.0, -500.0]], [[400.0, -300.0]]], "float32")
    raw = np.asarray(heads.combined_raw(extreme, head))
    assert np.isfinite(raw).all() and raw[0, 0] - raw[0, 1] > 300


def test_half_precision_is_combined_in_single():
    assert heads.prediction(keras.ops.cast(LOGITS, "float16"), "softmax").dtype == "float32"


def test_settings_of_several_outputs():
    one, two, pair = "softmax", {"a": "softmax", "b": None}, ["softmax", None]
    outputs = {"a": 1, "b": 2}
    assert heads.per_output(one, outputs, None) == ["softmax", "softmax"]
    assert heads.per_output(two, outputs, None) == pair
    assert heads.per_output({"b": "sigmoid"}, outputs, None) == [None, "sigmoid"]
    assert heads.per_output(two, [1, 2], ["a", "b"]) == pair
    assert heads.per_output(pair, [1, 2], None) == pair
    assert heads.per_output(one, 1, ["a"]) == ["softmax"]
    assert heads.per_output({"a": "softmax"}, 1, ["a"]) == ["softmax"]


def test_losses_of_members_and_of_the_ensemble():
    labels = np.arange(6) % 5
    probabilities = np.asarray(keras.ops.softmax(LOGITS))

    def nll(raw, member=0):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, raw)

    of_members = [-np.log(one[np.arange(6), labels]).mean() for one in probabilities]
    np.testing.assert_allclose(losses.member_loss(nll, LOGITS), np.mean(of_members), rtol=1e-5)
    of_ensemble = -np.log(probabilities.mean(0)[np.arange(6), labels]).mean()
    np.testing.assert_allclose(losses.ensemble_loss(nll, LOGITS, "softmax"), of_ensemble, rtol=1e-5)
    assert of_ensemble < np.mean(of_members)  # Jensen
