"""Comparison of the graph of a layer with the layer."""

from contextlib import suppress
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.conversion.arguments import Arguments
from keras_hyperens.conversion.arguments import InliningError
from keras_hyperens.conversion.nodes import flat_arguments
from keras_hyperens.conversion.nodes import nodes_of
from keras_hyperens.conversion.perturbing import SIZES
from keras_hyperens.conversion.perturbing import Size
from keras_hyperens.conversion.perturbing import made_up
from keras_hyperens.conversion.perturbing import perturbed
from keras_hyperens.masks import mask_of
from keras_hyperens.masks import with_mask
from keras_hyperens.types import TensorTree

TOLERANCE = 1e-4  # relative to the largest output


def takes_training(layer: keras.layers.Layer) -> bool:
    """Whether a layer's `call` has an argument `training`."""
    return bool(layer._call_has_training_arg)


def check_arguments(graph: keras.Model) -> None:
    """Raises an error for operations that use weights directly, which would remain those of the model."""
    for node in nodes_of(graph):
        if any(isinstance(each, keras.Variable) for each in flat_arguments(node)):
            raise InliningError("it uses weights of its layers directly")


def check_training(graph: keras.Model, in_training: keras.Model) -> None:
    """Compares the graphs of `call` in inference and in training."""
    if _signature(graph) != _signature(in_training):
        raise InliningError("its `call` differs in training")
    for node in nodes_of(in_training):
        if node.arguments.kwargs.get("training") is False:
            raise InliningError(f"it calls {node.operation.name!r} with `training=False`")


def _signature(graph: keras.Model) -> list[Any]:
    return [_signature_of(node) for node in nodes_of(graph)]


def _signature_of(node: Any) -> tuple[Any, ...]:
    flat = flat_arguments(node)
    constants = [repr(each) for each in flat if not isinstance(each, keras.KerasTensor)]
    weights = [id(weight) for weight in getattr(node.operation, "weights", ())]
    return type(node.operation), tuple(weights), tuple(constants), len(flat)


def check_same(block: keras.layers.Layer, graph: keras.Model, call: Arguments) -> None:
    """Compares layer and graph on synthetic inputs, at weights other than those of the trace."""
    try:
        with perturbed(block.weights):
            _compare(*_outputs_of_both(block, graph, call))
    finally:
        with suppress(AttributeError):
            block._clear_losses()


def _outputs_of_both(block: keras.layers.Layer, graph: keras.Model, call: Arguments) -> tuple[Any, Any]:
    for size in SIZES[:-1]:
        with suppress(Exception):  # of a layer that does not support the size
            return _outputs_at(block, graph, call, size)
    return _outputs_at(block, graph, call, SIZES[-1])


def _outputs_at(block: keras.layers.Layer, graph: keras.Model, call: Arguments, size: Size) -> tuple[Any, Any]:
    rows, masks = ([made_up(tensor, *size) for tensor in each] for each in (call.tensors, map(mask_of, call.masked)))
    passed = [*map(ops.copy, rows), *masks]
    rest = iter(masks)
    for tensor, row in zip(call.tensors, rows, strict=True):
        with_mask(row, next(rest) if mask_of(tensor) is not None else None)
    here = call.with_tensors(rows)
    keywords = {"training": False} if takes_training(block) else {}
    expected = block(*here.args, **{**here.kwargs, **keywords})
    return expected, graph(passed[0] if len(passed) == 1 else passed, training=False)


def _compare(expected: TensorTree, actual: TensorTree) -> None:
    left, right = keras.tree.flatten(expected), keras.tree.flatten(actual)
    if len(left) != len(right):
        raise InliningError("different outputs on synthetic inputs")
    for one, other in zip(left, right, strict=True):
        a, b = (np.asarray(ops.convert_to_numpy(ops.cast(each, "float32")), "float64") for each in (one, other))
        scale = max(np.abs(a[np.isfinite(a)]).max(initial=0.0), 1e-6)
        half = keras.backend.standardize_dtype(one.dtype) in ("float16", "bfloat16")
        if a.shape != b.shape or not np.allclose(
            a, b, rtol=0, atol=(300 if half else 1) * TOLERANCE * scale, equal_nan=True
        ):
            raise InliningError("different outputs on synthetic inputs")
        if (mask_of(one) is None) != (mask_of(other) is None):
            raise InliningError("different masks of its outputs")
