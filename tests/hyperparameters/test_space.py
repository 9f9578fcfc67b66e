import keras
import keras_tuner
import numpy as np
import pytest

from keras_hyperens import Hyperparameter
from keras_hyperens import HyperparameterSpace

SPACE = HyperparameterSpace([Hyperparameter("l2", 1e-6, 1e-2, "log"), Hyperparameter("dropout", 0.1, 0.5, "linear")])


def test_positions_and_values_are_inverse():
    z = np.random.default_rng(0).uniform(-1, 1, (5, 3, 2)).astype("float32")
    np.testing.assert_allclose(SPACE.positions(SPACE.values(z)), z, atol=1e-5)
    np.testing.assert_allclose(
        SPACE.values([[-1, -1], [0, 0], [1, 1]]), [[1e-6, 0.1], [1e-4, 0.3], [1e-2, 0.5]], rtol=1e-5
    )


def test_mean_values_equal_numerical_integration():
    grid = np.linspace(-0.4, 0.7, 200_001)
    integrated = np.asarray(SPACE.values(np.stack([grid, grid], -1))).astype("float64").mean(0)
    np.testing.assert_allclose(SPACE.mean_values([-0.4, -0.4], [0.7, 0.7]), integrated, rtol=1e-4)
    a, b = 1e-4 * 10 ** (-0.4 * 2), 1e-4 * 10 ** (0.7 * 2)
    np.testing.assert_allclose(SPACE.mean_values([-0.4, 0], [0.7, 0])[0], (b - a) / np.log(b / a), rtol=1e-5)


@pytest.mark.parametrize("width", [0.0, 1e-7, 1e-4, 2e-4, 1e-3])
def test_mean_values_of_narrow_intervals_are_exact(width):
    middle = SPACE.values([[0.3, 0.3]])[0]
    np.testing.assert_allclose(SPACE.mean_values([0.3 - width] * 2, [0.3 + width] * 2), middle, rtol=1e-5)


def test_columns_and_names():
    assert SPACE.names == ("l2", "dropout") and SPACE.column("dropout") == 1 and len(SPACE) == 2
    assert SPACE["l2"].max_value == 1e-2
    with pytest.raises(ValueError, match=r"\['l2', 'dropout'\].*'l3'"):
        SPACE.column("l3")


def test_configuration_round_trip():
    assert HyperparameterSpace.from_config(SPACE.get_config()) == SPACE
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(SPACE)) == SPACE
    assert hash(SPACE) == hash(HyperparameterSpace(list(SPACE)))


def test_a_space_of_another_version_is_refused():
    entry = {"name": "l2", "low": 1e-6, "high": 1e-2, "scale": "log"}
    with pytest.raises(ValueError, match="Another version of keras_hyperens wrote this space.*'low'"):
        HyperparameterSpace.from_config({"entries": [entry]})


def test_keras_tuner_round_trip():
    hp = SPACE.to_keras_tuner()
    assert [(entry.name, entry.sampling) for entry in hp.space] == [("l2", "log"), ("dropout", "linear")]
    assert hp.get("l2") == pytest.approx(1e-4, rel=1e-4)
    assert HyperparameterSpace.from_keras_tuner(hp) == SPACE


def test_from_keras_tuner_takes_the_floats():
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 8, 64)
    hp.Float("l2", 1e-5, 1e-1, sampling="log")
    hp.Float("rate", 0.0, 0.5)
    assert HyperparameterSpace.from_keras_tuner(hp) == HyperparameterSpace(
        [Hyperparameter("l2", 1e-5, 1e-1, "log"), Hyperparameter("rate", 0.0, 0.5, "linear")]
    )


def test_from_keras_tuner_refuses_what_it_cannot_say():
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 8, 64)
    with pytest.raises(ValueError, match=r"at least one `Float`.*\['units'\]"):
        HyperparameterSpace.from_keras_tuner(hp)
    hp.Float("rate", 0.1, 0.5, sampling="reverse_log")
    with pytest.raises(ValueError, match="sampling='reverse_log'"):
        HyperparameterSpace.from_keras_tuner(hp)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 0.1, 1.0, "log"), "name=''"),
        (("a", 1.0, 1.0, "log"), "min_value=1.0, max_value=1.0"),
        (("a", 2.0, 1.0, "linear"), "min_value=2.0, max_value=1.0"),
        (("a", 0.0, 1.0, "log"), "min_value > 0.*min_value=0.0"),
        (("a", -1.0, 1.0, "log"), "min_value=-1.0"),
        (("a", 0.1, float("inf"), "log"), "max_value=inf"),
        (("a", float("nan"), 1.0, "linear"), "min_value=nan"),
        (("a", 0.1, 1.0, "cubic"), "sampling='cubic'"),
    ],
)
def test_bad_hyperparameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Hyperparameter(*arguments)


def test_bad_spaces_are_named():
    with pytest.raises(ValueError, match=r"distinct.*\('a', 'a'\)"):
        HyperparameterSpace([Hyperparameter("a", 0.1, 1, "log"), Hyperparameter("a", 0.1, 2, "log")])
    with pytest.raises(TypeError, match="Received: 'a'"):
        HyperparameterSpace(["a"])


@pytest.mark.parametrize(
    ("min_value", "max_value", "sampling"),
    [(1e-50, 1.0, "log"), (1e-40, 1e-39, "log"), (1.0, 1e39, "log"), (-1e39, 0.0, "linear"), (1e9, 1e9 + 1, "linear")],
)
def test_ranges_that_float32_cannot_hold_are_refused(min_value, max_value, sampling):
    with pytest.raises(ValueError, match="'x' needs a range that float32 can represent.*Received: min_value="):
        Hyperparameter("x", min_value, max_value, sampling)
