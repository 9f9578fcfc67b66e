"""Conversion of a Keras model to a network of hyper-batch layers with its weights."""

import fnmatch
import math
import warnings
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras

from keras_hyperens import layers
from keras_hyperens.conversion.nodes import unbatched
from keras_hyperens.conversion.summary import Record
from keras_hyperens.conversion.summary import describe
from keras_hyperens.conversion.tied import tied
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.glue import Weight
from keras_hyperens.layers.initializers import another
from keras_hyperens.layers.normalization import MemberNormalization
from keras_hyperens.layers.wrappers import copy_of
from keras_hyperens.layers.wrappers import has_lora
from keras_hyperens.layers.wrappers import is_wrapper
from keras_hyperens.layers.wrappers import rewrapped
from keras_hyperens.layers.wrappers import take_state
from keras_hyperens.layers.wrappers import weights_of

Chosen = str | type[keras.layers.Layer]
BETWEEN = "a weight between other layers"


def final_layers() -> dict[type, type[HyperLayer]]:
    """Returns the plain Keras layers with counterparts, and their counterparts."""
    ours = [each for each in vars(layers).values() if isinstance(each, type) and issubclass(each, HyperLayer)]
    return {each.plain_layer: each for each in ours if hasattr(each, "plain_layer")}


def counterpart_of(layer: Any, counterparts: Mapping[type, type[HyperLayer]]) -> type[HyperLayer] | None:
    """Returns the counterpart of a layer, also for another name of its class: a subclass without a body."""
    kind = type(layer)
    while kind not in counterparts and _is_another_name(kind):
        kind = kind.__bases__[0]
    return counterparts.get(kind)


def _is_another_name(kind: type) -> bool:
    notes = (name.startswith("_") and isinstance(value, str | int | tuple | None) for name, value in vars(kind).items())
    return len(kind.__bases__) == 1 and all(notes)


class Converter:
    """Converts models to networks of members; `records` then describes each layer.

    Args:
        members: `ensemble_size` and `space`.
        options: Arguments of `HyperBatchLayer` about the sharing of kernels.
        settings_of: Settings of a layer: a function of the plain layer and of the class of its counterpart.
        include, exclude: Layers to convert: names, with `*` as a wildcard, or classes. Defaults to all layers.
        member_normalization: Whether batch and layer normalization have per-member statistics and parameters.
    """

    def __init__(
        self,
        members: dict[str, Any],
        options: dict[str, Any],
        settings_of: Callable[[keras.layers.Layer, type[HyperLayer]], dict[str, Setting]],
        include: Iterable[Chosen] | None = None,
        exclude: Iterable[Chosen] = (),
        member_normalization: bool = False,
    ) -> None:
        self.members, self.options, self.settings_of = members, options, settings_of
        self.include, self.exclude = None if include is None else list(include), list(exclude)
        self.member_normalization = member_normalization
        self.counterparts = final_layers()
        self.records: list[Record] = []
        self._made: dict[int, Any] = {}  # by the old layer: a layer used twice stays one layer
        self.pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self._names: list[str] = []  # of the enclosing models and wrappers
        self._reasons: Mapping[int, str] = {}
        self._tied: Mapping[int, str] = {}

    def convert(self, model: keras.Model, reasons: Mapping[int, str] | None = None) -> keras.Model:
        """Returns a new network with the model's weights.

        Args:
            model: Sequential or Functional, also nested.
            reasons: Reasons of shared layers, by the id of the layer.

        Raises:
            TypeError: If `model` is not a Keras model.
            ValueError: If it is subclassed, or has no weights yet.
        """
        if not isinstance(model, keras.Model):
            raise TypeError(f"`model` must be a `keras.Model`. Received: model={model!r}")
        if not is_graph(model):
            raise ValueError(
                "Only Sequential and Functional models, also nested, can be converted; build a subclassed model from "
                "layers such as `HyperBatchDense` and wrap it in `HyperBatchEnsemble`. "
                f"Received: {model.name!r} of type {type(model).__name__}"
            )
        if not model.built or not model.inputs:
            raise ValueError(
                "A model must have weights before it is converted: give it an `Input`, or call it on a batch. "
                f"Received: {model.name!r}, never built"
            )
        self._tied = tied(model)
        self._reasons = {**unbatched(model), **self._tied, **(reasons or {})}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
            network = self._clone(model)
        for old, new in self.pairs:
            if isinstance(new, HyperLayer):
                new.adopt(weights_of(old))
            elif new is not old:
                take_state(new, old)
        self._warn_of_shared()
        return network

    def _clone(self, model: keras.Model) -> keras.Model:
        # Without compilation, which belongs to the ensemble.
        if not is_sequential(model):
            model = keras.Model(model.input, model.output, name=model.name)
        compiled, model.compiled = model.compiled, False
        try:
            return keras.models.clone_model(model, clone_function=self._counterpart)
        finally:
            model.compiled = compiled

    def _counterpart(self, layer: keras.layers.Layer) -> Any:
        if id(layer) not in self._made:
            self._made[id(layer)] = self._around_others(layer) or self._single(layer)
        return self._made[id(layer)]

    def _around_others(self, layer: keras.layers.Layer) -> Any:
        """Returns the counterpart of a model or a wrapper; `None` for other layers."""
        is_inner_graph = isinstance(layer, keras.Model) and is_graph(layer)
        if not is_inner_graph and not is_wrapper(layer):
            return None
        self._names.append(layer.name)
        try:
            if is_inner_graph:
                return self._clone(layer)
            new, pairs = rewrapped(layer, self._inside_wrapper)
            self.pairs += [(old, inner) for old, inner in pairs if not isinstance(old, keras.Model)]
            return new
        finally:
            self._names.pop()

    def _inside_wrapper(self, inner: Any) -> Any:
        if isinstance(inner, keras.Model) and is_graph(inner):
            return self._counterpart(inner)
        if id(inner) not in self._made:  # one layer may be in several wrappers
            self._made[id(inner)] = self._converted(inner) or self._copy_of(inner)
        return self._made[id(inner)]

    def _single(self, layer: keras.layers.Layer) -> Any:
        if not isinstance(layer, keras.layers.Layer):  # an operation such as a slice
            return copy_of(layer)
        new = self._converted(layer) or self._copy_of(layer)
        self.pairs.append((layer, new))
        return new

    def _copy_of(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer if id(layer) in self._tied else copy_of(layer)

    def _converted(self, layer: keras.layers.Layer) -> HyperLayer | None:
        """Returns the counterpart of a layer; `None`, with a record of the reason, if it stays shared."""
        if isinstance(layer, keras.layers.RNN) and layer.stateful:
            raise ValueError(
                "A stateful layer keeps the states of a batch of one size, but an ensemble calls it on one batch per "
                f"member: set `stateful=False`. Received: layer {layer.name!r} with stateful=True"
            )
        kind = counterpart_of(layer, self.counterparts)
        reason = self._why_not(layer, kind)
        if kind is None or reason is not None:
            self._record(layer, reason=reason or "")
            return None
        driven = self.settings_of(layer, kind)
        try:
            new = kind.from_plain(layer, {**self.members, **(self._options() if kind.has_kernels else {}), **driven})
        except ValueError as error:
            self._record(layer, reason=str(error).split(" Received:")[0].rstrip("."))
            return None
        merged = ["LoRA merged"] if has_lora(layer) else []
        self._record(layer, kind.__name__, ", ".join([*filter(None, [describe(driven)]), *merged]))
        return new

    def _options(self) -> dict[str, Any]:
        """Returns the options of the next layer: its initializers have other seeds than those of all layers before."""
        return {name: another(value, 1000 * len(self.records)) for name, value in self.options.items()}

    def _why_not(self, layer: keras.layers.Layer, kind: type | None) -> str | None:
        """Returns the reason why a layer stays shared; empty if it is expected."""
        if self.include is not None and not is_chosen(layer, self.include):
            return "not included"
        if is_chosen(layer, self.exclude):
            return "excluded"
        if getattr(layer, "quantization_mode", None) is not None:
            return "quantized"
        if id(layer) in self._reasons:
            return self._reasons[id(layer)]
        if kind is None:
            if isinstance(layer, Weight):
                return BETWEEN
            if isinstance(layer, keras.layers.Lambda):
                return "a function that processes the samples of all members"
            return "no counterpart for its weights" if layer.trainable_weights else ""
        if issubclass(kind, MemberNormalization) and not self.member_normalization:
            return "normalization"
        return "frozen" if layer.weights and not layer.trainable else None

    def _record(self, layer: keras.layers.Layer, became: str = "", driven_by: str = "", reason: str = "") -> None:
        path = "/".join([*self._names, layer.name])
        kind = type(layer).__name__
        aside = "Normalization" in kind and len(layer._flatten_layers()) == 1  # not a layer with others inside
        weights = sum(map(_size, layer.weights))
        trained = 0 if aside else sum(map(_size, layer.trainable_weights))
        self.records.append(Record(path, kind, became, driven_by, reason, weights, trained))

    def _warn_of_shared(self) -> None:
        usual = ("", "normalization", "frozen", "excluded", "not included", BETWEEN)
        unexpected = {record.layer: record.reason for record in self.records if record.reason not in usual}
        if unexpected:
            listed = "; ".join(f"{layer} ({reason})" for layer, reason in unexpected.items())
            warnings.warn(f"All members share these layers: {listed}", stacklevel=5)


def is_sequential(model: keras.Model) -> bool:
    """Whether a model is a plain `keras.Sequential`."""
    return type(model) is keras.Sequential


def is_graph(model: keras.Model) -> bool:
    """Whether a model is a plain graph of layers: Sequential or Functional, not a subclass."""
    return is_sequential(model) or type(model) is keras.Model or type(model).__name__ == "Functional"


def _size(weight: keras.Variable) -> int:
    return math.prod(weight.shape)


def is_chosen(layer: keras.layers.Layer, chosen: Iterable[Chosen]) -> bool:
    """Whether a layer has one of these names, with `*` as a wildcard, or one of these classes."""
    return any(
        fnmatch.fnmatchcase(layer.name, each) if isinstance(each, str) else isinstance(layer, each) for each in chosen
    )
