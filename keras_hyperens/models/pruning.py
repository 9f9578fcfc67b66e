"""Pruning of a hyper-batch ensemble to the members that are best together on held-out data."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens import likelihoods
from keras_hyperens.checks import is_integer
from keras_hyperens.conversion.compiled import fresh_metrics
from keras_hyperens.conversion.compiled import recompiling_arguments
from keras_hyperens.layers.normalization import MemberNormalization
from keras_hyperens.models.compiled_loss import unpenalized
from keras_hyperens.models.data import rows_and_labels
from keras_hyperens.models.temperatures import temperature_scope

Pair = tuple[keras.Variable, keras.Variable]


def pruned(ensemble: Any, x: Any, y: Any, ensemble_size: int, sample_weight: Any, arguments: dict[str, Any]) -> Any:
    """See `HyperBatchEnsemble.pruned`."""
    _check(ensemble, ensemble_size)
    x, y, sample_weight = rows_and_labels(x, y, sample_weight)
    members, counts = ensemble._members_and_counts(x, arguments)
    y, weights = ensemble._labels_and_weights(y, sample_weight, members, counts)
    weights = keras.tree.pack_sequence_as(members, weights)
    sizes = [
        (len(of_output), prediction.shape[1])
        for of_output, prediction in zip(keras.tree.flatten(y), keras.tree.flatten(members), strict=True)
    ]
    if any(number != samples for number, samples in sizes):
        raise ValueError(
            f"`y` must have a label for each sample of `x`. Received: numbers of labels and samples {sizes}"
        )
    loss = unpenalized(ensemble.loss, recompiling_arguments(ensemble).get("loss_weights"), ensemble.output_names)

    def score(places: Sequence[int]) -> float:
        chosen = keras.tree.map_structure(lambda output: output[list(places)], members)
        with temperature_scope(ensemble, None):
            prediction = ensemble._combine(chosen)
        raw = likelihoods.raw_of(prediction, ensemble.likelihoods_of(prediction))
        return float(ops.convert_to_numpy(loss(None, y, raw, weights)))

    places = greedily_chosen(score, len(ensemble._members.living), ensemble_size)
    return with_members(ensemble, [ensemble._members.living[place] for place in places])


def greedily_chosen(score: Callable[[Sequence[int]], float], number: int, size: int) -> list[int]:
    """Selects the best candidate, and then repeatedly adds the one that is best with those selected.

    Args:
        score: Score of selected candidates; lower is better, and NaN is never selected.
        number: Number of candidates.
        size: Number of candidates to select.

    Example:
    >>> values = [3.0, -1.0, 5.0]
    >>> greedily_chosen(lambda chosen: abs(sum(values[place] for place in chosen) - 2), number=3, size=2)
    [0, 1]
    """
    chosen: list[int] = []
    while len(chosen) < size:
        others = [place for place in range(number) if place not in chosen]
        scores = [score([*chosen, place]) for place in others]
        chosen.append(others[int(np.argmin(np.where(np.isnan(scores), np.inf, scores)))])
    return chosen


def with_members(ensemble: Any, members: Sequence[int]) -> Any:
    """Returns the ensemble of these members, compiled like the original, with a new optimizer."""
    temperatures, tuned = ensemble.temperatures, ensemble.temperature
    config = _resized(ensemble.get_config(), ensemble.ensemble_size, len(members))
    config |= {"left_out": [], "decisions": None, "temperatures": None}
    if temperatures is not None and temperatures.per == "member":
        places = [ensemble._members.living.index(member) for member in members]
        of_outputs = [[values[place] for place in places] for values in temperatures.values]
        config["temperatures"] = {"per": "member", "values": of_outputs}
    with keras.saving.custom_object_scope(_classes(ensemble.network)):
        smaller = type(ensemble).from_config(config)
    if not smaller.built:
        smaller._build_for(ensemble._seen.batch)
    parts = [(ensemble.network, smaller.network), (ensemble.distribution, smaller.distribution)]
    for old, new in (*parts, (ensemble._prior, smaller._prior), (tuned, smaller.temperature)):
        for source, target in _pairs(old, new, members):
            _take(source, target, members, ensemble.ensemble_size)
    smaller.step.assign(ensemble.step)
    if ensemble.compiled:
        smaller.compile(**_compile_arguments(ensemble))
        smaller.likelihoods = ensemble.likelihoods
    return smaller


def _check(ensemble: Any, ensemble_size: Any) -> None:
    living = len(ensemble._members.living)
    if not is_integer(ensemble_size) or not 1 <= ensemble_size < living:
        raise ValueError(
            f"`ensemble_size` must be a positive integer below {living}, the number of members. "
            f"Received: ensemble_size={ensemble_size!r}"
        )
    if not ensemble.compiled or ensemble.loss is None or not ensemble.built:
        raise ValueError(
            "Members are selected by the compiled loss: compile and train the ensemble first. Received: "
            f"compiled={ensemble.compiled}, built={ensemble.built}, loss={getattr(ensemble, 'loss', None)!r}"
        )


def _resized(config: Any, old: int, new: int) -> Any:
    """Returns a configuration with another number of members."""
    if isinstance(config, dict):
        return {
            name: new if name == "ensemble_size" and each == old else _resized(each, old, new)
            for name, each in config.items()
        }
    return type(config)(_resized(each, old, new) for each in config) if isinstance(config, list | tuple) else config


def _classes(network: keras.Model) -> dict[str, type]:
    """Returns the classes of all layers by name, which need not be registered."""
    kinds = {type(layer) for layer in network._flatten_layers()}
    return {name: kind for kind in kinds for name in (kind.__name__, keras.saving.get_registered_name(kind))}


def _pairs(old: Any, new: Any, members: Sequence[int]) -> Iterator[Pair]:
    """Yields pairs of variables of a layer of all members, and of the layer of some members."""
    if isinstance(old, MemberNormalization):
        for member, part in zip(members, new.parts, strict=True):
            yield from zip(old.parts[member].variables, part.variables, strict=True)
        return
    yield from zip(_own_variables(old), _own_variables(new), strict=True)
    for pair in zip(_children(old), _children(new), strict=True):
        yield from _pairs(*pair, members)


def _children(layer: Any) -> list[Any]:
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _own_variables(layer: Any) -> list[keras.Variable]:
    """Returns weights and random states of a layer, without those of sublayers and metrics."""
    others = {id(each) for child in _children(layer) for each in child.variables}
    others |= {id(each) for each in layer.metrics_variables}
    return [each for each in layer.variables if id(each) not in others]


def _take(source: keras.Variable, target: keras.Variable, members: Sequence[int], number: int) -> None:
    """Assigns to a variable the value of another, or the members' part of it."""
    if source.shape == target.shape:
        target.assign(source)
    elif source.shape[0] == number and target.shape == (len(members), *source.shape[1:]):
        target.assign(ops.convert_to_numpy(source)[list(members)])
    else:
        raise ValueError(
            "Only networks with `ensemble_size` in the configuration of their layers can be pruned. Received: "
            f"{source.path!r} of shape {tuple(source.shape)}, which would become {tuple(target.shape)}"
        )


def _compile_arguments(ensemble: Any) -> dict[str, Any]:
    given = ensemble._trainer.given
    optimizer = given["tuning_optimizer"]
    return {
        **recompiling_arguments(ensemble),
        **asdict(ensemble._trainer.settings),
        "member_metrics": fresh_metrics(given["member_metrics"]),
        "tuning_optimizer": type(optimizer).from_config(optimizer.get_config()),
    }
