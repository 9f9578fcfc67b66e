"""Selection of the faster implementation of M kernels.

*Folded*, the layer computes M kernels and applies each to the samples of its member: the arithmetic of a plain layer
(twice that with one draw per sample), plus about 15 passes over M kernels in memory. *Unfolded*, it applies `kernel`
and `delta_kernel` to all samples: twice the arithmetic, a few passes over the samples, no kernels to compute. The
choice depends on the number of samples per member and kernel element. Convolutions multiply it by the number of pixels,
and always fold; dense layers of a few hundred units break even, forward and backward on 2 CPU cores, near the numbers
below (`python -m benchmarks.speed --parts forms`).
"""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

FEW_ROWS = 96  # unfolded below this number of samples, with one draw per member
FEW_ROWS_WITH_DRAWS = 512  # and with one draw per sample

_batch_size: ContextVar[int | None] = ContextVar("keras_hyperens_batch_size", default=None)


@contextmanager
def expected_batch_size(rows: int | None) -> Iterator[None]:
    """Context manager: layers called inside assume this batch size where a trace does not know it."""
    token = _batch_size.set(rows)
    try:
        yield
    finally:
        _batch_size.reset(token)


def meets_few_rows(axes: Sequence[int | None], ensemble_size: int, draw_by_row: bool) -> bool:
    """Whether inputs with these axes, the tiled batch `M*B` first, are too few for folding.

    An unknown number counts as large: there the wrong choice costs more.
    """
    rows, *others = axes
    batch_size = _batch_size.get() if rows is None else rows // ensemble_size
    known = [length for length in (batch_size, *others) if length is not None]
    return len(known) == len(axes) and prod(known) < (FEW_ROWS_WITH_DRAWS if draw_by_row else FEW_ROWS)
