"""Images of another kind, pixel by pixel."""

import numpy as np

from benchmarks import shifts


def test_a_quarter_turn():
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1))
    np.testing.assert_array_equal(shifts.rotated(images)[2, :, :, 0], np.rot90(images[2, :, :, 0]))


def test_smaller_images_fit_into_larger_ones():
    images = np.arange(2 * 2 * 3, dtype="float32").reshape(2, 2, 3, 1)
    fitted = shifts.fitted(images, (5, 5, 3))
    assert fitted.shape == (2, 5, 5, 3)
    for color in range(3):
        np.testing.assert_array_equal(fitted[:, 1:3, 1:4, color], images[..., 0])
    assert fitted.sum() == 3 * images.sum()
