"""Ordered bins for numbers of any magnitude: equally many in every octave, so fine in relative terms.

A magnitude between 2^-64 and 2^32 shares its bin with those at most 2^(1/256) - 1 = 0.27 % larger. Smaller magnitudes
count as 0, which has a separate bin, and larger ones are in the last bin.
"""

from keras import ops

from keras_hyperens.types import Tensor

BINS_PER_OCTAVE = 256
LOWEST, HIGHEST = -64, 32  # octaves
MAGNITUDES = 1 + BINS_PER_OCTAVE * (HIGHEST - LOWEST)  # number of bins of nonnegative numbers
SIGNED = 2 * MAGNITUDES - 1  # number of bins of all numbers


def magnitude_bins(values: Tensor) -> Tensor:
    """Returns bins in [0, MAGNITUDES) of nonnegative numbers, higher for larger numbers."""
    octaves = ops.log2(ops.maximum(values, 2.0 ** (LOWEST - 1)))
    bins = ops.cast(ops.floor((octaves - LOWEST) * BINS_PER_OCTAVE), "int32")
    return ops.clip(bins + 1, 0, MAGNITUDES - 1)


def signed_bins(values: Tensor) -> Tensor:
    """Returns bins in [0, SIGNED) of signed numbers, higher for larger numbers."""
    return MAGNITUDES - 1 + ops.cast(ops.sign(values), "int32") * magnitude_bins(ops.abs(values))
