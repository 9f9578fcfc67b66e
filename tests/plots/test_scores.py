import numpy as np
import pytest

from keras_hyperens import plots
from tests.plots.data import FRONTIER
from tests.plots.data import SCORES


def test_sizes_start_at_one_and_may_end_anywhere(ax):
    scores = {"single best": [0.5, 0.5, 0.5], "deep": [0.6, 0.45], "hyper-deep": [0.5, 0.4, 0.3]}
    plots.scores_by_size(scores, "accuracy", ax=ax)
    assert ax.get_ylabel() == "accuracy" and [line.get_label() for line in ax.lines] == list(scores)
    for line, values in zip(ax.lines, scores.values()):
        np.testing.assert_allclose(line.get_xydata(), np.column_stack([np.arange(1, len(values) + 1), values]))
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_strengths_start_at_zero(ax):
    plots.corruption_curves(SCORES, ax=ax)
    assert ax.get_title() == "NLL under corruption" and [line.get_label() for line in ax.lines] == list(SCORES)
    for line, values in zip(ax.lines, SCORES.values()):
        np.testing.assert_allclose(line.get_xydata(), np.column_stack([[0, 1, 2], values]))


@pytest.mark.parametrize("draw", [plots.scores_by_size, plots.corruption_curves])
@pytest.mark.parametrize("scores", [{}, {"deep": []}, {"deep": 0.5}])
def test_nothing_to_draw(draw, scores):
    with pytest.raises(ValueError, match="Every name needs at least one score, as a list. Received: scores={"):
        draw(scores)


def test_strengths_of_different_number():
    with pytest.raises(ValueError, match="per intensity. Received: numbers of scores {'deep': 2, 'single': 1}"):
        plots.corruption_curves({"deep": [0.5, 0.4], "single": [0.5]})


def test_a_frontier_has_a_step_at_each_ensemble(ax):
    plots.cost_frontier(FRONTIER, "Brier score", "parameters", ax=ax)
    assert ax.get_xlabel() == "parameters" and ax.lines[0].get_drawstyle() == "steps-post"
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1e3, 0.5], [5e3, 0.4]])
    with pytest.raises(ValueError, match="must have an ensemble.*Received: an empty frontier"):
        plots.cost_frontier([])
