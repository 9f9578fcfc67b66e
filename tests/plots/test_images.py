import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens import plots
from tests.plots.data import IMAGES
from tests.plots.data import UNCERTAINTY

NAMES = [f"image {number}" for number in range(20)]


def shown(ax):
    """Images and titles by place: rows from above, and from left to right."""
    places = sorted((image.get_extent()[3], image.get_extent()[0], image.get_array()) for image in ax.images)
    titles = [text for text in ax.texts if text.get_rotation() == 0]
    texts = sorted((text.get_position()[1], text.get_position()[0], text.get_text()) for text in titles)
    return [place[2] for place in places], [text[2] for text in texts]


def test_the_extremes_are_on_the_left(ax):
    plots.certain_images(IMAGES, UNCERTAINTY, number=3, ax=ax)
    images, titles = shown(ax)
    assert titles == ["0.0", "0.10", "0.20", "1.9", "1.8", "1.7"]
    for image, value in zip(images, (0, 0.1, 0.2, 1.9, 1.8, 1.7), strict=True):
        np.testing.assert_allclose(image, IMAGES[np.isclose(UNCERTAINTY, value)][0, ..., 0])
    assert [text.get_text() for text in ax.texts if text.get_rotation()] == ["most certain", "least certain"]


def test_titles_go_with_their_images(ax):
    plots.certain_images(IMAGES, UNCERTAINTY, NAMES, number=10, ax=ax)
    order = sorted(range(20), key=lambda row: UNCERTAINTY[row])
    assert shown(ax)[1] == [NAMES[row] for row in order[:10] + order[:9:-1]]


def test_grid_in_reading_order(ax):
    plots.image_grid(tf.constant(IMAGES[:5]), NAMES[:5], columns=3, ax=ax)
    images, titles = shown(ax)
    assert titles == NAMES[:5]
    np.testing.assert_allclose(images, IMAGES[:5, ..., 0])


def test_images_keep_their_shape_and_colors(ax):
    colored = np.repeat(IMAGES[:2], 3, axis=-1) * [1.0, 0.5, 0.0]
    plots.image_grid(colored, NAMES[:2], ax=ax)
    np.testing.assert_allclose(ax.images[1].get_array(), colored[1])
    left, right, bottom, top = ax.images[0].get_extent()
    np.testing.assert_allclose((bottom - top) / (right - left), 4 / 6)
    assert ax.get_aspect() == 1


def test_gray_is_the_same_in_every_image(ax):
    plots.image_grid(IMAGES[:2] / [[[[1]]], [[[2]]]], NAMES[:2], ax=ax)
    assert [image.get_clim() for image in ax.images] == [(0, 1), (0, 1)]


@pytest.mark.parametrize("titles", [NAMES, ["is 3, says 8 (41%)\nentropy 1.23\ndisagreement 0.45"] * 20])
def test_titles_touch_neither_each_other_nor_the_images(titles):
    figure = plots.certain_images(IMAGES, UNCERTAINTY, titles)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [item.get_window_extent() for item in (*ax.texts, *ax.images)]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"uncertainty": UNCERTAINTY[1:]}, "Received: 20 images, 19 uncertainties, 19 titles"),
        ({"titles": NAMES[1:]}, "Received: 20 images, 20 uncertainties, 19 titles"),
        ({"number": 11}, "from 1 to half of 20 images. Received: number=11"),
        ({"number": 0}, "Received: number=0"),
        ({"images": IMAGES[..., 0]}, r"\[N, height, width, 1 or 3\]. Received: shape=\(12, 4, 6\)"),
        ({"images": 255 * IMAGES}, r"must be in \[0, 1\]. Received: values from .* to 25"),
        ({"uncertainty": UNCERTAINTY[:, None]}, r"`uncertainty` must be \[N\]. Received: shape=\(20, 1\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.certain_images(**{"images": IMAGES, "uncertainty": UNCERTAINTY} | arguments)


def test_wrong_grid():
    with pytest.raises(ValueError, match="2 images, 1 titles"):
        plots.image_grid(IMAGES[:2], ["a"])
    with pytest.raises(ValueError, match="Received: columns=0"):
        plots.image_grid(IMAGES[:2], ["a", "b"], columns=0)
    with pytest.raises(ValueError, match=r"Received: shape=\(0, 4, 6, 1\)"):
        plots.image_grid(IMAGES[:0], [])
