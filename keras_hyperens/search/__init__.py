"""Search for the members of a hyper-deep ensemble."""

from keras_hyperens.search.builder import HyperDeepEnsembleBuilder as HyperDeepEnsembleBuilder
from keras_hyperens.search.candidate import Candidate as Candidate
from keras_hyperens.search.costs import FrontierPoint as FrontierPoint
from keras_hyperens.search.selection import Selection as Selection
from keras_hyperens.search.selection import greedy_selection as greedy_selection

__all__ = [
    "Candidate",
    "FrontierPoint",
    "HyperDeepEnsembleBuilder",
    "Selection",
    "greedy_selection",
]
