"""The L2 penalties of members, from three sums over the fan-in: no member's kernel is needed.

A unit's column of a member's kernel is `k + d e`, so its squared norm is `sum(k k) + 2 e sum(k d) + e e sum(d d)`,
and the sums do not depend on the draw e.
"""

from typing import Any

from keras import ops

Factors = tuple[Any, Any]  # [M, A] and [M, U]: what multiplies a kernel's fan-in and its units


def squared_norms(
    kernel: Any, delta_kernel: Any, embedding: Any, factors: Factors | None = None, delta_factors: Factors | None = None
) -> Any:
    """`sum((kernel * factors + delta_kernel * delta_factors * embedding)²)`, for every member and draw.

    Args:
        kernel, delta_kernel: `[..., A, U]`.
        embedding: e, `[M, 1 or B, U]`.
        factors, delta_factors: `(r, s)` and `(u, v)`, or `None` for ones.

    Returns:
        `[M, 1 or B]`.
    """
    constant = _fan_in_sums(kernel, kernel, factors, factors)
    linear = _fan_in_sums(kernel, delta_kernel, factors, delta_factors)
    quadratic = _fan_in_sums(delta_kernel, delta_kernel, delta_factors, delta_factors)
    return ops.sum(constant + embedding * (2 * linear + embedding * quadratic), axis=-1)


def squared_norm(kernel: Any, factors: Factors | None = None) -> Any:
    """`sum((kernel * factors)²)`, `[M, 1]` with factors and `[1]` without: the case without hyperparameters."""
    return ops.sum(_fan_in_sums(kernel, kernel, factors, factors), axis=-1)


def _fan_in_sums(left: Any, right: Any, left_factors: Factors | None, right_factors: Factors | None) -> Any:
    """Sums of `left * right` over all axes but the units: `[1, U]`, or `[M, 1, U]` with factors."""
    product = left * right
    if left_factors is None or right_factors is None:
        return ops.sum(product, tuple(range(len(product.shape) - 1)))[None]
    by_channel = ops.sum(product, tuple(range(len(product.shape) - 2)))  # [A, U]
    (left_in, left_out), (right_in, right_out) = left_factors, right_factors
    return (ops.matmul(left_in * right_in, by_channel) * left_out * right_out)[:, None]
