import keras
import pytest


@pytest.fixture
def eagerly(monkeypatch):
    """Every model trains eagerly: to trace one takes longer than the few steps that it makes here."""
    monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda self: True, lambda self, value: None))


@pytest.fixture
def run(monkeypatch, capsys):
    """A program as from the command line, in this process; gives what it prints."""

    def main(module, *arguments):
        monkeypatch.setattr("sys.argv", [module.__name__, *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    return main


def call(function, *arguments, **_):
    return function(*arguments)


@pytest.fixture
def in_this_process(monkeypatch):
    """What is measured in new processes runs here: each of them would import TensorFlow."""
    monkeypatch.setattr("benchmarks.memory.in_new_process", call)
    return call
