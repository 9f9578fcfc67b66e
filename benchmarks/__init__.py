"""Benchmarks. Importing the package starts TensorFlow without log output."""

from benchmarks import quiet as quiet
