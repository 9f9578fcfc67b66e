"""The ensembles as Keras models."""

from keras_hyperens.models.hyper_batch_ensemble import HyperBatchEnsemble as HyperBatchEnsemble
