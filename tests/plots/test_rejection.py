import numpy as np
import pytest

from keras_hyperens import plots
from tests.plots.data import LABELS
from tests.plots.data import MEMBER_PROBABILITIES
from tests.plots.data import PROBABILITIES


def risks(probabilities):
    """Error rates counted row by row, the most confident first."""
    rows = sorted(zip(probabilities, LABELS), key=lambda row: -row[0].max())
    wrong = [row.argmax() != label for row, label in rows]
    return np.array([sum(wrong[:kept]) / kept for kept in range(1, len(wrong) + 1)])


def test_a_line_for_each_prediction(ax):
    predictions = {"first": MEMBER_PROBABILITIES[0], "ensemble": PROBABILITIES}
    plots.risk_coverage_curve(LABELS, predictions, ax=ax)
    for line, (name, probabilities) in zip(ax.lines, predictions.items(), strict=True):
        coverage, risk = line.get_data()
        np.testing.assert_allclose(coverage, np.arange(1, len(LABELS) + 1) / len(LABELS))
        np.testing.assert_allclose(risk, risks(probabilities))
        assert line.get_label() == f"{name} (AURC {risks(probabilities).mean():.4f})"


def test_one_prediction_needs_no_name(ax):
    plots.risk_coverage_curve(LABELS, PROBABILITIES, ax=ax)
    assert ax.lines[0].get_label() == f"AURC {risks(PROBABILITIES).mean():.4f}"
    np.testing.assert_allclose(ax.lines[0].get_ydata()[-1], np.mean(PROBABILITIES.argmax(1) != LABELS))


def test_equal_confidence_does_not_depend_on_the_order(ax):
    plots.risk_coverage_curve([1, 0, 0, 0], [[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.9, 0.1]], ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, 1 / 3, 4 / 9, 0.5])


def test_no_error_at_all(ax):
    plots.risk_coverage_curve([0, 0], [[0.8, 0.2], [0.9, 0.1]], ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 0)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"At least one prediction is required. Received: probabilities=\{\}"):
        plots.risk_coverage_curve(LABELS, {})
