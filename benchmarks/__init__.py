"""The demo and the measurements; importing the package starts TensorFlow without a word."""

from benchmarks import quiet as quiet
