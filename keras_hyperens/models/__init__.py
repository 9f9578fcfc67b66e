"""The ensembles as Keras models."""

from keras_hyperens.models.hyper_batch_ensemble import HyperBatchEnsemble as HyperBatchEnsemble
from keras_hyperens.models.hyper_deep_ensemble import HyperDeepEnsemble as HyperDeepEnsemble

__all__ = [
    "HyperBatchEnsemble",
    "HyperDeepEnsemble",
]
