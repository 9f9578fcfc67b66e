"""Report of an ensemble on one self-contained page."""

from keras_hyperens.reporting.sections import report as report

__all__ = [
    "report",
]
