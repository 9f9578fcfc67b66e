import keras
import pytest


@pytest.fixture(autouse=True)
def run_eagerly(request, monkeypatch):
    """Of tests marked `eagerly_first`, every model: ensembles, their members, and what comes from files."""
    if getattr(request, "param", False):
        monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda self: True, lambda self, value: None))
