"""One page that says how good an ensemble is, for someone who was not there."""

from keras_hyperens.reporting.report import report as report
