"""Substitutes for values in a `call` that are not operations: weights, arrays, the batch size."""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from inspect import Parameter
from inspect import signature
from typing import Any

import keras
from keras import ops

from keras_hyperens.conversion.arguments import InliningError
from keras_hyperens.layers.glue import BroadcastRows
from keras_hyperens.layers.glue import Constant
from keras_hyperens.layers.glue import Weight

ROWS = 7919  # a prime that stands for the batch size in a `call`; no other axis has this size


@contextmanager
def own_weights_as_layers(block: keras.layers.Layer, reference: Any, made: dict[int, Weight]) -> Iterator[None]:
    """Context manager: weights of the block, also in lists and dictionaries, become outputs of layers with them.

    Args:
        block: A layer.
        reference: A symbolic tensor.
        made: Layers by the id of their weight, for all graphs of the block.
    """
    own = {id(weight) for weight in (*block._trainable_variables, *block._non_trainable_variables)}
    of_keras = vars(keras.layers.Layer())  # such as the list of all weights; TensorFlow's names begin with `_self_`
    found = {
        name: each
        for name, each in vars(block).items()
        if name not in of_keras and not name.startswith("_self_") and any(id(leaf) in own for leaf in _leaves(each))
    }

    def symbolic(path: tuple[Any, ...], leaf: Any) -> Any:
        if id(leaf) not in own:
            return leaf
        if id(leaf) not in made:
            name = "_".join(str(part).strip("_") for part in (block.name, *path))
            made[id(leaf)] = Weight.of(leaf, name, block.dtype_policy)
        return made[id(leaf)](reference)

    for name, each in found.items():
        vars(block)[name] = _mapped(symbolic, each, (name,))
    try:
        yield
    finally:
        vars(block).update(found)


def _leaves(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        structure = list(structure.values())
    return (
        [leaf for each in structure for leaf in _leaves(each)] if isinstance(structure, list | tuple) else [structure]
    )


def _mapped(change: Callable[[tuple[Any, ...], Any], Any], structure: Any, path: tuple[Any, ...]) -> Any:
    """Returns plain lists, tuples and dictionaries of the changed leaves."""
    if isinstance(structure, dict):
        return {key: _mapped(change, each, (*path, key)) for key, each in structure.items()}
    if isinstance(structure, list | tuple):
        found = [_mapped(change, each, (*path, place)) for place, each in enumerate(structure)]
        return tuple(found) if isinstance(structure, tuple) else found
    return change(path, structure)


@contextmanager
def outputs_of_call(model: keras.layers.Layer) -> Iterator[None]:
    """Context manager: output shapes of layers follow from `call` if the inherited method has other arguments."""
    changed = [layer for layer in model._flatten_layers(include_self=False) if _has_other_arguments(layer)]
    for layer in changed:
        vars(layer)["compute_output_spec"] = partial(keras.Operation.compute_output_spec, layer)
    try:
        yield
    finally:
        for layer in changed:
            vars(layer).pop("compute_output_spec", None)


def _has_other_arguments(layer: keras.layers.Layer) -> bool:
    if type(layer).compute_output_spec is keras.layers.Layer.compute_output_spec or isinstance(layer, keras.Model):
        return False
    of_call, of_shapes = (signature(each).parameters for each in (layer.call, layer.compute_output_spec))
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in of_shapes.values())
    return not takes_all and not set(of_call) - {"training", "mask"} <= set(of_shapes)


@contextmanager
def as_of_arrays() -> Iterator[None]:
    """Context manager: symbolic tensors accept `x[None]`, `x[1:]` and `array * x`, as arrays do."""
    original = keras.KerasTensor.__getitem__

    def item(tensor: Any, key: Any) -> Any:
        return original(tensor, (key,) if key is None or isinstance(key, slice) else key)

    keras.KerasTensor.__getitem__ = item
    keras.KerasTensor.__array_ufunc__ = None  # NumPy then leaves the operation to the tensor
    try:
        yield
    finally:
        keras.KerasTensor.__getitem__ = original
        del keras.KerasTensor.__array_ufunc__


@contextmanager
def symbolic_arrays(layers: list[keras.layers.Layer], reference: Any, by_row: bool) -> Iterator[None]:
    """Context manager: these layers, called on arrays such as positions, are called on a layer with the array."""

    def hooked(layer: keras.layers.Layer, original: Callable[..., Any]) -> Callable[..., Any]:
        busy: list[bool] = []

        def call(*args: Any, **kwargs: Any) -> Any:
            if busy or len(args) != 1 or not hasattr(args[0], "numpy"):
                return original(*args, **kwargs)
            busy.append(True)
            try:
                return layer(_constant(args[0], reference, by_row))
            finally:
                busy.pop()

        return call

    for layer in layers:
        vars(layer)["call"] = hooked(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


def _constant(value: Any, reference: Any, by_row: bool) -> Any:
    array = ops.convert_to_numpy(value)
    array = array[0] if by_row and array.ndim > 1 and len(array) == 1 else array
    return Constant(array, str(array.dtype), by_row)(reference)


def of_any_rows(graph: keras.Model, inputs: list[Any]) -> keras.Model:
    """Returns a graph traced with a batch size of `ROWS` for any batch size."""
    reference = next(each for each in inputs if each.shape and each.shape[0] is None)

    def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda each: _constant_of_rows(each, reference), (args, kwargs))
        kind = type(operation).__name__
        if isinstance(operation, keras.layers.Layer):
            return operation(*args, **kwargs)
        shape = tuple(operation.output.shape) if kind in ("Reshape", "BroadcastTo", "Tile", "Repeat") else ()
        if not shape or not shape[0] or shape[0] % ROWS:
            return operation(*args, **kwargs)
        if kind == "Reshape":
            return ops.reshape(args[0], (-1, *shape[1:]))
        one = args[0] if len(args[0].shape) == len(shape) else ops.expand_dims(args[0], 0)
        if one.shape[0] != 1 or shape[0] != ROWS or shape[1:] != tuple(one.shape[1:]):
            raise InliningError(f"{kind} by the batch size")
        return BroadcastRows()([one, reference])

    outputs = graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=called)
    return keras.Model(inputs, outputs, name=graph.name)


def _constant_of_rows(each: Any, reference: Any) -> Any:
    """Returns an array that is equal for each sample, for any batch size."""
    if not hasattr(each, "numpy") or isinstance(each, keras.Variable) or not each.shape or each.shape[0] != ROWS:
        return each
    array = ops.convert_to_numpy(each)
    if not (array == array[:1]).all():
        raise InliningError("an array with the size of the batch")
    return Constant(array[0], str(array.dtype))(reference)
