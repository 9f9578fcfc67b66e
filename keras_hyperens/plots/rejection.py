"""Error rate after the rejection of uncertain samples."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.checks import checked_predictions
from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def risk_coverage_curve(labels: Any, probabilities: Any, ax: Any = None) -> Figure:
    """Plots the error rate of the most confident samples by their fraction of all samples; lower is better.

    The legend has the area under each curve (AURC), the mean error rate over all coverages. Samples with equal
    confidence count as randomly ordered. The vertical axis fits the curve above a coverage of 5 %, below which it is
    noisy.

    Args:
        labels: Classes, `[N]`.
        probabilities: Combined prediction, `[N, C]`, or several by name.
        ax: Matplotlib axes. Defaults to the axes of a new figure.

    Raises:
        ValueError: If the shapes are not `[N]` and `[N, C]`, or the values are not classes and probabilities.

    Example:
    >>> figure = risk_coverage_curve([0, 1], {"ensemble": [[0.8, 0.2], [0.7, 0.3]]})
    >>> figure.axes[0].lines[0].get_label()  # no error for the first sample, one error for both
    'ensemble (AURC 0.2500)'
    """
    curves = probabilities if isinstance(probabilities, dict) else {"": probabilities}
    if not curves:
        raise ValueError(f"At least one prediction is required. Received: probabilities={probabilities}")
    risks = {name: _risks(*checked_predictions(labels, values)) for name, values in curves.items()}
    ax = new_axes(ax)
    for number, (name, risk) in enumerate(risks.items()):
        coverage = np.arange(1, len(risk) + 1) / len(risk)
        ax.plot(coverage, risk, label=_label(name, risk), **line_style(number, len(risk)))
    highest = max(risk[int(0.05 * len(risk)) :].max() for risk in risks.values())
    ax.set(xlabel="coverage (fraction of samples kept)", ylabel="error rate", title="Risk and coverage")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05 * highest or 1))
    legend_above(ax)
    return ax.figure


def _label(name: str, risk: np.ndarray) -> str:
    area = f"AURC {risk.mean():.4f}"
    return f"{name} ({area})" if name else area


def _risks(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Returns the error rates of the 1, 2, ... N most confident samples."""
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(group, ~correct) / sizes
    return np.cumsum(np.repeat(errors, sizes)) / np.arange(1, len(correct) + 1)
