"""The ensembles as Keras models, and what trains one network to predict like them."""

from keras_hyperens.models.distillation import distill as distill
from keras_hyperens.models.hyper_batch_ensemble import HyperBatchEnsemble as HyperBatchEnsemble
from keras_hyperens.models.hyper_deep_ensemble import HyperDeepEnsemble as HyperDeepEnsemble

__all__ = [
    "HyperBatchEnsemble",
    "HyperDeepEnsemble",
    "distill",
]
