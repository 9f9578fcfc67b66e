"""What a service does with a prediction: conformal sets and intervals, and predictions that are refused.

Each is fitted on held-out data by a method of the ensemble (`conformalize`, `abstain`), is part of its files, and is
applied by `decide` and by the signature `decide` of its SavedModel.
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
