"""What is gained by leaving the unsure rows to somebody else."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_hyperens.plots.checks import checked_predictions
from keras_hyperens.plots.style import legend_above
from keras_hyperens.plots.style import line_style
from keras_hyperens.plots.style import new_axes


def risk_coverage_curve(labels: Any, probabilities: Any, ax: Any = None) -> Figure:
    """Error rate among the most confident rows against how many of all rows they are; lower is better.

    The legend gives the area under each curve (AURC), the mean error rate over all coverages. Rows of equal confidence
    count as if in random order. The vertical axis fits what is right of a coverage of 5 %: the first rows are noise.

    Args:
        labels: Classes, `[N]`.
        probabilities: Combined prediction, `[N, C]`, or several by name.
        ax: Where to draw. Default: a new figure.

    Raises:
        ValueError: If the shapes are not `[N]` and `[N, C]`, or the values not classes and probabilities.

    Example:
    >>> figure = risk_coverage_curve([0, 1], {"ensemble": [[0.8, 0.2], [0.7, 0.3]]})
    >>> figure.axes[0].lines[0].get_label()  # no error in the first row, one in both
    'ensemble (AURC 0.2500)'
    """
    curves = probabilities if isinstance(probabilities, dict) else {"": probabilities}
    if not curves:
        raise ValueError(f"At least one prediction is needed. Received: probabilities={probabilities}")
    risks = {name: _risks(*checked_predictions(labels, values)) for name, values in curves.items()}
    ax = new_axes(ax)
    for number, (name, risk) in enumerate(risks.items()):
        coverage = np.arange(1, len(risk) + 1) / len(risk)
        ax.plot(coverage, risk, label=_label(name, risk), **line_style(number, len(risk)))
    highest = max(risk[int(0.05 * len(risk)) :].max() for risk in risks.values())
    ax.set(xlabel="coverage (share of rows kept)", ylabel="error rate", title="Risk and coverage")
    ax.set(xlim=(0, 1.02), ylim=(0, 1.05 * highest or 1))
    legend_above(ax)
    return ax.figure


def _label(name: str, risk: np.ndarray) -> str:
    area = f"AURC {risk.mean():.4f}"
    return f"{name} ({area})" if name else area


def _risks(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Error rate among the 1, 2, ... N most confident rows."""
    _, group, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(group, ~correct) / sizes
    return np.cumsum(np.repeat(errors, sizes)) / np.arange(1, len(correct) + 1)
