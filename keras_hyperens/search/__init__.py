"""Searching for the members of a hyper-deep ensemble."""

from keras_hyperens.search.selection import Selection as Selection
from keras_hyperens.search.selection import greedy_selection as greedy_selection
