import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from keras_hyperens import metrics
from keras_hyperens import plots
from tests.plots.data import LABELS
from tests.plots.data import PROBABILITIES


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_points_are_those_of_scikit_learn(num_bins, ax):
    plots.reliability_diagram(LABELS, PROBABILITIES, num_bins, ax=ax)
    correct = PROBABILITIES.argmax(1) == LABELS
    accuracy, confidence = calibration_curve(correct, PROBABILITIES.max(1), n_bins=num_bins)
    np.testing.assert_allclose(ax.lines[1].get_data(), [confidence, accuracy])


def test_bars_are_shares_of_rows(ax):
    plots.reliability_diagram(LABELS, PROBABILITIES, 10, ax=ax)
    (below,) = ax.child_axes
    expected = np.histogram(PROBABILITIES.max(1), 10, (0, 1))[0] / len(LABELS)
    np.testing.assert_allclose([bar.get_height() for bar in below.patches], expected)
    np.testing.assert_allclose([bar.get_center()[0] for bar in below.patches], np.arange(0.05, 1, 0.1))
    assert below.get_yscale() == "log" and below.get_ylim()[0] < 1 / len(LABELS)


def test_title_is_the_metric(ax):
    plots.reliability_diagram(LABELS, PROBABILITIES, ax=ax)
    metric = metrics.ExpectedCalibrationError(15)
    metric.update_state(LABELS, PROBABILITIES)
    assert ax.get_title() == f"Reliability (ECE {float(metric.result()):.3f})"


def test_intervals_of_two_bins(ax):
    probabilities = np.array([[0.95, 0.05], [0.93, 0.07], [0.55, 0.45], [0.52, 0.48]])
    plots.reliability_diagram([0, 1, 0, 0], probabilities, 10, ax=ax)
    np.testing.assert_allclose(ax.lines[1].get_data(), [[0.535, 0.94], [1.0, 0.5]])
    (bars,) = ax.collections
    # Wilson's interval solves (p - share)² = 1.96² p (1 - p) / n.
    for (x, y), share in zip(np.concatenate(bars.get_segments()).reshape(-1, 4)[:, [1, 3]], (1.0, 0.5)):
        roots = np.sort(np.roots([1 + 1.96**2 / 2, -2 * share - 1.96**2 / 2, share**2]))
        np.testing.assert_allclose([x, y], roots, atol=1e-7)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1, 0], np.full((4, 2), 0.5), r"shapes \(3,\), \(4, 2\)"),
        ([], np.zeros((0, 2)), r"shapes \(0,\), \(0, 2\)"),
        ([0, 1], [[0.4], [0.6]], r"a single probability p of class 1 pass \[1 - p, p\]. Received: shape=\(2, 1\)"),
        ([0, 1], [[3.0, -1.0], [0.0, 2.0]], "softmax to logits first. Received: values from -1"),
        ([0, 1], [[np.nan, 1.0], [0.5, 0.5]], "must be finite. Received: 1 values"),
        ([0, 2], np.full((2, 2), 0.5), r"classes in \[0, 2\). Received: \[0 2\]"),
    ],
)
def test_wrong_predictions(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        plots.reliability_diagram(labels, probabilities)
    with pytest.raises(ValueError, match=message):
        plots.risk_coverage_curve(labels, {"a": probabilities})


@pytest.mark.parametrize("num_bins", [0, 2.5, 10**9])
def test_wrong_bins(num_bins):
    with pytest.raises(ValueError, match=f"positive integer of at most 1000. Received: num_bins={num_bins}"):
        plots.reliability_diagram(LABELS, PROBABILITIES, num_bins)
