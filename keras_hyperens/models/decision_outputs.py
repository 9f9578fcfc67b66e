"""Decisions for each sample: label or interval, set, and abstention, by name, for every output."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_hyperens import likelihoods
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import Quantiles
from keras_hyperens.models.uncertainty_outputs import Output
from keras_hyperens.models.uncertainty_outputs import each_output
from keras_hyperens.models.uncertainty_outputs import measured_of

NOT_ONE_NUMBER = ("prediction_interval",)  # measures that are not scalar


def decided(ensemble: Any, raw: Any, decisions: Any) -> dict[str, Any]:
    """See `DecisionModel.decide`.

    Args:
        ensemble: The ensemble.
        raw: The members' raw outputs, `[M, B, ...]`, in the structure of the outputs.
        decisions: Fitted results: `conformal` and `abstention`, one of which may be `None`.
    """
    described: dict[str, Any] = {}
    for number, (prefix, output) in enumerate(outputs_of(ensemble, raw)):
        found = {"prediction": output.prediction}
        if output.likelihood.has_class_probabilities:
            found["label"] = output.likelihood.label(output.prediction)
        if decisions.conformal is not None:
            found |= _conformal(output, decisions.conformal.outputs[number])
        if decisions.abstention is not None:
            measure, _ = decisions.abstention.of_output(number)
            values = _squeezed(measured_of(output, ensemble, [measure])[measure], output)
            found["refused"] = decisions.abstention.refused(values, number)
        described |= {prefix + name: value for name, value in found.items()}
    return described


def measured(ensemble: Any, raw: Any, measure: Any) -> list[Any]:
    """Returns the measure of abstention of every output, or the default measure."""
    measures = measures_of(ensemble, raw, measure)
    each = zip(outputs_of(ensemble, raw), measures, strict=True)
    return [_squeezed(measured_of(output, ensemble, [name])[name], output) for (_, output), name in each]


def measures_of(ensemble: Any, outputs: Any, measure: Any) -> tuple[str, ...]:
    """Returns the name of the measure of every output: the given one, or the default.

    Args:
        ensemble: The ensemble.
        outputs: Any structure like that of the outputs.
        measure: A name, or a list or dictionary of names by output, or `None`.

    Raises:
        ValueError: If an output does not support its measure, or the measure is not one number per prediction.
    """
    given = setting_of_each("measure", measure, outputs, ensemble.output_names)
    of_outputs = keras.tree.flatten(ensemble.likelihoods_of(outputs))
    return tuple(_checked(*each) for each in zip(given, of_outputs, strict=True))


def setting_of_each(name: str, setting: Any, outputs: Any, output_names: Any) -> list[Any]:
    """Returns the setting of each output; other values than lists and dictionaries apply to every output.

    Args:
        name: Name of the argument, for errors.
        setting: The given setting.
        outputs: Any structure like that of the outputs.
        output_names: Output names of the ensemble.

    Raises:
        ValueError: If a list does not have one entry per output, or a dictionary is empty or has other names.
    """
    number = len(keras.tree.flatten(outputs))
    names = [*(output_names or ()), *(path[0] for path, _ in keras.tree.flatten_with_path(outputs) if path)]
    is_list, is_dictionary = isinstance(setting, list | tuple), isinstance(setting, dict)
    if (is_list and len(setting) != number) or (is_dictionary and not ({*setting} and {*setting} <= {*names})):
        raise ValueError(
            f"`{name}` must have one entry for each of {number} outputs, by position or by the names "
            f"{list(dict.fromkeys(names))}. Received: {name}={setting!r}"
        )
    single = setting[0] if is_list and number == 1 else setting
    return likelihoods.per_output(single, outputs, output_names)


def _checked(measure: str | None, likelihood: Likelihood) -> str:
    if measure is None:
        return "max_probability" if likelihood.has_class_probabilities else likelihood.default_measures[0]
    names = [each.__name__ for each in likelihood.measures if each.__name__ not in NOT_ONE_NUMBER]
    if measure not in names:
        raise ValueError(
            f"`measure` must be one of {names} for {likelihood.description}. Received: measure={measure!r}"
        )
    return measure


def outputs_of(ensemble: Any, raw: Any) -> Iterator[tuple[str, Output]]:
    """Yields for each output the prefix of its names, and its values in the ensemble."""
    members = ensemble._predictions_of(raw)
    pooled = ensemble._pooled(members)
    return each_output(ensemble, raw, members, pooled, ensemble._final(pooled))


def _conformal(output: Output, rule: Any) -> dict[str, Any]:
    if output.likelihood.has_class_probabilities:
        return {"set": rule.of(output.likelihood.class_probabilities(output.prediction))}
    return {"interval": rule.of(output.prediction, output.likelihood)}


def _squeezed(values: Any, output: Output) -> Any:
    """Removes the last axis, `[B, ...]`, for measures of quantiles (their mean), and of a single label or target."""
    if isinstance(output.likelihood, Quantiles):
        return ops.mean(values, axis=-1)
    is_kept = len(values.shape) == len(output.prediction.shape)
    return ops.squeeze(values, -1) if is_kept and values.shape[-1] == 1 else values
