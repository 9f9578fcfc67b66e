"""Conversion of a custom layer to a Functional model of its sublayers: its `call` is traced and checked.

The model uses the layer's own sublayers and weights, without copies. Layers without an exact graph raise
`InliningError` with the reason and stay unchanged.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_hyperens.conversion.arguments import Arguments
from keras_hyperens.conversion.arguments import InliningError
from keras_hyperens.conversion.comparing import check_arguments
from keras_hyperens.conversion.comparing import check_same
from keras_hyperens.conversion.comparing import check_training
from keras_hyperens.conversion.comparing import takes_training
from keras_hyperens.conversion.substituting import ROWS
from keras_hyperens.conversion.substituting import as_of_arrays
from keras_hyperens.conversion.substituting import of_any_rows
from keras_hyperens.conversion.substituting import own_weights_as_layers
from keras_hyperens.conversion.substituting import symbolic_arrays
from keras_hyperens.layers.glue import Weight
from keras_hyperens.layers.glue import WithMask
from keras_hyperens.masks import mask_of
from keras_hyperens.types import TensorTree

WAYS = ((None, True), (None, False), (ROWS, True), (ROWS, False))  # batch size of the trace, one array copy per sample


def traced(
    block: keras.layers.Layer,
    call: Arguments,
    with_names: bool = False,
    way: int | None = None,
    made: dict[int, Weight] | None = None,
) -> tuple[keras.Model, int]:
    """Returns the graph of a layer's `call`, a Functional model with the layer's name, and the way it was traced.

    Its inputs are the tensors of the call, in order, followed by the existing masks.

    Args:
        block: A built layer.
        call: One of its calls, on symbolic tensors; without `training`.
        with_names: Whether inputs have the names of the tensors.
        way: The way in which a layer of the same code was traced, which replaces the comparison.
        made: Layers of the block's own weights in graphs of its other calls, by the id of the weight.

    Raises:
        InliningError: If the graph computes something else, or does not contain all weights of the layer.
    """
    if block.activity_regularizer is not None:
        raise InliningError("a penalty on its outputs")
    reasons: list[str] = []
    own = {} if made is None else made
    for number in range(len(WAYS)) if way is None else [way]:
        try:
            rows, by_row = WAYS[number]
            graph = _attempt(block, call, rows, by_row, own, way is None)
            return (_renamed_inputs(graph, call.tensors) if with_names else graph), number
        except InliningError as error:
            reasons.append(str(error))
        except Exception as error:  # a `call` can raise any error
            known = all(None not in tensor.shape[1:] for tensor in call.tensors)
            kind = "symbolic inputs" if known else "inputs of unknown length"
            reasons.append(f"its `call` fails on {kind}: {_first_line(error)}")
    raise InliningError(reasons[0])


def _renamed_inputs(graph: keras.Model, tensors: list[Any]) -> keras.Model:
    inputs = [
        keras.Input(batch_shape=old.shape, dtype=old.dtype, name=new.name) for old, new in zip(graph.inputs, tensors)
    ]
    outputs = graph._run_through_graph(inputs, operation_fn=lambda operation: operation)
    return keras.Model(inputs, outputs, name=graph.name)


def _first_line(error: Exception) -> str:
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):  # added by Keras
        lines = lines[1:]
    text = lines[0].strip() if lines else type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


def _attempt(
    block: keras.layers.Layer,
    call: Arguments,
    rows: int | None,
    by_row: bool,
    made: dict[int, Weight],
    checked: bool,
) -> keras.Model:
    eager: list[keras.layers.Layer] = []
    graph = _graph(block, call, rows, by_row, eager, made, None)
    missing = _missing(block, graph)
    if missing:
        eager = [layer for layer in block._flatten_layers(include_self=False) if _has_any(layer, missing)]
        graph = _graph(block, call, rows, by_row, eager, made, None)
        missing = _missing(block, graph)
    elif not by_row:
        raise InliningError("no other way to trace it")
    if missing:
        raise InliningError("some of its weights are outside of the graph: " + ", ".join(w.path for w in missing[:3]))
    if not checked:
        return graph
    if takes_training(block):
        check_training(graph, _graph(block, call, rows, by_row, eager, made, True))
    check_same(block, graph, call)
    return graph


def _has_any(layer: keras.layers.Layer, weights: list[keras.Variable]) -> bool:
    own = {id(weight) for weight in (*layer._trainable_variables, *layer._non_trainable_variables)}
    return any(id(weight) in own for weight in weights)


def _missing(block: keras.layers.Layer, graph: keras.Model) -> list[keras.Variable]:
    found = {id(weight) for weight in graph.weights}
    return [weight for weight in block.weights if id(weight) not in found]


def _graph(
    block: keras.layers.Layer,
    call: Arguments,
    rows: int | None,
    by_row: bool,
    eager: list[keras.layers.Layer],
    made: dict[int, Weight],
    training: bool | None,
) -> keras.Model:
    inputs = [_input_like(tensor, rows) for tensor in (*call.tensors, *map(mask_of, call.masked))]
    masks = iter(inputs[len(call.tensors) :])
    given = [_cast(block, each) for each in inputs[: len(call.tensors)]]
    given = [
        new if mask_of(tensor) is None else WithMask()([new, next(masks)])
        for tensor, new in zip(call.tensors, given, strict=True)
    ]
    here = _with_mask_argument(block, call.with_tensors(given))
    keywords = {**here.kwargs, **({"training": training} if takes_training(block) else {})}
    with own_weights_as_layers(block, inputs[0], made), symbolic_arrays(eager, inputs[0], by_row), unique_names(block):
        with _without_effects(block), as_of_arrays():
            outputs = block.call(*here.args, **keywords)
        _check_outputs(outputs, inputs)
        outputs = _masked(block, here, given[0], outputs)
        graph = keras.Model(inputs, outputs, name=block.name)
        if rows is not None:
            tensors = (*call.tensors, *map(mask_of, call.masked))
            graph = of_any_rows(graph, [_input_like(tensor, None) for tensor in tensors])
    check_arguments(graph)
    return graph


def _input_like(tensor: keras.KerasTensor, rows: int | None) -> Any:
    shape = tuple(tensor.shape)
    if rows is not None and shape and shape[0] is None:
        shape = (rows, *shape[1:])
    return keras.Input(batch_shape=shape, dtype=tensor.dtype)


def _cast(block: keras.layers.Layer, tensor: keras.KerasTensor) -> Any:
    """Casts an input as Keras does."""
    if not block.autocast or "float" not in tensor.dtype or tensor.dtype == block.compute_dtype:
        return tensor
    return ops.cast(tensor, block.compute_dtype)


@contextmanager
def _without_effects(block: keras.layers.Layer) -> Iterator[None]:
    """Context manager: the block has no other effects than outputs. Restores its variables and losses."""
    inside, before = block._flatten_layers(), _python_state(block)
    variables = [each for layer in inside for each in (*layer._non_trainable_variables, *layer.metrics_variables)]
    values, losses = [ops.convert_to_numpy(each) for each in variables], [len(layer._losses) for layer in inside]
    changed: list[keras.Variable] = []
    added: list[keras.layers.Layer] = []
    try:
        yield
    finally:
        for each, value in zip(variables, values, strict=True):
            if ops.convert_to_numpy(each).tobytes() != value.tobytes():
                changed.append(each)
                each.assign(value)
        for layer, number in zip(inside, losses, strict=True):
            added += [layer] if len(layer._losses) > number else []
            del layer._losses[number:]
    if changed or _python_state(block) != before:
        raise InliningError("its `call` changes the layer itself")
    if any(layer.activity_regularizer is None for layer in added):
        raise InliningError("its `call` adds a loss")


def _python_state(block: keras.layers.Layer) -> dict[str, Any]:
    """Returns numbers and strings of a layer, except those of every Keras layer."""
    simple, of_keras = (int, float, str, bool, type(None)), vars(keras.layers.Layer())
    return {name: each for name, each in vars(block).items() if isinstance(each, simple) and name not in of_keras}


@contextmanager
def unique_names(block: keras.layers.Layer) -> Iterator[None]:
    """Context manager: layers of a block have unique names; names that a graph requires are kept afterwards."""
    seen: set[str] = set()
    renamed: dict[int, tuple[Any, str]] = {}
    for layer in block._flatten_layers(include_self=False):
        if layer.name in seen and id(layer) not in renamed:
            renamed[id(layer)] = layer, layer.name
            layer.name = next(name for n in range(1, 10**6) if (name := f"{layer.name}_{n}") not in seen)
        seen.add(layer.name)
    yield


def _check_outputs(outputs: TensorTree, inputs: list[Any]) -> None:
    flat = keras.tree.flatten(outputs)
    if not flat or not all(isinstance(each, keras.KerasTensor) for each in flat):
        raise InliningError("an output that does not come from its inputs")


def _with_mask_argument(block: keras.layers.Layer, call: Arguments) -> Arguments:
    """Returns the call with the mask of its only tensor as an argument, as Keras inserts it."""
    if not block._call_has_mask_arg or call.kwargs.get("mask") is not None or len(call.tensors) != 1:
        return call
    mask = mask_of(call.tensors[0])
    return call if mask is None else Arguments(call.args, {**call.kwargs, "mask": mask})


def _masked(block: keras.layers.Layer, call: Arguments, first: Any, outputs: TensorTree) -> Any:
    """Returns outputs with the mask that Keras sets."""
    if not block.supports_masking or not isinstance(outputs, keras.KerasTensor) or mask_of(outputs) is not None:
        return outputs
    passed = next(iter(call.args), first)
    mask = block.compute_mask(passed, call.kwargs.get("mask", mask_of(first)))
    return WithMask(name=f"{block.name}_mask")([outputs, mask]) if isinstance(mask, keras.KerasTensor) else outputs
