"""Keras' own layer test, for the layers as they are without hyperparameters and with them."""

import keras
import numpy as np
import pytest
from keras.src import testing  # nowhere else

import keras_hyperens as khe
from tests.layers.contract import space

VALUES = np.full((2, 1, 2), 0.1, "float32")


@pytest.mark.filterwarnings("ignore")  # its own
class LayerTest(testing.TestCase):
    def check(self, layer, arguments, input_shape, output_shape, weights, losses=0, masking=False):
        for hyperparameters, more in ((None, 0), (space(), weights)):
            with khe.hyperparameter_scope(VALUES):
                self.run_layer_test(
                    layer,
                    init_kwargs={**arguments, "ensemble_size": 2, "space": hyperparameters},
                    input_shape=input_shape,
                    expected_output_shape=output_shape,
                    expected_num_trainable_weights=(4 if weights else 0) + more,
                    expected_num_non_trainable_weights=0,
                    expected_num_seed_generators=0 if weights else 1,
                    expected_num_losses=losses,
                    supports_masking=masking,
                    custom_objects={"HyperparameterSpace": khe.HyperparameterSpace},
                )

    def test_dense(self):
        arguments = {"units": 3, "activation": "relu"}
        self.check(khe.HyperBatchDense, arguments, (4, 5), (4, 3), weights=6, masking=True)

    def test_conv(self):
        arguments = {"filters": 3, "kernel_size": 2, "padding": "same"}
        self.check(khe.HyperBatchConv2D, arguments, (4, 6, 6, 2), (4, 6, 6, 3), weights=6)

    def test_dropout(self):
        self.check(khe.HyperDropout, {"rate": 0.5, "seed": 0}, (4, 5), (4, 5), weights=0, masking=True)


def test_a_space_is_part_of_the_configuration():
    layer = khe.HyperBatchDense(3, ensemble_size=2, space=space(), kernel_l2="l2")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.space == space() and copy.kernel_l2 == "l2"


@pytest.mark.parametrize("rows", [1, 40])  # by row, and with folded kernels
def test_whole_numbers_are_multiplied_as_keras_does(rows):
    plain = keras.layers.Dense(3)
    x = np.random.default_rng(0).integers(0, 5, (rows, 4))
    expected = plain(x)
    layer = khe.HyperBatchDense.from_plain(plain, {"ensemble_size": 2, "fast_weight_initializer": "ones"})
    layer.build((None, 4))
    layer.adopt(plain.get_weights())
    np.testing.assert_allclose(layer(np.concatenate([x, x])), np.concatenate([expected] * 2), rtol=1e-6)
