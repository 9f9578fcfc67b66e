import matplotlib
import numpy as np
import pytest

from keras_hyperens import plots

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


def test_reliability_points_are_accuracy_and_confidence():
    probabilities = np.array([[0.95, 0.05], [0.93, 0.07], [0.55, 0.45], [0.52, 0.48]])
    labels = np.array([0, 1, 0, 0])
    figure = plots.reliability_diagram(labels, probabilities, num_bins=10)
    x, y = figure.axes[0].lines[1].get_data()
    np.testing.assert_allclose(x, [0.535, 0.94])
    np.testing.assert_allclose(y, [1.0, 0.5])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights[5] == heights[9] == 0.5 and sum(heights) == 1
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(4, 2\)"):
        plots.reliability_diagram(labels[:3], probabilities)


def test_paths_show_every_member():
    bounds = np.array([[[1e-4, 1e-2], [1e-3, 1e-1]], [[1e-5, 1e-3], [1e-3, 1e-1]]])
    _, ax = matplotlib.pyplot.subplots()
    figure = plots.hyperparameter_path(bounds, "l2", ax=ax)
    assert figure is ax.figure and ax.get_yscale() == "log" and len(ax.lines) == 2
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1e-3, 1e-4])
    linear = plots.hyperparameter_path(bounds, "rate", "linear").axes[0]
    np.testing.assert_allclose(linear.lines[0].get_ydata()[0], (1e-4 + 1e-2) / 2)
    with pytest.raises(ValueError, match=r"shape=\(2, 2\)"):
        plots.hyperparameter_path(bounds[0])


def test_image_grid_has_one_place_per_image():
    figure = plots.image_grid(np.random.default_rng(0).uniform(size=(5, 8, 8, 1)), list("abcde"), columns=3)
    assert len(figure.axes) == 6 and [ax.get_title() for ax in figure.axes][:5] == list("abcde")
    assert len(plots.image_grid(np.zeros((1, 8, 8, 3)), ["a"]).axes[0].images) == 1
    with pytest.raises(ValueError, match="2 images, 1 titles"):
        plots.image_grid(np.zeros((2, 8, 8, 1)), ["a"])


def test_scores_by_size_has_a_line_for_each_way():
    scores = {"single best": [0.5, 0.5, 0.5], "deep": [0.6, 0.45], "hyper-deep": [0.5, 0.4, 0.3]}
    figure = plots.scores_by_size(scores)
    (ax,) = figure.axes
    assert [line.get_label() for line in ax.lines] == list(scores)
    for line, values in zip(ax.lines, scores.values()):
        np.testing.assert_allclose(line.get_xydata(), np.column_stack([np.arange(1, len(values) + 1), values]))
    with pytest.raises(ValueError, match="At least one score"):
        plots.scores_by_size({})
