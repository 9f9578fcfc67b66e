"""Conversion of Keras models to graphs, including custom layers, so that their sublayers can be converted.

The graph uses the model's own layers, without copies. Layers that cannot be traced stay unchanged, with the reason.
"""

import warnings
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras
from keras import ops

from keras_hyperens.conversion.arguments import Arguments
from keras_hyperens.conversion.arguments import InliningError
from keras_hyperens.conversion.network import Chosen
from keras_hyperens.conversion.network import counterpart_of
from keras_hyperens.conversion.network import final_layers
from keras_hyperens.conversion.network import is_chosen
from keras_hyperens.conversion.substituting import outputs_of_call
from keras_hyperens.conversion.tracing import traced
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.glue import MaskOf
from keras_hyperens.layers.glue import Weight
from keras_hyperens.masks import mask_of
from keras_hyperens.masks import with_mask
from keras_hyperens.types import TensorTree

METHODS = ("train_step", "test_step", "predict_step", "compute_loss")  # not converted


@dataclass
class Inlining:
    """Traces the custom layers of models.

    Args:
        exclude: Names, with `*` as a wildcard, or classes of layers that stay unchanged.
        given: The `verdicts` on another model of the same code, which replace the comparison.

    Attributes:
        reasons: Reasons of unchanged layers, by the id of the layer.
        verdicts: For each custom layer, in order, the reason why it stays unchanged, or the way it was traced.
    """

    exclude: Iterable[Chosen] = ()
    given: Sequence[str | int] | None = None
    reasons: dict[int, str] = field(default_factory=dict)
    verdicts: list[str | int] = field(default_factory=list)
    _made: dict[tuple[int, str], Any] = field(default_factory=dict)
    _weights: dict[int, Weight] = field(default_factory=dict)  # of custom layers, by the id of the weight

    def graph_of(self, model: keras.Model) -> keras.Model:
        """Returns the model itself if it has no custom layers, otherwise a graph of its layers.

        Raises:
            ValueError: If it is not Sequential or Functional, and its `call` cannot be traced.
        """
        if not isinstance(model, keras.Model) or (not model.built and is_graph_model(model)):
            return model  # the conversion raises the error
        if not model.built:
            raise ValueError(
                "A subclassed model must be called on a batch before it is converted. "
                f"Received: {model.name!r} of type {type(model).__name__}, never called"
            )
        _warn_of_lost(model)
        with warnings.catch_warnings(), outputs_of_call(model):
            warnings.filterwarnings("ignore", message=".*does not support masking.*")
            if is_graph_model(model):
                return self._graph(model)
            try:
                return self._graph(self._followed(model))
            except InliningError as error:
                raise ValueError(
                    "A subclassed model is converted by tracing its `call`, which must consist of Keras layers and "
                    "`keras.ops`. If it takes several arguments, strings or integers, declare its inputs with "
                    "`keras.Input` and convert `keras.Model(inputs, model(inputs))`; otherwise build it from layers "
                    "such as `HyperBatchDense` and wrap it in `HyperBatchEnsemble`. "
                    f"Received: {model.name!r} of type {type(model).__name__}, but: {error}"
                ) from error

    def _followed(self, model: keras.Model) -> keras.Model:
        """Returns the graph of a subclassed model, for batches like the one on which it was built."""
        shapes = model._build_shapes_dict or {}
        if len(shapes) != 1:
            raise InliningError(
                "call it on a batch first; its `call` must take one argument besides `training` and `mask`"
            )
        (shape,) = shapes.values()
        inputs = _symbolic(shape, model.input_dtype)
        graph = _graph_on(model, inputs)
        if any(isinstance(each, keras.layers.Embedding) for each in model._flatten_layers()):
            inside = Inlining(self.exclude)._graph(graph)  # blocks may contain embeddings
            indices = [_is_of_indices(inside, each) for each in inside.inputs]
            if any(indices):  # Keras does not record the input type
                rest = iter(indices)
                inputs = keras.tree.map_structure(lambda each: _as_indices(each) if next(rest) else each, inputs)
                graph = _graph_on(model, inputs)
        return graph

    def _graph(self, model: keras.Model) -> keras.Model:
        plain = (keras.Sequential, functional())
        inside = model._flatten_layers(include_self=False)
        if not any(self._may_be_inlined(each) or (is_graph_model(each) and type(each) not in plain) for each in inside):
            return model if type(model) in plain else _plain(model)
        return keras.models.clone_model(_plain(model), clone_function=lambda layer: layer, call_function=self._called)

    def _called(self, layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if is_graph_model(layer):
            return self._once(layer, "", lambda: self._graph(layer))(*args, **kwargs)
        if type(layer) is keras.layers.TimeDistributed:
            return self._once(layer, "", lambda: self._around(layer, args[0]))(*args, **kwargs)
        if not self._may_be_inlined(layer):
            return layer(*args, **kwargs)
        call = Arguments(args, {name: each for name, each in kwargs.items() if name != "training"})
        graph = self._once(layer, call.key, lambda: self._inlined(layer, call))
        if graph is None:
            return layer(*args, **kwargs)
        outputs = graph(_inputs_of(call))
        return keras.tree.map_structure(_symbolically_masked, outputs, graph.output)

    def _once(self, layer: keras.layers.Layer, key: str, make: Any) -> Any:
        place = (id(layer), key)
        if place not in self._made:
            self._made[place] = make()
        return self._made[place]

    def _inlined(self, layer: keras.layers.Layer, call: Arguments) -> keras.Model | None:
        place = len(self.verdicts)
        verdict = None if self.given is None or place >= len(self.given) else self.given[place]
        try:
            if isinstance(verdict, str):
                raise InliningError(verdict)
            graph, way = traced(layer, call, way=verdict, made=self._weights)
        except InliningError as error:
            self.reasons[id(layer)] = str(error)
            self.verdicts.append(str(error))
            return None
        self.verdicts.append(way)
        before = sum(number == id(layer) for number, _ in self._made)
        graph.name = f"{layer.name}_call_{before}" if before else layer.name  # its calls have other shapes
        graph = self._graph(graph)
        inner = [each.name for each in graph.layers if "compute_output_spec" in vars(each)]
        if inner:  # Keras could not call it when a file is loaded
            self.reasons[id(layer)] = f"its {inner[0]!r} has no output shapes"
            self.verdicts[place:] = [self.reasons[id(layer)]]
            return None
        return graph

    def _around(self, wrapper: keras.layers.Layer, inputs: TensorTree) -> Any:
        """Returns `TimeDistributed` around the graph of its inner layer."""
        inner = wrapper.layer
        if is_graph_model(inner):
            graph: Any = self._graph(inner)
        elif self._may_be_inlined(inner):
            one_time = keras.KerasTensor((inputs.shape[0], *inputs.shape[2:]), inputs.dtype)
            graph = self._inlined(inner, Arguments((one_time,), {}))
        else:
            return wrapper
        if graph is None or graph is inner:
            return wrapper
        return keras.layers.TimeDistributed(graph, name=wrapper.name, dtype=wrapper.dtype_policy)

    def _may_be_inlined(self, layer: keras.layers.Layer) -> bool:
        """Whether a layer is custom, and has sublayers that could be member-specific."""
        if not isinstance(layer, keras.layers.Layer) or isinstance(layer, HyperLayer) or is_keras_own(layer):
            return False
        if is_graph_model(layer) or not layer.trainable:
            return False
        if is_chosen(layer, self.exclude) or id(layer) in self.reasons:
            return False
        counterparts = final_layers()
        if counterpart_of(layer, counterparts):
            return False
        return any(counterpart_of(each, counterparts) for each in layer._flatten_layers(include_self=False))


def functional() -> type:
    """Returns the class of Functional models, which has no public name in Keras."""
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))


def is_graph_model(model: keras.Model) -> bool:
    """Whether a model is a graph of layers of any class, without its own `call`."""
    kinds: tuple[Any, ...] = (keras.Sequential, functional())
    return isinstance(model, kinds) and any(type(model).call is kind.call for kind in kinds)


def is_keras_own(layer: keras.layers.Layer) -> bool:
    """Whether a layer's class is part of Keras."""
    return type(layer).__module__.split(".")[0] == "keras"


def _plain(model: keras.Model) -> keras.Model:
    """Returns a Functional model of the same graph, not compiled."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def _inputs_of(call: Arguments) -> Any:
    """Returns the inputs of the graph that replaces a layer; masks are arguments there."""
    tensors = [each if mask_of(each) is None else ops.copy(each) for each in call.tensors]
    found = [*tensors, *map(mask_of, call.masked)]
    return found[0] if len(found) == 1 else found


def _symbolically_masked(output: Any, inside: Any) -> Any:
    return output if mask_of(inside) is None else with_mask(output, MaskOf()(output))


def _graph_on(model: keras.Model, inputs: TensorTree) -> keras.Model:
    graph, _ = traced(model, Arguments((inputs,), {}), with_names=True)
    return keras.Model(keras.tree.pack_sequence_as(inputs, graph.inputs), graph.output, name=model.name)


def _is_of_indices(graph: keras.Model, tensor: keras.KerasTensor) -> bool:
    """Whether only embeddings, and their masks, use an input, at any depth."""
    users = [
        (operation, place)
        for operation in graph.operations
        for node in operation._inbound_nodes
        for place, each in enumerate(node.arguments.keras_tensors)
        if each is tensor
    ]
    return bool(users) and all(_takes_indices(operation, place) for operation, place in users)


def _takes_indices(operation: Any, place: int) -> bool:
    if is_graph_model(operation):
        graph = getattr(operation, "_functional", operation)  # for Sequential models
        return place < len(graph.inputs) and _is_of_indices(graph, graph.inputs[place])
    return isinstance(operation, keras.layers.Embedding) or type(operation).__name__ == "NotEqual"


def _as_indices(tensor: keras.KerasTensor) -> Any:
    return keras.Input(batch_shape=tensor.shape, dtype="int32", name=tensor.name)


def _symbolic(shape: Any, dtype: str, name: str | None = None) -> Any:
    """Returns symbolic inputs for batch shapes with any batch size."""
    if isinstance(shape, dict):
        return {key: _symbolic(each, dtype, key) for key, each in shape.items()}
    if all(isinstance(axis, int | None) for axis in shape):
        return keras.Input(tuple(shape[1:]), dtype=dtype, name=name)
    return [_symbolic(each, dtype) for each in shape]


def _warn_of_lost(model: keras.Model) -> None:
    """Warns about features of a model that its ensemble does not have."""
    own = [name for name in METHODS if getattr(type(model), name) is not getattr(keras.Model, name)]
    lost = [f"its own `{name}`" for name in own if type(model).__module__.split(".")[0] != "keras_hub"]
    if getattr(model, "preprocessor", None) is not None:
        lost.append("its preprocessor: preprocess the inputs first")
    if lost:
        warnings.warn(f"The ensemble of {model.name!r} does not use {', '.join(lost)}", stacklevel=5)
