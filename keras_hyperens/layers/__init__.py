"""Layers whose members share nearly all weights: the base, then one file a layer.

They take rows `[M*B, ...]`, member by member, and read hyperparameter values from the scope that the model enters.
"""

from keras_hyperens.layers.base import HyperLayer as HyperLayer
from keras_hyperens.layers.conv import HyperBatchConv2D as HyperBatchConv2D
from keras_hyperens.layers.dense import HyperBatchDense as HyperBatchDense
from keras_hyperens.layers.dropout import HyperDropout as HyperDropout
from keras_hyperens.layers.initializers import RandomSign as RandomSign
from keras_hyperens.layers.kernel import HyperBatchLayer as HyperBatchLayer
