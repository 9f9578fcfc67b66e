import numpy as np
import pytest

from keras_hyperens import plots
from tests.plots.data import LOSSES
from tests.plots.data import VALUES

AT = np.array([2e-5, 1e-4, 1e-3, 1e-1])
ENSEMBLE = LOSSES.mean(0)


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def marks(ax):
    return np.concatenate([line.get_xydata() for line in ax.lines if line.get_linestyle() == "None"])


def test_lines_of_the_ensemble_and_its_members(ax):
    plots.response_curve(VALUES, ENSEMBLE, "l2", members=LOSSES, ax=ax)
    np.testing.assert_allclose(line(ax, "ensemble").get_data(), [VALUES, ENSEMBLE])
    for member, losses in enumerate(LOSSES):
        np.testing.assert_allclose(line(ax, f"member {member}").get_data(), [VALUES, losses])
        assert line(ax, f"member {member}").get_linewidth() < line(ax, "ensemble").get_linewidth()
    assert len(ax.lines) == 5 and ax.get_xscale() == "log" and ax.get_xlabel() == "l2"


def test_marks_are_on_the_members_lines_as_drawn(ax):
    plots.response_curve(VALUES, ENSEMBLE, "l2", members=LOSSES, at=AT, ax=ax)
    expected = [np.interp(np.log(x), np.log(VALUES), losses) for x, losses in zip(AT, LOSSES)]
    np.testing.assert_allclose(marks(ax), np.column_stack([AT, expected]))
    assert ax.get_xlabel() == "l2 (markers: tuned values of the members)"


def test_marks_are_on_the_ensemble_without_members(ax):
    plots.response_curve([0.0, 0.2, 0.6], [1.0, 0.5, 0.7], "dropout", "linear", at=[0.1, 0.4, 0.6], ax=ax)
    np.testing.assert_allclose(marks(ax), [[0.1, 0.75], [0.4, 0.6], [0.6, 0.7]])
    assert ax.get_xscale() == "linear"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": ENSEMBLE[1:]}, r"Received: shapes \(9,\), \(8,\)"),
        ({"members": LOSSES[:, 1:]}, r"Received: shapes \(9,\), \(9,\), \(4, 8\)"),
        ({"members": LOSSES, "at": AT[1:]}, r"Received: shapes \(9,\), \(9,\), \(4, 9\), \(3,\)"),
        ({"members": ENSEMBLE}, r"`members` must be \[M, G\]. Received: shape=\(9,\)"),
        ({"losses": ENSEMBLE * np.nan}, "`losses` must be finite. Received: 9 values"),
        ({"values": VALUES[::-1]}, "`values` must ascend. Received: values="),
        ({"values": VALUES - 1e-5}, "`values` must be positive on a log scale. Received: values from 0"),
        ({"at": [1.0]}, r"in the range of values, \[1e-05, 0.1\]. Received: at=\[1.\]"),
        ({"scale": "cubic"}, "`scale` must be 'log' or 'linear'. Received: scale='cubic'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.response_curve(**{"values": VALUES, "losses": ENSEMBLE} | arguments)
