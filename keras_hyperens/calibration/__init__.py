"""Calibration after training: temperatures, conformal sets and intervals. Requires only NumPy."""

from keras_hyperens.calibration.conformal import ConformalIntervals as ConformalIntervals
from keras_hyperens.calibration.conformal import ConformalSets as ConformalSets
from keras_hyperens.calibration.temperature import fit_temperature as fit_temperature
from keras_hyperens.calibration.temperature import fit_variance_scale as fit_variance_scale

__all__ = [
    "ConformalIntervals",
    "ConformalSets",
    "fit_temperature",
    "fit_variance_scale",
]
