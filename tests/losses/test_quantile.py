import keras
import numpy as np
import pytest

from keras_hyperens.losses import Quantile

GENERATOR = np.random.default_rng(0)


def by_loops(targets, outputs, levels):
    """The mean pinball loss of each row."""
    rows, number = targets.shape
    found = np.zeros(rows)
    for row in range(rows):
        for place, level in enumerate(levels):
            for d in range(number):
                error = targets[row, d] - outputs[row, place * number + d]
                found[row] += (level if error > 0 else level - 1) * error
    return found / (number * len(levels))


@pytest.mark.parametrize("number", [1, 2])
def test_equals_loops(number):
    levels = (0.1, 0.5, 0.8)
    targets = GENERATOR.normal(size=(7, number)).astype("float32")
    outputs = GENERATOR.normal(size=(7, 3 * number)).astype("float32")
    expected = by_loops(targets, outputs, levels)
    np.testing.assert_allclose(Quantile(levels, reduction=None)(targets, outputs), expected, rtol=1e-5)
    np.testing.assert_allclose(Quantile(levels)(targets, outputs), expected.mean(), rtol=1e-5)
    if number == 1:
        np.testing.assert_allclose(Quantile(levels, reduction=None)(targets[:, 0], outputs), expected, rtol=1e-5)


def test_the_lowest_loss_is_at_the_quantiles():
    targets = GENERATOR.normal(size=(2001, 1))
    loss = Quantile((0.2, 0.9))
    grid = np.linspace(-2, 2, 81)
    losses = [[float(loss(targets, np.tile([[low, 3.0]], (2001, 1)))) for low in grid]]
    losses.append([float(loss(targets, np.tile([[-3.0, high]], (2001, 1)))) for high in grid])
    found = grid[np.argmin(losses, -1)]
    np.testing.assert_allclose(found, np.quantile(targets, [0.2, 0.9]), atol=0.05)


def test_config_and_bad_input():
    loss = keras.losses.deserialize(keras.losses.serialize(Quantile((0.1, 0.9), name="pinball")))
    assert loss.levels == (0.1, 0.9) and loss.name == "pinball"
    for levels in ((), (0, 0.5), (0.5, 1), 0.5, "high", (0.5, None), (float("nan"),)):
        with pytest.raises(ValueError, match=r"`levels` must be numbers in \(0, 1\).*Received: levels="):
            Quantile(levels)
    for levels in ((0.9, 0.1), (0.5, 0.5)):
        with pytest.raises(ValueError, match="ascending and distinct. Received: levels="):
            Quantile(levels)
    with pytest.raises(ValueError, match=r"2 levels the outputs must be \(B, ..., 2 \* D\).*\(3, 2\) and \(3, 3\)"):
        Quantile()(np.zeros((3, 2)), np.zeros((3, 3)))
