"""What a custom layer computes between its sublayers, as layers: its own weights, its constants, its masks, its rows.

A block that was made a graph (`conversion.inlining`) needs these where its `call` used what no operation of Keras is.
All members share them.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.types import Shape
from keras_hyperens.types import TensorTree


@keras.saving.register_keras_serializable("keras_hyperens")
class Weight(keras.layers.Layer):
    """A weight that a layer had beside its sublayers. It has no axis of rows, whatever the layer is called on.

    Args:
        shape: Of the weight.
        weight_dtype: Of the weight.
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
        """The layer that has this very variable."""
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
    """An array, the same for every row of what the layer is called on.

    Args:
        value: `[...]`, an array or nested lists.
        value_dtype: Of the array.
        by_row: Whether there is one copy for each row, `[rows, ...]`, or one in all.
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
    """Repeats its first input, of one row, for as many rows as its second input has."""

    def call(self, inputs: TensorTree) -> TensorTree:
        one, like = inputs
        return ops.broadcast_to(one, (ops.shape(like)[0], *one.shape[1:]))

    def compute_output_spec(self, inputs: TensorTree) -> TensorTree:
        one, like = inputs
        return keras.KerasTensor((like.shape[0], *one.shape[1:]), one.dtype)


@keras.saving.register_keras_serializable("keras_hyperens")
class WithMask(keras.layers.Layer):
    """Its first input, with the second as its mask where it has none."""

    def call(self, inputs: TensorTree) -> TensorTree:
        return inputs[0]

    def compute_mask(self, inputs: TensorTree, previous_mask: TensorTree = None) -> TensorTree:
        return inputs[1]

    def compute_output_spec(self, inputs: TensorTree) -> TensorTree:
        return keras.KerasTensor(inputs[0].shape, inputs[0].dtype)


@keras.saving.register_keras_serializable("keras_hyperens")
class MaskOf(keras.layers.Layer):
    """The mask of its input, `[rows, time]`."""

    def call(self, inputs: TensorTree, mask: TensorTree = None) -> TensorTree:
        return ops.ones(ops.shape(inputs)[:2], "bool") if mask is None else ops.cast(mask, "bool")

    def compute_mask(self, inputs: TensorTree, previous_mask: TensorTree = None) -> TensorTree:
        return None

    def compute_output_spec(self, inputs: TensorTree, mask: TensorTree = None) -> TensorTree:
        return keras.KerasTensor(inputs.shape[:2], "bool")
