"""Kernels and biases at a draw of hyperparameters, and their penalties."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.penalties import Part
from keras_hyperens.layers.penalties import absolute_norms
from keras_hyperens.layers.penalties import squared_norms
from keras_hyperens.layers.weights import KernelWeights
from keras_hyperens.types import Tensor


@dataclass(frozen=True)
class Draw:
    """A layer at the current hyperparameter values."""

    kernels: Any  # of M members, a list or one array [M, ...]; `None`: not folded
    biases: Any  # [M, 1 or B, U], or `None`: no bias
    shift: Any = None  # e, [M, 1 or B, U], or `None`: kernels do not depend on hyperparameters
    deltas: Any = None  # with one draw per sample the M kernels that e multiplies, a list


class PenalizedKernel(KernelWeights):
    """Layer with M members' kernels and biases, and their penalties; see `HyperBatchLayer`. Abstract."""

    def _penalize(self, draw: Draw) -> None:
        """Adds the mean penalties of a draw; a layer used twice in a network adds them once, as in Keras."""
        if not self.losses:
            for penalty in self.penalties(draw):
                self.add_loss(_with_members(ops.mean(penalty), penalty))

    def penalties(self, draw: Draw) -> list[Any]:
        """Returns the penalties of a draw, coefficient times norm, per member and draw, `[M, 1 or B]` each."""
        found = [
            self._penalty(getattr(self, f"kernel_{norm}"), of_kernel, draw.shift)
            for norm, of_kernel in (("l1", absolute_norms), ("l2", squared_norms))
            if getattr(self, f"kernel_{norm}") is not None
        ]
        if draw.biases is not None:
            norms = {"l1": ops.abs, "l2": ops.square}
            found += [
                ops.multiply(self._setting_value(strength), ops.sum(power(draw.biases), axis=-1))
                for norm, power in norms.items()
                if (strength := getattr(self, f"bias_{norm}")) is not None
            ]
        return found

    def _penalty(self, strength: Setting, norms: Callable[..., Tensor], shift: Tensor) -> Tensor:
        return ops.multiply(self._setting_value(strength), self._kernel_norms(norms, shift))

    def _kernel_norms(self, norms: Callable[..., Tensor], shift: Tensor) -> Tensor:
        if not self.is_shared:
            return _own_norms(norms, self.kernel.value)
        with_factors = self.regularize_fast_weights
        kernel: Part = (self.kernel.value, (self.r.value, self.s.value) if with_factors else None)
        if shift is None:
            return norms(self.axes, kernel)
        delta: Part = (self.delta_kernel.value, (self.u.value, self.v.value) if with_factors else None)
        return norms(self.axes, kernel, delta, shift)


def of_members(loss: Tensor) -> Tensor:
    """Returns the penalties whose mean is a loss, `[1 or M, 1 or B]`, or `None` if it is not such a mean."""
    return getattr(loss, "_hyperens_members", None)


def _with_members(mean: Tensor, penalty: Tensor) -> Tensor:
    mean._hyperens_members = penalty
    return mean


def _own_norms(norms: Callable[..., Tensor], kernels: Tensor) -> Tensor:
    """Norms of independent kernels, `[M, ...]` to `[M, 1]`."""
    power = ops.abs if norms is absolute_norms else ops.square
    return ops.sum(power(kernels), axis=tuple(range(1, len(kernels.shape))))[:, None]
