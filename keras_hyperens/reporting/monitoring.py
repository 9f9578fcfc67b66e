"""Report section on drift from the reference."""

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
    """Yields the comparison of data with the reference of `set_reference`; nothing without a reference.

    Args:
        ensemble: An ensemble with one output.
        data: Test data and other datasets, by name.
        batch_size: Batch size of the prediction.
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
    yield table(["", "measure", "median change", "KS", "PSI"], [row for each in drifts.items() for row in _rows(*each)])
    yield paragraph(
        "Each dataset of at least 20 samples is compared with the reference of the ensemble: change of the median, "
        "largest distance between the distribution functions (KS), and population stability index (PSI). The "
        "false-alarm rate is at most about 1% for independent datasets with the distribution of the reference.",
        "small",
    )
    first = reference.measures[0]
    values = {name.replace("$", r"\$"): each[first] for name, each in measured.items()}
    name = first.replace("_", " ")
    figure = plots.drift_histograms(np.asarray(reference.values[0]), values, name)
    yield picture(figure, f"Distribution of the {name} for the reference and for these data.")


def _rows(name: str, drift: Drift) -> Iterator[list[Any]]:
    for each in drift.measures:
        numbers = (f"{each.median_change:+.3g}", f"{each.distance:.3f}", f"{each.stability_index:.3f}")
        yield [name, each.name.replace("_", " "), *numbers]
