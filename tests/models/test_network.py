"""Networks that do not keep rows apart and in order."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from tests.models.networks import M
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import members


@keras.saving.register_keras_serializable("tests")
class OnRows(keras.layers.Layer):
    """Does something to the batch axis."""

    def __init__(self, what, **kwargs):
        super().__init__(**kwargs)
        self.what = what

    def call(self, rows):
        return {
            "reverse": lambda: keras.ops.flip(rows, 0),
            "rotate": lambda: keras.ops.roll(rows, 1, 0),
            "center": lambda: rows - keras.ops.mean(rows, 0, keepdims=True),
            "drop": lambda: rows[::2],
            "drop one": lambda: rows[1:],
        }[self.what]()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("reverse", "reorders or mixes.*Received: a change of sample"),
        ("rotate", "reorders or mixes"),
        ("center", "reorders or mixes"),
        ("drop", "one output per input sample"),
        ("drop one", "one output per input sample|Received: .* samples"),
    ],
)
def test_rows_must_stay_apart_and_in_order(what, message):
    network = keras.Sequential([keras.Input((4,)), OnRows(what), khe.HyperBatchDense(3, kernel_l2="l2", **members())])
    with pytest.warns(UserWarning, match="rate"):
        ensemble = compiled(network)
    x, y = blobs()
    before = [np.array(weight) for weight in ensemble.get_weights()]
    with pytest.raises(ValueError, match=message):
        ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    for left, right in zip(before, ensemble.get_weights()):
        np.testing.assert_array_equal(left, right)  # nothing was trained


def test_batch_normalization_is_fine():
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), khe.HyperBatchDense(3, kernel_l2="l2", **members())]
    )
    with pytest.warns(UserWarning, match="rate"):
        ensemble = compiled(network)
    ensemble.run_eagerly = True
    x, y = blobs()
    ensemble.fit(x, y, tuning_split=0.25, verbose=0)
    assert np.isfinite(ensemble.predict(x, verbose=0)).all()


def test_hidden_layers_are_found_but_cannot_be_taken_out():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = khe.HyperBatchDense(3, kernel_l2="l2", **members())

        def build(self, shape):
            self.inner.build(shape)

        def call(self, inputs):
            return self.inner(inputs)

        @classmethod
        def from_config(cls, config):
            return cls()

    with pytest.warns(UserWarning, match="rate"):
        ensemble = compiled(keras.Sequential([keras.Input((4,)), Block()]))
    with pytest.raises(ValueError, match="hyper-batch layers in the graph"):
        ensemble.member(0)
    assert ensemble.predict_members(blobs()[0], verbose=0).shape == (M, 40, 3)
