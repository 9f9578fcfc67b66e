"""What holds for each of several outputs."""

import keras
import numpy as np

from keras_hyperens import likelihoods
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Value
from keras_hyperens.likelihoods import parts_of_outputs
from keras_hyperens.likelihoods import per_output


def test_settings_of_several_outputs():
    one, two, pair = "softmax", {"a": "softmax", "b": None}, ["softmax", None]
    outputs = {"a": 1, "b": 2}
    assert per_output(one, outputs, None) == ["softmax", "softmax"]
    assert per_output(two, outputs, None) == pair
    assert per_output({"b": "sigmoid"}, outputs, None) == [None, "sigmoid"]
    assert per_output(two, [1, 2], ["a", "b"]) == pair
    assert per_output(pair, [1, 2], None) == pair
    assert per_output(one, 1, ["a"]) == ["softmax"]
    assert per_output({"a": "softmax"}, 1, ["a"]) == ["softmax"]


def test_labels_with_names_are_found_by_them():
    labels = {"b": np.ones(2), "a": np.zeros(2)}
    for outputs, names in ((["B", "A"], ["b", "a"]), (["A", "B"], ["a", "b"]), ({"b": "B", "a": "A"}, None)):
        of_flat = dict(zip(keras.tree.flatten(outputs), parts_of_outputs(labels, outputs, names), strict=True))
        assert of_flat["A"] is labels["a"] and of_flat["B"] is labels["b"]
    assert parts_of_outputs([1, 2], ["B", "A"], ["b", "a"]) == [1, 2]
    assert parts_of_outputs({"other": 1}, "A", ["a"]) == [1]
    assert parts_of_outputs({"c": 1, "d": 2}, ["A", "B"], ["a", "b"]) == [1, 2]


def test_outputs_of_which_nothing_is_said_have_values():
    outputs = {"a": 1, "b": 2}
    assert likelihoods.of_each_output({"b": Gaussian()}, outputs, None) == [Value(), Gaussian()]
    assert likelihoods.like_outputs(None, outputs, None) == {"a": Value(), "b": Value()}


def test_each_output_goes_by_its_own_likelihood():
    members = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    of_outputs = {"a": Categorical(from_logits=True), "b": Gaussian(), "c": Value()}
    raw = {name: keras.ops.convert_to_tensor(members) for name in of_outputs}
    predictions = likelihoods.predictions(raw, of_outputs)
    combined = likelihoods.combined_raw(raw, of_outputs)
    back = likelihoods.raw_of(predictions, of_outputs)
    for name, likelihood in of_outputs.items():
        np.testing.assert_array_equal(predictions[name], likelihood.predict(raw[name]))
        np.testing.assert_array_equal(combined[name], likelihood.combine_raw(raw[name]))
        np.testing.assert_array_equal(back[name], likelihood.to_raw(predictions[name]))


def test_masks_go_along():
    members = keras.ops.ones((2, 3, 4, 1))
    members._keras_mask = keras.ops.convert_to_tensor(np.arange(24).reshape(2, 3, 4) % 5 > 0)
    combined = likelihoods.combined_raw(members, Value())
    np.testing.assert_array_equal(combined._keras_mask, np.asarray(members._keras_mask).all(0))
    np.testing.assert_array_equal(likelihoods.predictions(members, Value())._keras_mask, members._keras_mask)
