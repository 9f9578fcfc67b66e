"""Defaults of `HyperBatchEnsemble`, on data that are not part of the comparison with the paper."""
