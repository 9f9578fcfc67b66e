"""Several compiled models of the same structure as one network of members with independent weights.

The structure is determined from the models, not from the hyperparameters.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hyperens.conversion.compiled import compile_arguments
from keras_hyperens.conversion.compiled import loss_numbers
from keras_hyperens.conversion.network import Converter
from keras_hyperens.conversion.probing import Facts
from keras_hyperens.conversion.probing import Site
from keras_hyperens.conversion.probing import layers_of
from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.base import HyperLayer

LEARNING_RATE = "`learning_rate` of the optimizer"
HIGHEST = 0.999  # of a rate; coefficients have no limit, and the range of a member's value is not checked again
USUAL = ("", "frozen")  # valid reasons to share a layer: it is not trained


class IncompatibleModelsError(ValueError):
    """Reason why models cannot be trained in one network."""


@dataclass(frozen=True)
class Joint:
    """Models of the same structure as one network.

    Attributes:
        network: Takes inputs `[M*B, ...]`, member by member.
        space: A name for each value in which the members differ.
        sites: Sites of these values, in the order of the space.
        places: The layers of the network for the models' layers, in the order of `layers_of`.
        compiled: Compile arguments of one member's loss and metrics.
    """

    network: keras.Model
    space: HyperparameterSpace
    sites: tuple[Site, ...]
    places: dict[int, keras.layers.Layer]
    compiled: dict[str, Any]

    def values(self, facts: Sequence[Facts]) -> np.ndarray:
        """Returns the members' values, `[M, 1, P]`."""
        return np.array([[[each.numbers.get(site, 0.0) for site in self.sites]] for each in facts], "float32")

    def adopt(self, models: Sequence[keras.Model]) -> None:
        """Initializes each member with the weights of its model.

        Raises:
            IncompatibleModelsError: If a shared layer has different weights in the models.
        """
        layers = [layers_of(model) for model in models]
        for place, layer in self.places.items():
            weights = [each[place].get_weights() for each in layers]
            if isinstance(layer, HyperLayer):
                layer.adopt_each(weights)
            elif all(np.array_equal(own, first) for each in weights for own, first in zip(each, weights[0])):
                layer.set_weights(weights[0])
            else:
                raise IncompatibleModelsError(f"the frozen layer {layer.name!r} has other weights in each model")

    def release(self, member: int, values: np.ndarray, model: keras.Model) -> None:
        """Assigns the weights of a member to a model."""
        layers = layers_of(model)
        for place, layer in self.places.items():
            if isinstance(layer, HyperLayer):
                layers[place].set_weights(layer.member_weights(member, values))


def structure_of(model: keras.Model, facts: Facts) -> str:
    """Returns the common structure of models of one network: layers, connections, and compile arguments.

    Raises:
        IncompatibleModelsError: If the model is not a graph of layers, compiled with a loss.
    """
    if not model.built or not model.compiled or getattr(model, "loss", None) is None:
        raise IncompatibleModelsError("a model must be built, and compiled with a loss")
    rest = {name: text for name, text in facts.rest.items() if name != LEARNING_RATE}
    # Keras logs the loss of each output without its weight, so loss weights cannot vary between members.
    weights = {str(site): number for site, number in facts.numbers.items() if site[0] == "loss_weights"}
    return json.dumps(
        [type(model).__name__, rest, _wiring(model), sorted(map(str, facts.numbers)), weights], default=str
    )


def _wiring(model: keras.Model) -> Any:
    """Returns the connections of the layers of a graph, and its other operations, by position instead of name."""
    try:
        config = model.get_config()
    except NotImplementedError as error:
        raise IncompatibleModelsError("a model must be Sequential or Functional") from error
    entries = config.get("layers", [])
    names = [entry.get("name", entry["config"].get("name")) for entry in entries]
    places = {name: place for place, name in enumerate(names)}
    layers = {layer.name for layer in model.layers}

    def numbered(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: numbered(each) for name, each in part.items() if name != "name"}
        if isinstance(part, list | tuple):
            return [numbered(each) for each in part]
        return places.get(part, part) if isinstance(part, str) else part

    found = [
        [
            entry["class_name"],
            numbered(entry.get("inbound_nodes")),
            None if name in layers else numbered(entry["config"]),
        ]
        for name, entry in zip(names, entries, strict=True)
    ]
    ends = numbered([config.get("input_layers"), config.get("output_layers")])
    return [found, ends, [_wiring(layer) for layer in model.layers if isinstance(layer, keras.Model)]]


def sites_of(facts: Sequence[Facts]) -> tuple[Site, ...]:
    """Returns the sites of the values that are not 0 in all models."""
    every = {site: None for each in facts for site, number in each.numbers.items() if number}
    return tuple(site for site in every if site[0] != "loss_weights")


def join(model: keras.Model, sites: tuple[Site, ...], ensemble_size: int) -> Joint:
    """Returns the network for models like this one, and its sites for their values.

    Raises:
        IncompatibleModelsError: If they would share a trained layer, or one that may mix samples.
    """
    names = {site: f"{site[0]} {site[1]}" for site in sites}
    space = HyperparameterSpace(Hyperparameter(name, 0.0, HIGHEST, "linear") for name in names.values())
    numbers = {id(layer): place for place, layer in enumerate(layers_of(model))}

    def settings_of(layer: keras.layers.Layer, kind: type[HyperLayer]) -> dict[str, Setting]:
        place = numbers[id(layer)]
        return {setting: names[place, setting] for setting in kind.settings if (place, setting) in names}

    members = {"ensemble_size": ensemble_size, "space": space}
    converter = Converter(members, {"sharing": "independent"}, settings_of, member_normalization=True)
    with warnings.catch_warnings(action="ignore"):  # of shared layers, which are checked here
        network = _converted(converter, model)
    _check_shared(converter)
    places = {numbers[id(old)]: new for old, new in converter.pairs if id(old) in numbers}
    return Joint(network, space, sites, places, _compiled(model, names))


def _converted(converter: Converter, model: keras.Model) -> keras.Model:
    try:
        return converter.convert(model)
    except ValueError as error:
        raise IncompatibleModelsError(str(error)) from error


def _check_shared(converter: Converter) -> None:
    shared = {record.layer: record.reason for record in converter.records if not record.became}
    trained = [f"{layer} ({reason})" for layer, reason in shared.items() if reason not in USUAL]
    if trained:
        raise IncompatibleModelsError(f"all would share {', '.join(trained)}")
    for old, new in converter.pairs:
        if not isinstance(new, HyperLayer) and not type(new).__module__.startswith("keras."):
            raise IncompatibleModelsError(f"the layer {old.name!r} of type {type(old).__name__} may mix samples")
        if getattr(old, "activity_regularizer", None) is not None or isinstance(
            old, keras.layers.ActivityRegularization
        ):
            raise IncompatibleModelsError(f"the layer {old.name!r} has a penalty on its outputs")


def _compiled(model: keras.Model, names: dict[Site, str]) -> dict[str, Any]:
    driven: dict[Any, Setting] = {(site[0], site[1]): name for site, name in names.items() if isinstance(site[0], str)}
    arguments = compile_arguments(model, driven, loss_numbers(model))
    return {name: arguments[name] for name in ("loss", "loss_weights")}
