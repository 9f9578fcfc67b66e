"""Hyperparameter ensembles for Keras: members that differ in weights and in hyperparameters.

The layers import on any Keras backend. The ensembles, which require TensorFlow, are loaded if it is the backend; the
search and plots are loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING
from typing import Any

import keras

from keras_hyperens import calibration as calibration
from keras_hyperens import decisions as decisions
from keras_hyperens import layers as layers
from keras_hyperens import losses as losses
from keras_hyperens import metrics as metrics
from keras_hyperens import monitoring as monitoring
from keras_hyperens import uncertainty as uncertainty
from keras_hyperens.hyperparameters import Hyperparameter as Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace as HyperparameterSpace
from keras_hyperens.hyperparameters import hyperparameter_scope as hyperparameter_scope
from keras_hyperens.layers import HyperBatchConv2D as HyperBatchConv2D
from keras_hyperens.layers import HyperBatchDense as HyperBatchDense
from keras_hyperens.layers import HyperDropout as HyperDropout
from keras_hyperens.version import __version__ as __version__

if TYPE_CHECKING:
    from keras_hyperens import plots as plots
    from keras_hyperens.callbacks import HyperparameterHistory as HyperparameterHistory
    from keras_hyperens.models import HyperBatchEnsemble as HyperBatchEnsemble
    from keras_hyperens.models import HyperDeepEnsemble as HyperDeepEnsemble
    from keras_hyperens.models import distill as distill
    from keras_hyperens.reporting import report as report
    from keras_hyperens.search import HyperDeepEnsembleBuilder as HyperDeepEnsembleBuilder
    from keras_hyperens.search import greedy_selection as greedy_selection

_LAZY = {
    "HyperBatchEnsemble": "keras_hyperens.models",
    "HyperDeepEnsemble": "keras_hyperens.models",
    "HyperDeepEnsembleBuilder": "keras_hyperens.search",
    "HyperparameterHistory": "keras_hyperens.callbacks",
    "distill": "keras_hyperens.models",
    "greedy_selection": "keras_hyperens.search",
    "plots": "keras_hyperens.plots",
    "report": "keras_hyperens.reporting",
}

__all__ = [
    "HyperBatchConv2D",
    "HyperBatchDense",
    "HyperBatchEnsemble",
    "HyperDeepEnsemble",
    "HyperDeepEnsembleBuilder",
    "HyperDropout",
    "Hyperparameter",
    "HyperparameterHistory",
    "HyperparameterSpace",
    "__version__",
    "calibration",
    "decisions",
    "distill",
    "greedy_selection",
    "hyperparameter_scope",
    "layers",
    "losses",
    "metrics",
    "monitoring",
    "plots",
    "report",
    "uncertainty",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)


if keras.backend.backend() == "tensorflow":
    importlib.import_module("keras_hyperens.models")  # `keras.models.load_model` finds only classes that are registered
