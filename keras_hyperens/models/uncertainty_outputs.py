"""Uncertainty measures of each sample, by name, for every output."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.types import TensorTree
from keras_hyperens.uncertainty import by_kind
from keras_hyperens.uncertainty import energy

Measures = Sequence[str | Callable[..., Any]]


def describe(
    ensemble: keras.Model, raw: TensorTree, measures: Measures | None, with_members: bool = False
) -> dict[str, Any]:
    """Returns `prediction` and measures of each sample, `[B, ...]`, by name; several outputs have prefixes.

    Args:
        ensemble: The ensemble.
        raw: The members' raw outputs, `[M, B, ...]`, in the structure of the outputs.
        measures: Names, or functions of members' predictions and weights. Defaults depend on the kind of output.
        with_members: Whether to include `members` `[B, M, ...]`.
    """
    members = ensemble._predictions_of(raw)
    pooled = ensemble._pooled(members)
    described: dict[str, Any] = {}
    for prefix, output in each_output(ensemble, raw, members, pooled, ensemble._final(pooled)):
        described[f"{prefix}prediction"] = output.prediction
        if with_members:
            described[f"{prefix}members"] = ops.swapaxes(output.members, 0, 1)
        measured = measured_of(output, ensemble, measures)
        described |= {prefix + name: value for name, value in measured.items()}
    return described


class Output(NamedTuple):
    """Values of one output of the network in the ensemble."""

    likelihood: Likelihood
    raw: Any  # [M, B, ...]
    members: Any  # [M, B, ...]
    pooled: Any  # [B, ...]
    prediction: Any  # [B, ...]: pooled, with temperature


def each_output(ensemble: keras.Model, *structures: TensorTree) -> Iterator[tuple[str, Output]]:
    """Yields for each output the prefix of its names, and its part of every structure."""
    names = ensemble.output_names or {}
    parts = zip(*map(keras.tree.flatten, structures), strict=True)
    paths = [path for path, _ in keras.tree.flatten_with_path(structures[0])]
    of_outputs = keras.tree.flatten(ensemble.likelihoods_of(structures[0]))
    for number, (path, likelihood, part) in enumerate(zip(paths, of_outputs, parts, strict=True)):
        name = path[0] if path and isinstance(path[0], str) else (names[number] if path and names else number)
        yield f"{name}_" if path else "", Output(likelihood, *part)


def measured_of(output: Output, ensemble: keras.Model, measures: Measures | None) -> dict[str, Any]:
    """Returns measures of one output, `[B, ...]`, by name; arguments as in `describe`."""
    if isinstance(measures, str):
        raise ValueError(f"`measures` must be a list of names or functions. Received: measures={measures!r}")
    weights, likelihood = ensemble.member_weights, output.likelihood
    members, pooled, prediction = map(likelihood.distributions, (output.members, output.pooled, output.prediction))
    pooled = None if ensemble.combination == "mean" else pooled  # the measure computes the mean
    described = {}
    for measure in likelihood.default_measures if measures is None else measures:
        function = measure if callable(measure) else _named(measure, likelihood.measures)
        name = getattr(function, "__name__", "measure")
        if function is energy:
            described[name] = function(likelihood.logits(output.raw), weights)
        elif function in by_kind.OF_FINAL_OUTPUT:
            described[name] = function(members, weights, prediction)
        elif function in by_kind.OF_MEMBERS_AND_COMBINATION:
            described[name] = function(members, weights, pooled)
        else:
            described[name] = function(members, weights)
    return described


def _named(name: Any, known: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    by_name = {function.__name__: function for function in known}
    if name not in by_name:
        raise ValueError(
            f"A measure must be a function, or for this kind of outputs one of {list(by_name)}. Received: {name!r}"
        )
    return by_name[name]
