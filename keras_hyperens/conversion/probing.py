"""Detection of the layer and loss settings that each hyperparameter of a hypermodel controls, by building it."""

import json
import math
import random
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner

from keras_hyperens.conversion.compiled import Place
from keras_hyperens.conversion.compiled import loss_numbers
from keras_hyperens.conversion.inlining import Inlining
from keras_hyperens.conversion.network import counterpart_of
from keras_hyperens.conversion.network import final_layers
from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.plain import numbers_of
from keras_hyperens.layers.plain import shared_arguments

FRACTIONS = (0.1, 0.5, 0.9)  # of its range: probed values of a hyperparameter
STEPS, JITTER = (2**0.5, 3**0.5, 5**0.5), 0.05  # irrational, so that probed fractions of a group are distinct
Site = tuple[int | str, Any]  # (index of a layer, setting), or a part of the loss


@dataclass(frozen=True)
class Facts:
    """Properties of a model: numbers that may vary between members, and all others."""

    numbers: dict[Site, float]
    rest: dict[str, str]  # description: its configuration as text


@dataclass(frozen=True)
class Together:
    """Result of changing several hyperparameters at once."""

    driven: dict[Site, tuple[str, float]]  # the hyperparameter of each site, and its factor
    idle: list[Hyperparameter]  # without effect
    is_other_model: bool  # one of them changes something else


class Probe:
    """Analysis of a hypermodel by models built at several values of each hyperparameter.

    Each `Float` is set to several values of its range: all at once if the result is unique, otherwise one at a time. It
    can vary between members if it only changes settings that a layer of members has, to the value itself or a constant
    multiple of it.

    Args:
        hypermodel: A function `build_model(hp)`, or an object with a method `build`.
        fixed: Values of hyperparameters that do not vary; others keep their defaults.
        space: Names and ranges of the hyperparameters that vary. Defaults to all possible `Float` entries.
        initial_values: Values of varying hyperparameters that replace their defaults.
        inlining: Traces custom layers.

    Attributes:
        model: The model at the fixed values and the defaults of the others.
        graph: The model with custom layers as graphs.
        space: The `HyperparameterSpace` of the varying hyperparameters.
        driven: Controlled sites, with their hyperparameter.
        fixed: Hyperparameters common to all members, with the reason.

    Raises:
        ValueError: If the hypermodel does not build a Keras model, or has no hyperparameter of a given name.
    """

    def __init__(
        self,
        hypermodel: Any,
        fixed: dict[str, Any] | None = None,
        space: HyperparameterSpace | None = None,
        initial_values: dict[str, Any] | None = None,
        inlining: Inlining | None = None,
    ) -> None:
        self._build_model = hypermodel.build if isinstance(hypermodel, keras_tuner.HyperModel) else hypermodel
        if not callable(self._build_model) or isinstance(hypermodel, keras.Model):
            raise TypeError(
                "A hypermodel must be a function `build_model(hp)` or a `keras_tuner.HyperModel`. "
                f"Received: {hypermodel!r}"
            )
        self._given, self._initial = dict(fixed or {}), dict(initial_values or {})
        self.model, found = self._build({})
        self._inlining = inlining or Inlining()
        self.graph = self._inlining.graph_of(self.model)
        self._facts = facts_of(self.model, self.graph)
        self._check_names(found, [*self._given, *self._initial, *(space.names if space else ())])
        self.driven: dict[Site, Setting] = {}
        self.fixed: dict[str, str] = {}
        self.space = HyperparameterSpace(self._varied(found, space))

    def _varied(self, found: keras_tuner.HyperParameters, space: HyperparameterSpace | None) -> list[Hyperparameter]:
        """Returns the varying hyperparameters. Restores the state of Python's generator, which seeds initializers.

        With one seed all ensembles of a hypermodel therefore start from the same weights.
        """
        ranges: dict[str, Hyperparameter | str] = {}
        for entry in found.space:
            ranges.setdefault(entry.name, self._range(entry, space))
        possible = [each for each in ranges.values() if isinstance(each, Hyperparameter)]
        state = random.getstate()
        reasons = {name: each for name, each in ranges.items() if isinstance(each, str)} | self._probe_all(possible)
        random.setstate(state)
        for entry in found.space:
            if reasons[entry.name]:
                self.fixed[entry.name] = f"{found.values.get(entry.name, entry.default)!r}; {reasons[entry.name]}"
        return [each for each in possible if not reasons[each.name]]

    def settings_of(self, layer: keras.layers.Layer, kind: type[HyperLayer]) -> dict[str, Setting]:
        """Returns the settings of a layer of `model` that are hyperparameters."""
        number = next(place for place, each in enumerate(layers_of(self.graph)) if each is layer)
        return {setting: self.driven[number, setting] for setting in kind.settings if (number, setting) in self.driven}

    def of_loss(self) -> dict[Place, Setting]:
        """Returns the settings of the loss of `model` that are hyperparameters."""
        return {(kind, key): setting for (kind, key), setting in self.driven.items() if isinstance(kind, str)}

    def _build(self, values: dict[str, Any]) -> tuple[keras.Model, keras_tuner.HyperParameters]:
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = {**self._initial, **self._given, **values}
        model = self._build_model(hyperparameters)
        if not isinstance(model, keras.Model):
            raise ValueError(f"A hypermodel must return a Keras model. Received: {model!r}")
        return model, hyperparameters

    def _facts_at(self, values: dict[str, Any]) -> Facts:
        model, _ = self._build(values)
        with warnings.catch_warnings(action="ignore"):  # the first model already raised them
            return facts_of(model, Inlining(self._inlining.exclude, self._inlining.verdicts).graph_of(model))

    @staticmethod
    def _check_names(found: keras_tuner.HyperParameters, names: Iterable[str]) -> None:
        known = [entry.name for entry in found.space]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"The hypermodel has the hyperparameters {known}. Received: {unknown}")

    def _range(self, entry: Any, space: HyperparameterSpace | None) -> Hyperparameter | str:
        """Returns the range over which a hyperparameter may vary, or the reason why it may not."""
        if entry.name in self._given:
            return "given"
        if space is not None:
            return space[entry.name] if entry.name in space.names else "not varied"
        if type(entry).__name__ != "Float":
            return f"not a `Float` but {type(entry).__name__}"
        try:
            return HyperparameterSpace._from_float(entry)
        except ValueError as error:
            return str(error)

    def _probe_all(self, group: list[Hyperparameter]) -> dict[str, str]:
        """Returns for each the reason why it cannot vary, empty if it can, as `_probe`, but with few models.

        All are set to other values at once. The numbers usually identify the sites of each; otherwise those without
        an apparent effect are probed separately, or both halves of the group are.
        """
        if len(group) < 2:
            return {each.name: self._probe(each) for each in group}
        found = self._look_at(group)
        if found is not None and not found.is_other_model:
            self._note(found.driven)
            clear = {each.name: "" for each in group if each not in found.idle}
            return clear | self._one_by_one(found.idle)
        if found is not None and 0 < len(found.idle) < len(group):
            return self._one_by_one(found.idle) | self._probe_all([each for each in group if each not in found.idle])
        half = len(group) // 2
        return self._probe_all(group[:half]) | self._probe_all(group[half:])

    def _one_by_one(self, group: list[Hyperparameter]) -> dict[str, str]:
        return {each.name: self._probe(each) for each in group}

    def _look_at(self, group: list[Hyperparameter]) -> Together | None:
        """Returns the sites of a group whose values are all changed at once; `None` if they are not unique."""
        values = {each.name: _values(each, number) for number, each in enumerate(group, 1)}
        rounds = range(len(FRACTIONS))
        try:
            facts = [self._facts_at({name: values[name][number] for name in values}) for number in rounds]
        except Exception:  # the model may be valid with only one of the values
            return None
        driven: dict[Site, tuple[str, float]] = {}
        for site in facts[0].numbers:
            numbers = [each.numbers.get(site, math.nan) for each in facts]
            if len(set(numbers)) > 1:
                factors = {name: _factor(list(zip(of_one, numbers))) for name, of_one in values.items()}
                rules = [(name, factor) for name, factor in factors.items() if factor is not None]
                if len(rules) != 1 or site in self.driven:
                    return None
                driven[site] = rules[0]
        drivers = {name for name, _ in driven.values()}
        idle = [each for each in group if each.name not in drivers]
        return Together(driven, idle, any(each.rest != self._facts.rest for each in facts))

    def _note(self, driven: dict[Site, tuple[str, float]]) -> None:
        for site, (name, factor) in driven.items():
            self.driven[site] = Driven(name, factor).setting

    def _probe(self, hyperparameter: Hyperparameter) -> str:
        """Stores the sites of a hyperparameter; returns the reason if it cannot vary between members."""
        numbers: dict[Site, list[tuple[float, float]]] = {}
        for probed in _values(hyperparameter):
            facts = self._facts_at({hyperparameter.name: probed})
            changed = [name for name in facts.rest if facts.rest[name] != self._facts.rest.get(name)]
            if changed or facts.rest.keys() != self._facts.rest.keys():
                return f"changes {changed[0] if changed else 'the number of layers'}"
            for site in facts.numbers:
                numbers.setdefault(site, []).append((probed, facts.numbers[site]))
        driven = {site: pairs for site, pairs in numbers.items() if len({number for _, number in pairs}) > 1}
        if not driven:
            return "changes nothing"
        factors = {site: _factor(pairs) for site, pairs in driven.items()}
        if None in factors.values():
            return "controls a setting by another rule than a constant factor"
        if any(site in self.driven for site in driven):
            return "controls a setting that another hyperparameter also controls"
        self._note({site: (hyperparameter.name, factor or 0.0) for site, factor in factors.items()})
        return ""


def _values(hyperparameter: Hyperparameter, number: int = 0) -> tuple[float, ...]:
    """Returns values inside the range, because the model may differ at its ends, for example without dropout.

    Fractions depend on the index of the hyperparameter, so that values are not multiples of each other.
    """
    low, high = hyperparameter.min_value, hyperparameter.max_value
    fractions = [fraction + JITTER * (number * step % 1) for fraction, step in zip(FRACTIONS, STEPS)]
    if hyperparameter.sampling == "log":
        return tuple(low * (high / low) ** fraction for fraction in fractions)
    return tuple(low + (high - low) * fraction for fraction in fractions)


def _factor(pairs: list[tuple[float, float]]) -> float | None:
    """Returns the constant factor from values to numbers, if there is one."""
    factor = next((number / value for value, number in reversed(pairs) if value), 0.0)
    factor = 1.0 if math.isclose(factor, 1, rel_tol=1e-6) else factor
    return factor if all(math.isclose(factor * value, number, rel_tol=1e-6) for value, number in pairs) else None


def facts_of(model: keras.Model, graph: keras.Model | None = None) -> Facts:
    """Returns the properties of a model and its graph; layers are identified by position, not by name."""
    numbers: dict[Site, float] = {}
    rest: dict[str, str] = {}
    counterparts = final_layers()
    for place, layer in enumerate(layers_of(graph or model)):
        config, kind = _config_of(layer), counterpart_of(layer, counterparts)
        if kind is not None:
            try:
                settings = numbers_of(layer, kind.settings, kind.roles)
            except ValueError:  # another kind of regularizer: part of the rest
                settings = {}
            if settings:
                numbers.update({(place, name): number or 0.0 for name, number in settings.items()})
                config = shared_arguments(layer, kind.settings)
        owner = f"layer {place} ({type(layer).__name__})"
        rest |= {f"`{name}` of {owner}": _text(part) for name, part in config.items() if name != "name"}
        rest[f"the weights of {owner}"] = _text([weight.shape for weight in layer.weights])
    if model.compiled:
        for site, number in loss_numbers(model).items():
            numbers[site] = number
        rest |= _compiled_rest(model)
    return Facts(numbers, rest)


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model at any depth, without nested models and sublayers."""
    found = []
    for layer in getattr(model, "layers", ()):
        inside = layers_of(layer) if isinstance(layer, keras.Model) else _inside(layer)
        found += inside
    return found


def _config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    try:
        return layer.get_config()
    except Exception:  # a custom layer without a configuration
        return {}


def _inside(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    if isinstance(layer, keras.layers.TimeDistributed):
        return layers_of(layer.layer) if isinstance(layer.layer, keras.Model) else [layer.layer]
    return [layer.forward_layer, layer.backward_layer] if isinstance(layer, keras.layers.Bidirectional) else [layer]


def _compiled_rest(model: keras.Model) -> dict[str, str]:
    config = model.get_compile_config()
    loss = keras.tree.map_structure(
        lambda each: {**each.get_config(), "label_smoothing": None} if isinstance(each, keras.losses.Loss) else each,
        model.loss,
    )
    optimizer = {name: part for name, part in model.optimizer.get_config().items() if name != "name"}  # numbered
    rest = {f"`{name}` of the optimizer": _text(part) for name, part in optimizer.items()}
    others = {name: part for name, part in config.items() if name not in ("loss", "loss_weights", "optimizer")}
    return {**rest, **{f"the compiled {name}": _text(part) for name, part in {"loss": loss, **others}.items()}}


def _text(part: Any) -> str:
    """Returns a configuration as text; objects by name instead of address."""
    return json.dumps(part, sort_keys=True, default=lambda each: getattr(each, "__name__", type(each).__name__))
