"""One page that says how good an ensemble is, for someone who was not there."""

from keras_hyperens.reporting.sections import report as report

__all__ = [
    "report",
]
