import keras
import pytest

from benchmarks.speed import networks


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


def tiny_network(l2, dropout, image_shape, num_classes):
    dense = keras.layers.Dense(num_classes, kernel_regularizer=keras.regularizers.L2(l2))
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dropout(dropout), dense])


@pytest.fixture
def tiny(monkeypatch):
    """The name of a network that is traced in little time, for what is measured in this process."""
    monkeypatch.setitem(networks.NETWORKS, "tiny", (tiny_network, (3, 3, 1)))
    return "tiny"


def call(function, *arguments, **_):
    return function(*arguments)


@pytest.fixture
def in_this_process(monkeypatch):
    """What is measured in new processes runs here: each of them would import TensorFlow."""
    monkeypatch.setattr("benchmarks.memory.in_new_process", call)
    return call
