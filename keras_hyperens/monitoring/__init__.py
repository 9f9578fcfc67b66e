"""Whether new data are like those an ensemble was made for, from how sure it is of them. NumPy and SciPy alone.

A `Reference` holds measures of uncertainty of held-out data; comparing new data with it gives a `Drift`.
`ensemble.set_reference` and `ensemble.detect_drift` do both; files hold the reference.
"""

from keras_hyperens.monitoring.drift import Drift as Drift
from keras_hyperens.monitoring.drift import MeasureDrift as MeasureDrift
from keras_hyperens.monitoring.reference import Reference as Reference

__all__ = [
    "Drift",
    "MeasureDrift",
    "Reference",
]
