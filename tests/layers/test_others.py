"""Layers without kernels of their own: noise, normalization of members, time-distributed layers."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from keras_hyperens import layers
from tests.layers.contract import B
from tests.layers.contract import M
from tests.layers.contract import draw
from tests.layers.contract import layer_contract
from tests.layers.contract import members
from tests.layers.family import OTHERS


@pytest.mark.parametrize("name", OTHERS)
def test_contract(name):
    layer_contract(*OTHERS[name])


@pytest.mark.parametrize("per_row", [False, True])
def test_noise_is_as_strong_as_each_member_says(per_row):
    shape = (M * B, 100, 50)
    values = draw(B if per_row else 1)
    levels = np.broadcast_to(values[..., 1], (M, B)).ravel()
    with khe.hyperparameter_scope(values):
        added = np.asarray(layers.HyperGaussianNoise("rate", seed=0, **members())(np.zeros(shape), training=True))
        times = np.asarray(layers.HyperGaussianDropout("rate", seed=0, **members())(np.ones(shape), training=True))
    np.testing.assert_allclose(added.std((1, 2)), levels, rtol=0.05)
    np.testing.assert_allclose(times.std((1, 2)), np.sqrt(levels / (1 - levels)), rtol=0.05)
    np.testing.assert_allclose(times.mean((1, 2)), 1, atol=0.1)


@pytest.mark.parametrize(
    ("kind", "shape", "shared"),
    [
        (layers.HyperSpatialDropout1D, (6, 40), (1,)),
        (layers.HyperSpatialDropout2D, (4, 5, 40), (1, 2)),
        (layers.HyperSpatialDropout3D, (3, 4, 2, 40), (1, 2, 3)),
    ],
)
def test_whole_maps_are_dropped(kind, shape, shared):
    with khe.hyperparameter_scope(draw(1)):
        outputs = np.asarray(kind("rate", seed=0, **members())(np.ones((M * B, *shape), "float32"), training=True))
    np.testing.assert_array_equal(outputs.min(shared), outputs.max(shared))
    dropped = (outputs.min(shared) == 0).reshape(M, -1).mean(1)
    np.testing.assert_allclose(dropped, draw(1)[:, 0, 1], atol=0.12)  # 160 maps a member: 3 standard errors


def test_every_member_is_normalized_by_itself():
    rows = np.random.default_rng(0).normal(np.arange(M)[:, None, None], 1 + np.arange(M)[:, None, None], (M, 50, 3))
    layer = layers.MemberBatchNormalization(ensemble_size=M, momentum=0.0)
    outputs = np.asarray(layer(rows.reshape(-1, 3).astype("float32"), training=True)).reshape(M, 50, 3)
    np.testing.assert_allclose(outputs.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(1), 1, rtol=1e-2)
    for k in range(M):
        plain = layer.member_layer({})
        plain.build((None, 3))
        plain.set_weights(layer.member_weights(k, None))
        expected = plain(rows[k].astype("float32"))
        np.testing.assert_allclose(
            layer(rows.reshape(-1, 3).astype("float32"))[k * 50 : (k + 1) * 50], expected, rtol=1e-4
        )


@pytest.mark.parametrize("draws", [1, B])
def test_time_is_one_more_axis_of_rows(draws):
    """Against Keras' own wrapper around each time, whatever the number of times is known or not."""
    inner = khe.HyperBatchDense(3, kernel_l2="l2", activation="tanh", **members())
    layer = layers.HyperBatchTimeDistributed(inner)
    rows = np.random.default_rng(0).normal(size=(M * B, 5, 4)).astype("float32")
    with khe.hyperparameter_scope(draw(draws)):
        outputs = np.asarray(layer(rows, training=True))
        penalties = [float(loss) for loss in layer.losses]
        each = np.stack([inner(rows[:, time]) for time in range(5)], axis=1)
    np.testing.assert_allclose(outputs, each, rtol=1e-5, atol=1e-6)
    assert len(penalties) == 1 and layer(keras.KerasTensor((None, None, 4))).shape == (None, None, 3)
