"""Keras metrics of how good and how honest predictions are; one file each."""

from keras_hyperens.metrics.expected_calibration_error import ExpectedCalibrationError as ExpectedCalibrationError
