import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from keras_hyperens import plots
from tests.plots.data import MEMBER_PROBABILITIES


def test_shares_are_counted_pair_by_pair(ax):
    plots.diversity_matrix(MEMBER_PROBABILITIES, ax=ax)
    votes = MEMBER_PROBABILITIES.argmax(-1)
    expected = [[100 * (1 - accuracy_score(first, second)) for second in votes] for first in votes]
    np.testing.assert_allclose(ax.images[0].get_array(), expected, atol=1e-9)
    written = {text.get_position(): float(text.get_text()) for text in ax.texts}
    for row, column in np.ndindex(4, 4):
        np.testing.assert_allclose(written[column, row], expected[row][column], atol=0.051)


def test_members_that_agree(ax):
    plots.diversity_matrix(np.repeat(MEMBER_PROBABILITIES[:1], 3, axis=0), ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), np.zeros((3, 3)))
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (MEMBER_PROBABILITIES[0], r"\[M, N, C\] with at least two members. Received: shape=\(400, 5\)"),
        (MEMBER_PROBABILITIES[:1], r"at least two members. Received: shape=\(1, 400, 5\)"),
        (3 * MEMBER_PROBABILITIES, "sum to 1 .* Received: .* sums from 3 to 3"),
        (MEMBER_PROBABILITIES[:, :0], r"Probabilities need samples .* Received: shape=\(4, 0, 5\)"),
    ],
)
def test_wrong_members(members, message):
    with pytest.raises(ValueError, match=message):
        plots.diversity_matrix(members)
