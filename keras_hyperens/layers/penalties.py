"""L2 and L1 penalties of members.

A unit's column of a member's kernel is `k + d e`, with the squared norm `sum(k k) + 2 e sum(k d) + e e sum(d d)`. The
sums do not depend on the draw e, so members' kernels are not required. The sum of absolute values has no such form.
"""

from typing import Any

from keras import ops

from keras_hyperens.layers.axes import Factors
from keras_hyperens.layers.axes import KernelAxes
from keras_hyperens.types import Tensor

Part = tuple[Any, Factors | None]  # a kernel and its factors: (r, s) or (u, v), or ones


def squared_norms(axes: KernelAxes, kernel: Part, delta: Part | None = None, shift: Any = None) -> Tensor:
    """Returns `sum((kernel * factors + delta * factors * e)²)` for every member and draw.

    Args:
        axes: Axes of the kernel.
        kernel, delta: Shared kernels with their factors.
        shift: e, `[M, 1 or B, U]`.

    Returns:
        `[M, 1 or B]`; `[1, 1]` if all members are equal.
    """
    constant = _sum_of_squares(axes, kernel)
    if delta is None:
        return constant
    if kernel[1] is None:
        linear, quadratic = ops.unstack(_sums_with(axes, kernel[0], delta[0]))
    else:
        linear, quadratic = _unit_sums(axes, kernel, delta), _unit_sums(axes, delta, delta)
    return constant + ops.sum(shift * (2 * linear + shift * quadratic), axis=-1)


def absolute_norms(axes: KernelAxes, kernel: Part, delta: Part | None = None, shift: Any = None) -> Tensor:
    """Returns `sum(|kernel * factors + delta * factors * e|)` for every member and draw; see `squared_norms`.

    With one draw per sample it loops over samples: exact, but slow.
    """
    fixed, every = _multiplied(axes, kernel), tuple(range(1, len(axes.shape) + 1))
    if delta is None:
        return ops.sum(ops.abs(fixed), axis=every)[:, None]
    varied = _multiplied(axes, delta)

    def of_draw(each: Tensor) -> Tensor:  # [M, U]
        return ops.sum(ops.abs(fixed + varied * axes.beside_units(each)), axis=every)

    if shift.shape[1] == 1:
        return of_draw(shift[:, 0])[:, None]
    return ops.transpose(ops.map(of_draw, ops.transpose(shift, (1, 0, 2))))


def _sum_of_squares(axes: KernelAxes, kernel: Part) -> Tensor:
    """`[M, 1]`, or `[1, 1]` without factors."""
    if kernel[1] is None:
        return ops.reshape(ops.sum(ops.square(kernel[0])), (1, 1))
    return ops.sum(_unit_sums(axes, kernel, kernel), axis=-1)


def _sums_with(axes: KernelAxes, kernel: Tensor, delta: Tensor) -> Tensor:
    """Returns `sum(k d)` and `sum(d d)` of each unit, `[2, U]`.

    The custom gradient avoids copies of both sums with the kernel's shape, which take a third of the total time.
    """

    @ops.custom_gradient
    def sums(kernel: Tensor, delta: Tensor) -> Tensor:
        def gradient(*gradients: Any, upstream: Tensor | None = None) -> tuple[Any, Any]:
            linear, quadratic = ops.unstack(axes.beside_units(gradients[0] if upstream is None else upstream))
            return delta * linear, kernel * linear + delta * (2 * quadratic)

        both = ops.concatenate([axes.unit_sums(kernel * delta), axes.unit_sums(ops.square(delta))])
        return both, gradient

    return sums(kernel, delta)


def _unit_sums(axes: KernelAxes, left: Part, right: Part) -> Tensor:
    """Sums `left * right` over all axes except units, `[1 or M, 1, U]`."""
    (left_kernel, left_factors), (right_kernel, right_factors) = left, right
    if left_factors is None or right_factors is None:
        return axes.unit_sums(left_kernel * right_kernel)[:, None]
    factors = tuple(one * other for one, other in zip(left_factors, right_factors, strict=True))
    return axes.unit_sums(left_kernel * right_kernel, factors)[:, None]


def _multiplied(axes: KernelAxes, part: Part) -> Tensor:
    kernel, factors = part
    if factors is None:
        return kernel[None]
    return ops.stack([kernel * axes.outer(*pair) for pair in zip(*map(ops.unstack, factors), strict=True)])
