"""Conversion of a Keras model, or a KerasTuner hypermodel, to a network of hyper-batch layers."""

from keras_hyperens.conversion.build import Conversion as Conversion
from keras_hyperens.conversion.build import Sharing as Sharing
from keras_hyperens.conversion.build import convert_hypermodel as convert_hypermodel
from keras_hyperens.conversion.build import convert_model as convert_model
from keras_hyperens.conversion.summary import Record as Record
from keras_hyperens.conversion.summary import table as table

__all__ = [
    "Conversion",
    "Record",
    "Sharing",
    "convert_hypermodel",
    "convert_model",
    "table",
]
