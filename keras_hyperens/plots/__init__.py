"""Plots of an ensemble (requires matplotlib, extra `plots`).

Every function draws on `ax`, or on a new figure, and returns the figure. All plots are legible in grayscale.
"""

from keras_hyperens.plots.calibration import reliability_diagram as reliability_diagram
from keras_hyperens.plots.costs import cost_frontier as cost_frontier
from keras_hyperens.plots.detection import drift_histograms as drift_histograms
from keras_hyperens.plots.detection import uncertainty_histograms as uncertainty_histograms
from keras_hyperens.plots.diversity import diversity_matrix as diversity_matrix
from keras_hyperens.plots.hyperparameters import hyperparameter_path as hyperparameter_path
from keras_hyperens.plots.images import certain_images as certain_images
from keras_hyperens.plots.images import image_grid as image_grid
from keras_hyperens.plots.rejection import risk_coverage_curve as risk_coverage_curve
from keras_hyperens.plots.response import response_curve as response_curve
from keras_hyperens.plots.scores import corruption_curves as corruption_curves
from keras_hyperens.plots.scores import scores_by_size as scores_by_size
from keras_hyperens.plots.tuning_path import TuningPath as TuningPath

__all__ = [
    "TuningPath",
    "certain_images",
    "corruption_curves",
    "cost_frontier",
    "diversity_matrix",
    "drift_histograms",
    "hyperparameter_path",
    "image_grid",
    "reliability_diagram",
    "response_curve",
    "risk_coverage_curve",
    "scores_by_size",
    "uncertainty_histograms",
]
