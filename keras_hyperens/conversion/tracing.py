"""A custom layer as a Functional model of its sublayers: its `call`, followed on symbolic inputs, and checked.

The model has the layer's own sublayers and weights, not copies of them. What cannot be followed exactly raises
`NotInlined` with the reason; the layer then stays as it is.
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.conversion.perturbing import made_up
from keras_hyperens.conversion.perturbing import perturbed
from keras_hyperens.layers.glue import BroadcastRows
from keras_hyperens.layers.glue import Constant
from keras_hyperens.layers.glue import Weight
from keras_hyperens.layers.glue import WithMask
from keras_hyperens.masks import mask_of
from keras_hyperens.masks import with_mask

ROWS = 7919  # a prime in the place of the number of rows, where a `call` asks for it; no axis is as long
TOLERANCE = 1e-4  # of the largest output


class NotInlined(ValueError):
    """Why a layer cannot be made a graph of its sublayers."""


@dataclass(frozen=True)
class Arguments:
    """What a layer is called with: a structure of arguments, whose symbolic tensors are replaced by others.

    Attributes:
        args, kwargs: Of the call.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[Any]:
        """The symbolic tensors, in order."""
        return [each for each in keras.tree.flatten((self.args, self.kwargs)) if isinstance(each, keras.KerasTensor)]

    @property
    def masked(self) -> list[Any]:
        """Those that carry a mask."""
        return [each for each in self.tensors if mask_of(each) is not None]

    @property
    def key(self) -> str:
        """The same for calls that one graph can serve."""
        return repr(keras.tree.map_structure(_described, (self.args, self.kwargs)))

    def with_tensors(self, tensors: list[Any]) -> "Arguments":
        """The same call of other tensors."""
        rest = iter(tensors)
        swap = lambda each: next(rest) if isinstance(each, keras.KerasTensor) else each  # noqa: E731
        args, kwargs = keras.tree.map_structure(swap, (self.args, self.kwargs))
        return Arguments(tuple(args), kwargs)


def _described(each: Any) -> str:
    if isinstance(each, keras.KerasTensor):
        return f"{each.shape} {each.dtype} {mask_of(each) is not None}"
    return repr(each)


def traced(block: keras.layers.Layer, call: Arguments, with_names: bool = False, checked: bool = True) -> keras.Model:
    """The graph of a layer's `call`: a Functional model named as the layer.

    Its inputs are the call's tensors, in order, then the masks of those that carry one.

    Args:
        block: Built.
        call: One of its calls, on symbolic tensors; without `training`.
        with_names: Whether inputs have the names of the tensors.
        checked: Whether the graph is compared with the layer.

    Raises:
        NotInlined: If the graph would not compute the same, or not all of the layer's weights are in it.
    """
    if block.activity_regularizer is not None:
        raise NotInlined("a penalty on its outputs")
    reasons: list[str] = []
    for rows in (None, ROWS):
        for by_row in (True, False):
            try:
                graph = _attempt(block, call, rows, by_row, checked)
                return _renamed_inputs(graph, call.tensors) if with_names else graph
            except NotInlined as error:
                reasons.append(str(error))
            except Exception as error:  # a `call` may do anything
                reasons.append(f"its `call` fails on symbolic inputs: {_first_line(error)}")
    raise NotInlined(reasons[0])


def _renamed_inputs(graph: keras.Model, tensors: list[Any]) -> keras.Model:
    inputs = [
        keras.Input(batch_shape=old.shape, dtype=old.dtype, name=new.name) for old, new in zip(graph.inputs, tensors)
    ]
    outputs = graph._run_through_graph(inputs, operation_fn=lambda operation: operation)
    return keras.Model(inputs, outputs, name=graph.name)


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 120 else text[:117] + "..."


def _attempt(block: keras.layers.Layer, call: Arguments, rows: int | None, by_row: bool, checked: bool) -> keras.Model:
    eager: list[keras.layers.Layer] = []
    graph = _graph(block, call, rows, by_row, eager, None)
    missing = _missing(block, graph)
    if missing:
        eager = [layer for layer in block._flatten_layers(include_self=False) if _has_any(layer, missing)]
        graph = _graph(block, call, rows, by_row, eager, None)
        missing = _missing(block, graph)
    elif not by_row:
        raise NotInlined("nothing else to try")
    if missing:
        raise NotInlined("some of its weights are outside of the graph: " + ", ".join(w.path for w in missing[:3]))
    if not checked:
        return graph
    if _takes_training(block):
        _check_training(graph, _graph(block, call, rows, by_row, eager, True))
    _check_same(block, graph, call)
    return graph


def _has_any(layer: keras.layers.Layer, weights: list[keras.Variable]) -> bool:
    own = {id(weight) for weight in (*layer._trainable_variables, *layer._non_trainable_variables)}
    return any(id(weight) in own for weight in weights)


def _missing(block: keras.layers.Layer, graph: keras.Model) -> list[keras.Variable]:
    found = {id(weight) for weight in graph.weights}
    return [weight for weight in block.weights if id(weight) not in found]


def _takes_training(block: Any) -> bool:
    return bool(block._call_has_training_arg)


def _graph(
    block: keras.layers.Layer,
    call: Arguments,
    rows: int | None,
    by_row: bool,
    eager: list[keras.layers.Layer],
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
    keywords = {**here.kwargs, **({"training": training} if _takes_training(block) else {})}
    before = _python_state(block)
    with _own_weights_as_layers(block, inputs[0]), _symbolic(eager, inputs[0], by_row), unique_names(block):
        outputs = block.call(*here.args, **keywords)
        _check_outputs(outputs, inputs)
        if _python_state(block) != before:
            raise NotInlined("its `call` changes the layer itself")
        outputs = _masked(block, here, given[0], outputs)
        graph = keras.Model(inputs, outputs, name=block.name)
        graph = graph if rows is None else _of_any_rows(graph, call)
    _check_arguments(graph)
    return graph


def _input_like(tensor: Any, rows: int | None) -> Any:
    shape = tuple(tensor.shape)
    if rows is not None and shape and shape[0] is None:
        shape = (rows, *shape[1:])
    return keras.Input(batch_shape=shape, dtype=tensor.dtype)


def _cast(block: keras.layers.Layer, tensor: Any) -> Any:
    """As Keras casts what a layer is called on."""
    if not block.autocast or "float" not in tensor.dtype or tensor.dtype == block.compute_dtype:
        return tensor
    return ops.cast(tensor, block.compute_dtype)


def _python_state(block: keras.layers.Layer) -> dict[str, Any]:
    simple = (int, float, str, bool, type(None))
    return {name: each for name, each in vars(block).items() if isinstance(each, simple) and not name.startswith("_")}


@contextmanager
def _own_weights_as_layers(block: keras.layers.Layer, reference: Any) -> Iterator[None]:
    """Inside, attributes that are the block's own weights are the outputs of layers that have these weights."""
    own = {id(weight) for weight in (*block._trainable_variables, *block._non_trainable_variables)}
    found = {name: each for name, each in vars(block).items() if id(each) in own}
    for name, variable in found.items():
        vars(block)[name] = Weight.of(variable, f"{block.name}_{name.strip('_')}", block.dtype_policy)(reference)
    try:
        yield
    finally:
        vars(block).update(found)


@contextmanager
def _symbolic(layers: list[keras.layers.Layer], reference: Any, by_row: bool) -> Iterator[None]:
    """Inside, these layers called on arrays, such as positions, are called on a layer that has the array."""

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


@contextmanager
def unique_names(block: keras.layers.Layer) -> Iterator[None]:
    """Inside, no two layers of a block have one name; afterwards those that a graph needs so keep them."""
    seen: set[str] = set()
    renamed: dict[int, tuple[Any, str]] = {}
    for layer in block._flatten_layers(include_self=False):
        if layer.name in seen and id(layer) not in renamed:
            renamed[id(layer)] = layer, layer.name
            layer.name = next(name for n in range(1, 10**6) if (name := f"{layer.name}_{n}") not in seen)
        seen.add(layer.name)
    yield


def _check_outputs(outputs: Any, inputs: list[Any]) -> None:
    flat = keras.tree.flatten(outputs)
    if not flat or not all(isinstance(each, keras.KerasTensor) for each in flat):
        raise NotInlined("an output that does not come from its inputs")


def _with_mask_argument(block: Any, call: Arguments) -> Arguments:
    """The call with the mask of its only tensor as an argument, as Keras fills it in."""
    if not block._call_has_mask_arg or call.kwargs.get("mask") is not None or len(call.tensors) != 1:
        return call
    mask = mask_of(call.tensors[0])
    return call if mask is None else Arguments(call.args, {**call.kwargs, "mask": mask})


def _masked(block: Any, call: Arguments, first: Any, outputs: Any) -> Any:
    """Outputs with the mask that Keras gives them."""
    if not block.supports_masking or not isinstance(outputs, keras.KerasTensor) or mask_of(outputs) is not None:
        return outputs
    passed = next(iter(call.args), first)
    mask = block.compute_mask(passed, call.kwargs.get("mask", mask_of(first)))
    return WithMask(name=f"{block.name}_mask")([outputs, mask]) if isinstance(mask, keras.KerasTensor) else outputs


def _check_arguments(graph: keras.Model) -> None:
    """Weights that operations take directly would be those of the model for ever."""
    for node in nodes_of(graph):
        if any(isinstance(each, keras.Variable) for each in _flat_arguments(node)):
            raise NotInlined("it uses weights of its layers by itself")


def nodes_of(graph: Any) -> list[Any]:
    """The calls of a Functional model, those that come first at the beginning."""
    by_depth = graph._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def unbatched(model: Any) -> dict[int, str]:
    """By the id of a layer that is called on something without an axis of rows, at any depth, why it is shared."""
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth") or any(each.shape[:1] != (None,) for each in model.inputs or ()):
        found = {}
    else:
        found = {
            id(node.operation): "it sees no rows"
            for node in nodes_of(graph)
            if node.arguments.keras_tensors and node.arguments.keras_tensors[0].shape[:1] != (None,)
        }
    for layer in getattr(model, "layers", ()):
        inner = layer.layer if type(layer) is keras.layers.TimeDistributed else layer
        found |= unbatched(inner) if isinstance(inner, keras.Model) else {}
        if id(layer) in found and isinstance(inner, keras.Model):
            found |= {id(each): found[id(layer)] for each in inner._flatten_layers()}
    return found


def _flat_arguments(node: Any) -> list[Any]:
    kwargs = {name: each for name, each in node.arguments.kwargs.items() if name != "training"}
    return keras.tree.flatten((node.arguments.args, kwargs))


def _of_any_rows(graph: keras.Model, call: Arguments) -> keras.Model:
    """A graph traced with so many rows, for any number of rows."""
    inputs = [_input_like(tensor, None) for tensor in (*call.tensors, *map(mask_of, call.masked))]
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
            raise NotInlined(f"{kind} by the number of rows")
        return BroadcastRows()([one, reference])

    outputs = graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=called)
    return keras.Model(inputs, outputs, name=graph.name)


def _constant_of_rows(each: Any, reference: Any) -> Any:
    """An array that is the same for each of so many rows, for any number of them."""
    if not hasattr(each, "numpy") or isinstance(each, keras.Variable) or not each.shape or each.shape[0] != ROWS:
        return each
    array = ops.convert_to_numpy(each)
    if not (array == array[:1]).all():
        raise NotInlined("an array of as many rows as the batch has")
    return Constant(array[0], str(array.dtype))(reference)


def _check_training(graph: keras.Model, in_training: keras.Model) -> None:
    if _signature(graph) != _signature(in_training):
        raise NotInlined("its `call` does something else in training")
    for node in nodes_of(in_training):
        if node.arguments.kwargs.get("training") is False:
            raise NotInlined(f"it calls {node.operation.name!r} with `training=False`")


def _signature(graph: keras.Model) -> list[Any]:
    return [_signature_of(node) for node in nodes_of(graph)]


def _signature_of(node: Any) -> tuple[Any, ...]:
    flat = _flat_arguments(node)
    constants = [repr(each) for each in flat if not isinstance(each, keras.KerasTensor)]
    weights = [id(weight) for weight in getattr(node.operation, "weights", ())]
    return type(node.operation), tuple(weights), tuple(constants), len(flat)


def _check_same(block: Any, graph: keras.Model, call: Arguments) -> None:
    """Compares layer and graph on made-up rows, at weights that are not those from which it was traced."""
    rows, masks = ([made_up(tensor) for tensor in each] for each in (call.tensors, map(mask_of, call.masked)))
    passed = [*map(ops.copy, rows), *masks]
    rest = iter(masks)
    for tensor, row in zip(call.tensors, rows, strict=True):
        with_mask(row, next(rest) if mask_of(tensor) is not None else None)
    here = call.with_tensors(rows)
    passed = passed[0] if len(passed) == 1 else passed
    keywords = {"training": False} if _takes_training(block) else {}
    with perturbed(block.weights):
        expected, actual = block(*here.args, **{**here.kwargs, **keywords}), graph(passed, training=False)
        _compare(expected, actual)
    with suppress(AttributeError):
        block._clear_losses()


def _compare(expected: Any, actual: Any) -> None:
    left, right = keras.tree.flatten(expected), keras.tree.flatten(actual)
    if len(left) != len(right):
        raise NotInlined("other outputs on made-up rows")
    for one, other in zip(left, right, strict=True):
        a, b = (np.asarray(ops.convert_to_numpy(ops.cast(each, "float32")), "float64") for each in (one, other))
        scale = max(np.abs(a[np.isfinite(a)]).max(initial=0.0), 1e-6)
        half = keras.backend.standardize_dtype(one.dtype) in ("float16", "bfloat16")
        if a.shape != b.shape or not np.allclose(
            a, b, rtol=0, atol=(300 if half else 1) * TOLERANCE * scale, equal_nan=True
        ):
            raise NotInlined("other outputs on made-up rows")
        if (mask_of(one) is None) != (mask_of(other) is None):
            raise NotInlined("other masks of its outputs")
