"""Which form of applying M kernels is faster: the only place that knows.

*Folded*, M kernels are built and each is applied to its member's rows: the arithmetic of a plain layer (twice that
with one draw per row), and some 15 passes over M kernels in memory. *Unfolded*, `kernel` and `delta_kernel` are applied
to all rows: twice the arithmetic, some passes over the rows, nothing to build. So it depends on how many rows of a
member each element of a kernel meets. Convolutions meet as many as there are pixels, and always fold; dense layers of
some hundred units break even, forward and backward on 2 CPU cores, near the numbers here
(`python -m benchmarks.speed --parts forms`).
"""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

FEW_ROWS = 96  # below it unfolded, with one draw per member
FEW_ROWS_WITH_DRAWS = 512  # and with one per row

_batch_size: ContextVar[int | None] = ContextVar("keras_hyperens_batch_size", default=None)


@contextmanager
def expected_batch_size(rows: int | None) -> Iterator[None]:
    """Layers called inside expect batches of so many rows where a trace leaves them unknown."""
    token = _batch_size.set(rows)
    try:
        yield
    finally:
        _batch_size.reset(token)


def meets_few_rows(axes: Sequence[int | None], ensemble_size: int, draw_by_row: bool) -> bool:
    """Whether inputs of these axes, members' rows `M*B` first, are too few for folding to pay.

    Where nobody knows how many there are, they are many: with them the wrong form costs more.
    """
    rows, *others = axes
    batch_size = _batch_size.get() if rows is None else rows // ensemble_size
    known = [length for length in (batch_size, *others) if length is not None]
    return len(known) == len(axes) and prod(known) < (FEW_ROWS_WITH_DRAWS if draw_by_row else FEW_ROWS)
