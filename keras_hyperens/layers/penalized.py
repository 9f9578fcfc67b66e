"""What a layer with a kernel is at a draw of hyperparameters, and the penalties that it has there."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_hyperens.layers.base import Setting
from keras_hyperens.layers.penalties import Part
from keras_hyperens.layers.penalties import absolute_norms
from keras_hyperens.layers.penalties import squared_norms
from keras_hyperens.layers.weights import KernelWeights


@dataclass(frozen=True)
class Draw:
    """What a layer is at the current hyperparameter values."""

    kernels: Any  # of M members, a list or one array [M, ...]; `None`: not folded
    biases: Any  # [M, 1 or B, U], or `None`: no bias
    shift: Any = None  # e, [M, 1 or B, U], or `None`: the kernel does not depend on hyperparameters
    deltas: Any = None  # with one draw per row what e is to multiply, of M members, a list


class PenalizedKernel(KernelWeights):
    """A layer of M members' kernels and biases with the penalties of these; see `HyperBatchLayer`. Abstract."""

    def penalize(self, draw: Draw) -> None:
        """Adds the penalties of a draw; a layer used twice in a network has them once, as in Keras."""
        if self.losses:
            return
        for norm, of_kernel in (("l1", absolute_norms), ("l2", squared_norms)):
            strength = getattr(self, f"kernel_{norm}")
            if strength is not None:
                self._add_penalty(strength, self._kernel_norms(of_kernel, draw.shift))
        if draw.biases is None:
            return
        if self.bias_l1 is not None:
            self._add_penalty(self.bias_l1, ops.sum(ops.abs(draw.biases), axis=-1))
        if self.bias_l2 is not None:
            self._add_penalty(self.bias_l2, ops.sum(ops.square(draw.biases), axis=-1))

    def _add_penalty(self, strength: Setting, norms: Any) -> None:
        """The mean over members and draws of strength times norm, `[M, 1 or B]` both."""
        self.add_loss(ops.mean(ops.multiply(self.setting_value(strength), norms)))

    def _kernel_norms(self, norms: Any, shift: Any) -> Any:
        if not self.is_shared:
            each = [norms(self.axes, (self.kernel.value[k], None)) for k in range(self.ensemble_size)]
            return ops.concatenate(each)
        with_factors = self.regularize_fast_weights
        kernel: Part = (self.kernel.value, (self.r.value, self.s.value) if with_factors else None)
        if shift is None:
            return norms(self.axes, kernel)
        delta: Part = (self.delta_kernel.value, (self.u.value, self.v.value) if with_factors else None)
        return norms(self.axes, kernel, delta, shift)
