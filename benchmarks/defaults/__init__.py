"""The choices behind the defaults of `HyperBatchEnsemble`, on data that no table of the paper's comparison looks at."""
