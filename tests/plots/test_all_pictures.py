"""What holds for every picture: where it is drawn, that nothing is covered or cut off, and that gray is enough."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

import keras_hyperens as khe
from tests.plots.data import PICTURES

EVERY = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


def test_none_is_missing():
    public = {name for name in vars(khe.plots) if callable(getattr(khe.plots, name))} - {"TuningPath"}  # a callback
    assert public == {name.partition(" ")[0] for name in PICTURES}


@EVERY
def test_draws_on_the_axes_it_is_given(draw, ax):
    assert draw(ax=ax) is ax.figure
    assert ax.has_data() and plt.get_fignums() == [ax.figure.number]


@EVERY
def test_draws_in_a_corner_of_a_large_figure(draw):
    left, right = plt.figure(figsize=(12, 4), layout="constrained").subfigures(1, 2)
    ax = left.subplots(2, 2)[1, 1]
    assert draw(ax=ax) is left and not right.axes
    left.figure.draw_without_rendering()


@EVERY
def test_a_figure_of_its_own_can_be_read_and_saved(draw, tmp_path):
    figure, path = draw(), tmp_path / "picture.png"
    assert len(figure.axes) == 1 and plt.get_fignums() == [figure.number]
    figure.draw_without_rendering()
    check_no_text_is_cut_off(figure)
    check_legend_covers_no_data(figure)
    check_lines_differ_without_color(figure)
    figure.savefig(path)
    assert np.ptp(plt.imread(path)) > 0.5


def check_no_text_is_cut_off(figure):
    box = figure.get_tightbbox()
    assert 0 <= box.x0 < box.x1 <= figure.get_figwidth() and 0 <= box.y0 < box.y1 <= figure.get_figheight()
    assert all(text.get_fontsize() >= 6 for text in figure.findobj(Text))


def check_legend_covers_no_data(figure):
    (ax,) = figure.axes
    if ax.get_legend() is not None:
        lowest = ax.get_legend().get_window_extent().y0
        assert all(ax.transData.transform(line.get_xydata())[:, 1].max() <= lowest for line in ax.lines)
        assert all(patch.get_window_extent().y1 <= lowest for patch in ax.patches)
        assert ax.get_legend().get_window_extent().width <= ax.bbox.width


def check_lines_differ_without_color(figure):
    (ax,) = figure.axes
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    styles = {
        (line.get_linestyle(), str(line._dash_pattern), line.get_marker(), line.get_linewidth()) for line in lines
    }
    assert len(styles) == len(lines)
