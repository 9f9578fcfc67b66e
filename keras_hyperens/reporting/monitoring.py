"""The section of a report on drift: whether data are like those of the reference."""

from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_hyperens import plots
from keras_hyperens.monitoring import Drift
from keras_hyperens.monitoring.reference import FEWEST
from keras_hyperens.reporting.page import heading
from keras_hyperens.reporting.page import paragraph
from keras_hyperens.reporting.page import picture
from keras_hyperens.reporting.page import table


def monitoring_parts(ensemble: Any, data: Mapping[str, Any], batch_size: int) -> Iterator[str]:
    """The comparison of data with the reference of `set_reference`; nothing if there is none.

    Args:
        ensemble: An ensemble with one output.
        data: Test data and others, by name.
        batch_size: Of the prediction.
    """
    reference = ensemble.reference
    if reference is None:
        return
    settings = {"batch_size": batch_size, "verbose": 0}
    measured = {name: ensemble._measured_for_reference(x, settings) for name, x in data.items()}
    enough = {name: each for name, each in measured.items() if len(each[reference.measures[0]]) >= FEWEST}
    drifts = {name: reference.compared(each) for name, each in enough.items()}
    yield heading("Monitoring")
    rows = [
        [name, drift.samples, "yes" if drift.alarm else "no", f"{drift.p_value:.2g}"] for name, drift in drifts.items()
    ]
    yield table(["", "samples", "alarm", "p"], rows)
    yield table(["", "measure", "median", "KS", "PSI"], [row for each in drifts.items() for row in _rows(*each)])
    yield paragraph(
        "Each set of at least 20 samples is compared with the reference that the ensemble keeps: the change of the "
        "median, the largest distance of the distribution functions (KS), and the population stability index (PSI). An "
        "alarm is false in at most about 1 % of independent sets of the same kind.",
        "small",
    )
    first = reference.measures[0]
    values = {name.replace("$", r"\$"): each[first] for name, each in measured.items()}
    name = first.replace("_", " ")
    figure = plots.uncertainty_histograms(np.asarray(reference.values[0]), values, name)
    yield picture(figure, f"The {name} of the reference, and of these data.")


def _rows(name: str, drift: Drift) -> Iterator[list[Any]]:
    for each in drift.measures:
        numbers = (f"{each.median_change:+.3g}", f"{each.distance:.3f}", f"{each.stability_index:.3f}")
        yield [name, each.name.replace("_", " "), *numbers]
