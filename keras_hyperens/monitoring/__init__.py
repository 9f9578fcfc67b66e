"""Drift detection by the uncertainty of an ensemble. Requires only NumPy and SciPy.

A `Reference` holds uncertainty measures of held-out data; its comparison with new data returns a `Drift`.
`ensemble.set_reference` and `ensemble.detect_drift` do both. Files contain the reference.
"""

from keras_hyperens.monitoring.drift import Drift as Drift
from keras_hyperens.monitoring.drift import MeasureDrift as MeasureDrift
from keras_hyperens.monitoring.reference import Reference as Reference

__all__ = [
    "Drift",
    "MeasureDrift",
    "Reference",
]
