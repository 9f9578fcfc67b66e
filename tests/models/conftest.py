import pytest

import keras_hyperens as khe


@pytest.fixture(autouse=True)
def run_eagerly(request, monkeypatch):
    """Of tests marked `eagerly_first`, the ensembles that are compiled without a word about it."""
    if getattr(request, "param", False):
        compile = khe.HyperBatchEnsemble.compile
        monkeypatch.setattr(
            khe.HyperBatchEnsemble,
            "compile",
            lambda self, *given, **named: compile(self, *given, **{"run_eagerly": True, **named}),
        )
