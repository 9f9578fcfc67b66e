"""Fan-in and unit axes of a kernel, along which the rank-1 factors lie."""

from dataclasses import dataclass
from math import prod
from string import ascii_lowercase
from typing import Any

from keras import ops

from keras_hyperens.types import Tensor

Factors = tuple[Any, Any]  # [M, A] and [M, U]: factors of a kernel's fan-in and units


@dataclass(frozen=True)
class KernelAxes:
    """Shape of a kernel, with its fan-in axes (A elements) and unit axes (U elements).

    An axis can be both, such as the channel axis of a depthwise kernel. Vectors over several axes follow the kernel's
    order.
    """

    shape: tuple[int, ...]
    fan_in: tuple[int, ...] = (-2,)
    units: tuple[int, ...] = (-1,)

    def __post_init__(self) -> None:
        for name in ("fan_in", "units"):
            object.__setattr__(self, name, tuple(sorted(axis % len(self.shape) for axis in getattr(self, name))))

    @property
    def num_fan_in(self) -> int:
        return prod(self.shape[axis] for axis in self.fan_in)

    @property
    def num_units(self) -> int:
        return prod(self.shape[axis] for axis in self.units)

    def outer(self, fan_in: Tensor, units: Tensor) -> Tensor:
        """Returns the outer product of one member's `[A]` and `[U]`, broadcastable to its kernel.

        Uses a matrix product if possible: its gradient is also one, and takes half the time of sums over products.
        """
        if not self._are_apart:
            return self._beside(fan_in[None], self.fan_in)[0] * self.beside_units(units[None])[0]
        first, second = (fan_in, units) if self.fan_in[0] < self.units[0] else (units, fan_in)
        shape = [length if axis in (*self.fan_in, *self.units) else 1 for axis, length in enumerate(self.shape)]
        return ops.reshape(ops.matmul(ops.reshape(first, (-1, 1)), ops.reshape(second, (1, -1))), shape)

    @property
    def _are_apart(self) -> bool:
        """Whether all fan-in axes precede or follow all unit axes."""
        return self.fan_in[-1] < self.units[0] or self.units[-1] < self.fan_in[0]

    def beside_units(self, vectors: Tensor) -> Tensor:
        """Reshapes `[M, U]` to broadcast to kernels `[M, ...]`."""
        return self._beside(vectors, self.units)

    def _beside(self, vectors: Tensor, axes: tuple[int, ...]) -> Tensor:
        shape = [length if axis in axes else 1 for axis, length in enumerate(self.shape)]
        return ops.reshape(vectors, (vectors.shape[0], *shape))

    def unit_sums(self, product: Tensor, factors: Factors | None = None) -> Tensor:
        """Sums an array of the kernel's shape over all axes except units, `[1, U]`; with factors `[M, U]`."""
        if factors is None:
            others = tuple(axis for axis in range(len(self.shape)) if axis not in self.units)
            return ops.reshape(ops.sum(product, axis=others), (1, -1))
        letters = ascii_lowercase[: len(self.shape)]
        fan_in, units = ("z" + "".join(letters[axis] for axis in axes) for axes in (self.fan_in, self.units))
        fan_in_factors, unit_factors = (
            ops.reshape(factor, (factor.shape[0], *(self.shape[axis] for axis in axes)))
            for factor, axes in zip(factors, (self.fan_in, self.units), strict=True)
        )
        sums = ops.einsum(f"{letters},{fan_in},{units}->{units}", product, fan_in_factors, unit_factors)
        return ops.reshape(sums, (sums.shape[0], -1))
