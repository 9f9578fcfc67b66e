import keras
import numpy as np
import pytest

import keras_hyperens as khe
from tests.layers.contract import B
from tests.layers.contract import M
from tests.layers.contract import members


def values(rates):
    """`[M, n, 2]` with these rates in the second column."""
    rates = np.asarray(rates, "float32")
    return np.stack([np.full_like(rates, 1e-3), rates], -1)


@pytest.mark.parametrize("per_row", [False, True])
def test_each_member_or_row_has_its_own_rate(per_row):
    layer = khe.HyperDropout("rate", **members(), seed=1)
    rates = np.linspace(0.1, 0.6, M * B).reshape(M, B) if per_row else np.array([[0.1], [0.3], [0.6]])
    with khe.hyperparameter_scope(values(rates)):
        outputs = np.asarray(layer(np.ones((M * B, 100, 50), "float32"), training=True))
    expected = np.broadcast_to(rates, (M, B)).ravel()
    dropped = (outputs == 0).mean((1, 2))
    np.testing.assert_allclose(dropped, expected, atol=0.03)  # 5,000 elements a row: 4 standard errors
    for row, rate in zip(outputs, expected):
        np.testing.assert_allclose(row[row != 0], 1 / (1 - rate), rtol=1e-5)
    np.testing.assert_allclose(outputs.mean((1, 2)), 1, atol=0.07)


def test_inference_changes_nothing_and_needs_no_values():
    rows = np.ones((M * B, 3), "float32")
    np.testing.assert_array_equal(khe.HyperDropout("rate", **members())(rows, training=False), rows)


def test_equal_rates_of_rows_equal_one_rate_of_the_member():
    rows = np.ones((M * B, 10), "float32")
    outputs = []
    for rates in ([[0.1], [0.3], [0.6]], np.repeat([[0.1], [0.3], [0.6]], B, 1)):
        with khe.hyperparameter_scope(values(rates)):
            outputs.append(khe.HyperDropout("rate", **members(), seed=1)(rows, training=True))
    np.testing.assert_array_equal(*outputs)


def test_noise_shape_drops_whole_feature_maps():
    layer = khe.HyperDropout("rate", noise_shape=(None, 1, 1, 8), **members(), seed=1)
    with khe.hyperparameter_scope(values([[0.5]] * M)):
        outputs = np.asarray(layer(np.ones((M * B, 4, 4, 8), "float32"), training=True))
    assert (outputs == outputs[:, :1, :1]).all() and 0.2 < (outputs == 0).mean() < 0.8


def test_a_fixed_rate_without_hyperparameters():
    layer = khe.HyperDropout(0.5, ensemble_size=M, seed=1)
    outputs = np.asarray(layer(np.ones((M * B, 1000), "float32"), training=True))
    np.testing.assert_allclose((outputs == 0).mean(), 0.5, atol=0.03)


def test_a_member_has_plain_dropout_at_its_rate():
    plain = khe.HyperDropout("rate", **members(), noise_shape=(None, 1, 8), name="drop").member_layer(
        {"l2": 0.1, "rate": 0.3}
    )
    assert type(plain) is keras.layers.Dropout
    assert (plain.rate, plain.name, plain.noise_shape) == (0.3, "drop", (None, 1, 8))


@pytest.mark.parametrize("rate", ["other", -0.1, 1.0, 1.5, None])
def test_bad_rates_are_named(rate):
    with pytest.raises(ValueError, match=f"rate={rate!r}"):
        khe.HyperDropout(rate, **members())


def test_a_range_up_to_one_is_refused():
    space = khe.HyperparameterSpace([khe.Hyperparameter("rate", 0.0, 1.0, "linear")])
    with pytest.raises(ValueError, match="below 1"):
        khe.HyperDropout("rate", ensemble_size=2, space=space)
