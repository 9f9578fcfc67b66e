"""Losses of an ensemble, and losses that depend on the hyperparameters of its members."""

from keras_hyperens.losses.gaussian import GaussianNegativeLogLikelihood as GaussianNegativeLogLikelihood
from keras_hyperens.losses.hyperparameter_loss import HyperparameterLoss as HyperparameterLoss
from keras_hyperens.losses.label_smoothing import LabelSmoothing as LabelSmoothing
from keras_hyperens.losses.members import ensemble_loss as ensemble_loss
from keras_hyperens.losses.members import member_loss as member_loss
from keras_hyperens.losses.quantile import Quantile as Quantile
from keras_hyperens.losses.weighted import WeightedLoss as WeightedLoss

__all__ = [
    "GaussianNegativeLogLikelihood",
    "HyperparameterLoss",
    "LabelSmoothing",
    "Quantile",
    "WeightedLoss",
    "ensemble_loss",
    "member_loss",
]
