import numpy as np
import pytest

from keras_hyperens import plots
from tests.plots.data import BOUNDS


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_middle_and_interval_of_every_member(scale, ax):
    plots.hyperparameter_path(BOUNDS, "l2", scale, ax=ax)
    assert ax.get_yscale() == scale and ax.get_title() == "Tuned intervals of l2"
    assert len(ax.lines) == len(ax.collections) == BOUNDS.shape[1]
    for member, (line, band) in enumerate(zip(ax.lines, ax.collections)):
        middle = np.exp(np.log(BOUNDS[:, member]).mean(-1)) if scale == "log" else BOUNDS[:, member].mean(-1)
        np.testing.assert_allclose(line.get_xydata(), np.column_stack([np.arange(len(BOUNDS)), middle]))
        assert set(BOUNDS[:, member].ravel()) <= set(band.get_paths()[0].vertices[:, 1])


@pytest.mark.parametrize(
    ("bounds", "scale", "message"),
    [
        (BOUNDS[0], "log", r"\[epochs, members, 2\]. Received: shape=\(4, 2\)"),
        (BOUNDS[..., :1], "log", r"\[epochs, members, 2\]. Received: shape=\(12, 4, 1\)"),
        (BOUNDS, "cubic", "`scale` must be 'log' or 'linear'. Received: scale='cubic'"),
        (BOUNDS * 0, "log", "`bounds` must be positive on a log scale. Received: values from 0"),
        (BOUNDS * np.nan, "log", "`bounds` must be finite"),
    ],
)
def test_wrong_bounds(bounds, scale, message):
    with pytest.raises(ValueError, match=message):
        plots.hyperparameter_path(bounds, "l2", scale)
