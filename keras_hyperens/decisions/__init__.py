"""Decisions from predictions: conformal sets and intervals, and abstention.

Methods of the ensemble (`conformalize`, `abstain`) fit them on held-out data. They are stored in its files and applied
by `decide` and by the signature `decide` of its SavedModel.
"""

from keras_hyperens.decisions.abstention import Abstention as Abstention
from keras_hyperens.decisions.class_sets import ClassSets as ClassSets
from keras_hyperens.decisions.conformal import Conformal as Conformal
from keras_hyperens.decisions.intervals import Intervals as Intervals

__all__ = [
    "Abstention",
    "ClassSets",
    "Conformal",
    "Intervals",
]
