"""Summary of an ensemble, as text and as a table in notebooks."""

import html
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_hyperens.models.training.divergence import SHARED
from keras_hyperens.models.training.divergence import owners_of

MOST = 8  # number of members in a table


class Parameters(NamedTuple):
    """Number of shared parameters, and of each member's own parameters, `[M]`."""

    shared: int
    own: tuple[int, ...]


def parameters_in(network: keras.Model, ensemble_size: int) -> Parameters:
    """Counts the parameters of a network of M members, trainable or not."""
    shared, own = 0, np.zeros(ensemble_size, int)
    for weight, owner in zip(network.weights, owners_of(network, network.weights), strict=True):
        size = int(np.prod(weight.shape))
        if owner is SHARED:
            shared += size
        elif owner >= 0:
            own[owner] += size
        else:
            own += size // ensemble_size
    return Parameters(shared, tuple(map(int, own)))


class SummaryModel(keras.Model):
    """Mixin of all ensembles for summaries. Abstract; `Ensemble` implements its requirements."""

    def summary(
        self: Any,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """As `keras.Model.summary`, followed by members, their parameters (shared and own) and hyperparameters."""
        super().summary(line_length, positions, print_fn, expand_nested, show_trainable, layer_range)
        head, rows = _facts(self), _rows(self)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        text = "\n".join([*(f"{name}: {value}" for name, value in head), "", *lines, *_more(self)])
        (print_fn or print)(text)

    def _repr_html_(self: Any) -> str:
        """Returns a small table for notebooks."""
        head = "".join(f"<br>{html.escape(name)}: {html.escape(value)}" for name, value in _facts(self))
        titles, *rows = [[html.escape(cell) for cell in row] for row in _rows(self)]
        lines = [_line("th", titles), *(_line("td", row) for row in rows)]
        more = "".join(f"<br>{html.escape(line)}" for line in _more(self))
        return f"<div><b>{type(self).__name__}</b>{head}<table>{''.join(lines)}</table>{more}</div>"


def _line(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _facts(ensemble: Any) -> list[tuple[str, str]]:
    """Returns names and texts of common properties of all members."""
    out = tuple(getattr(ensemble, "left_out", ()))
    facts = [("Members", f"{ensemble.ensemble_size}{f', excluded: {list(out)}' if out else ''}")]
    parameters = ensemble._parameters()
    if parameters is None:
        facts.append(("Parameters", "unknown before the first call"))
    else:
        own = sorted(set(parameters.own))
        of_each = f"{own[0]:,}" if len(own) == 1 else f"{own[0]:,} to {own[-1]:,}"
        facts.append(("Parameters", f"{parameters.shared:,} shared, {of_each} per member"))
    kinds = [likelihood.description for likelihood in keras.tree.flatten(ensemble.likelihoods)]
    facts.append(("Outputs", f"{', '.join(kinds)}; members combined by {ensemble.combination}"))
    if ensemble.temperatures is not None:
        facts.append(("Temperatures", f"per {ensemble.temperatures.per}"))
    if ensemble.conformal is not None:
        methods = ", ".join(each.method for each in ensemble.conformal.outputs)
        facts.append(("Conformal", f"{methods}, coverage {ensemble.conformal.coverage:g}"))
    if ensemble.abstention is not None:
        facts.append(("Abstention by", ", ".join(ensemble.abstention.measures)))
    if ensemble.reference is not None:
        facts.append(
            ("Reference", f"{len(ensemble.reference.values[0])} samples: {', '.join(ensemble.reference.measures)}")
        )
    return facts


def _rows(ensemble: Any) -> list[list[str]]:
    """Returns titles, and a row for each of the first members: weight, and hyperparameters with bounds."""
    values, bounds = ensemble.hyperparameter_values(), ensemble._bounds()
    weights = ensemble.member_weights
    rows = [["member", *([] if weights is None else ["weight"]), *values]]
    for k in range(min(ensemble.ensemble_size, MOST)):
        cells = [_cell(each[k], bounds[name][k] if name in bounds else None) for name, each in values.items()]
        rows.append([str(k), *([] if weights is None else [f"{weights[k] / sum(weights):.3g}"]), *cells])
    return rows


def _more(ensemble: Any) -> list[str]:
    others = ensemble.ensemble_size - MOST
    return [f"and {others} more"] if others > 0 else []


def _cell(value: Any, bounds: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
    return text if bounds is None else f"{text} [{bounds[0]:.3g}, {bounds[1]:.3g}]"
