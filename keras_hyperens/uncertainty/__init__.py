"""Combining members, and saying how sure they are: pure functions of `[M, B, ..., C]`."""

from keras_hyperens.uncertainty.combining import combine as combine
from keras_hyperens.uncertainty.combining import median as median
from keras_hyperens.uncertainty.combining import trimmed_mean as trimmed_mean
from keras_hyperens.uncertainty.entropy import mutual_information as mutual_information
from keras_hyperens.uncertainty.entropy import predictive_entropy as predictive_entropy
