"""Hyperparameters that vary between members: space, distributions, and the scope that passes values to layers."""

from keras_hyperens.hyperparameters.scope import current_hyperparameters as current_hyperparameters
from keras_hyperens.hyperparameters.scope import hyperparameter_scope as hyperparameter_scope
from keras_hyperens.hyperparameters.space import Hyperparameter as Hyperparameter
from keras_hyperens.hyperparameters.space import HyperparameterSpace as HyperparameterSpace

__all__ = [
    "Hyperparameter",
    "HyperparameterSpace",
    "current_hyperparameters",
    "hyperparameter_scope",
]
