"""Layers for computations of a custom layer between its sublayers: weights, constants, masks, and broadcasting.

The graph of a custom block (`conversion.inlining`) requires them where `call` uses more than Keras operations. All
members share them.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.types import Shape
from keras_hyperens.types import TensorTree


@keras.saving.register_keras_serializable("keras_hyperens")
class Weight(keras.layers.Layer):
    """Weight of a custom layer besides its sublayers. It has no batch axis.

    Args:
        shape: Shape of the weight.
        weight_dtype: Type of the weight.
        regularizer, constraint: As in `add_weight`.
        **keywords: As in `keras.layers.Layer`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        weight_dtype: str = "float32",
        regularizer: Any = None,
        constraint: Any = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.shape, self.weight_dtype = tuple(shape), weight_dtype
        self.regularizer, self.constraint = keras.regularizers.get(regularizer), keras.constraints.get(constraint)
        self.weight: Any = None

    @classmethod
    def of(cls, variable: keras.Variable, name: str, dtype: Any) -> "Weight":
        """Returns a layer that reuses this variable."""
        shared = {"regularizer": variable.regularizer, "constraint": variable.constraint}
        layer = cls(variable.shape, keras.backend.standardize_dtype(variable.dtype), **shared, name=name, dtype=dtype)
        layer.weight = variable
        layer.built = True
        layer.trainable = variable.trainable
        return layer

    def build(self, input_shape: Shape) -> None:
        self.weight = self.add_weight(
            name="weight",
            shape=self.shape,
            dtype=self.weight_dtype,
            initializer="zeros",
            regularizer=self.regularizer,
            constraint=self.constraint,
            trainable=self.trainable,
        )
        self.built = True

    def call(self, inputs: TensorTree) -> TensorTree:
        return ops.convert_to_tensor(self.weight)

    def compute_output_spec(self, inputs: TensorTree) -> TensorTree:
        is_float = "float" in self.weight_dtype
        return keras.KerasTensor(self.shape, self.compute_dtype if is_float else self.weight_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "weight_dtype": self.weight_dtype,
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }


@keras.saving.register_keras_serializable("keras_hyperens")
class Constant(keras.layers.Layer):
    """Constant array, the same for every sample of the inputs.

    Args:
        value: `[...]`, an array or nested lists.
        value_dtype: Type of the array.
        by_row: Whether there is one copy per sample, `[B, ...]`, or one copy in total.
        **keywords: As in `keras.layers.Layer`.
    """

    def __init__(self, value: Any, value_dtype: str, by_row: bool = True, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.value, self.value_dtype, self.by_row = np.asarray(value, value_dtype), value_dtype, by_row

    def call(self, inputs: TensorTree) -> TensorTree:
        value = ops.convert_to_tensor(self.value, self.value_dtype)
        return ops.broadcast_to(value[None], (ops.shape(inputs)[0], *self.value.shape)) if self.by_row else value

    def compute_output_spec(self, inputs: TensorTree) -> TensorTree:
        rows = (inputs.shape[0],) if self.by_row else ()
        return keras.KerasTensor((*rows, *self.value.shape), self.value_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"value": self.value.tolist(), "value_dtype": self.value_dtype, "by_row": self.by_row}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("keras_hyperens")
class BroadcastRows(keras.layers.Layer):
    """Repeats its first input, a single sample, to the batch size of its second input."""

    def call(self, inputs: TensorTree) -> TensorTree:
        one, like = inputs
        return ops.broadcast_to(one, (ops.shape(like)[0], *one.shape[1:]))

    def compute_output_spec(self, inputs: TensorTree) -> TensorTree:
        one, like = inputs
        return keras.KerasTensor((like.shape[0], *one.shape[1:]), one.dtype)


@keras.saving.register_keras_serializable("keras_hyperens")
class WithMask(keras.layers.Layer):
    """Returns its first input, with the second input as its mask if it has none."""

    def call(self, inputs: TensorTree) -> TensorTree:
        return inputs[0]

    def compute_mask(self, inputs: TensorTree, previous_mask: TensorTree = None) -> TensorTree:
        return inputs[1]

    def compute_output_spec(self, inputs: TensorTree) -> TensorTree:
        return keras.KerasTensor(inputs[0].shape, inputs[0].dtype)


@keras.saving.register_keras_serializable("keras_hyperens")
class MaskOf(keras.layers.Layer):
    """Returns the mask of its input, `[B, time]`."""

    def call(self, inputs: TensorTree, mask: TensorTree = None) -> TensorTree:
        return ops.ones(ops.shape(inputs)[:2], "bool") if mask is None else ops.cast(mask, "bool")

    def compute_mask(self, inputs: TensorTree, previous_mask: TensorTree = None) -> TensorTree:
        return None

    def compute_output_spec(self, inputs: TensorTree, mask: TensorTree = None) -> TensorTree:
        return keras.KerasTensor(inputs.shape[:2], "bool")
