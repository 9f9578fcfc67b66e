"""Weights, the state of a training and sizes of exports: counted."""

import math
import pathlib
import tempfile
from collections.abc import Iterator

import keras

from benchmarks.scale import costs
from benchmarks.scale.costs import Layer
from benchmarks.scale.point import Point
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled

M, P = 4, 2


def measure(networks: tuple[str, ...] = ("MLP", "LeNet", "ResNet-8")) -> Iterator[Point]:
    """For each network its weights; for the last the optimizer's state and both exports."""
    for name in networks:
        plain, ensemble = compiled(name, 0), compiled(name, M)
        layers, others = layers_of(plain)
        weights = costs.hyper_batch_weights(layers, others, M, P)
        what = f"weights, hyper-batch {name}, M = {M}, P = {P}"
        yield Point(what, "others + Σ (2 kernel + M (2A + 4U) + 2PU)", weights, weights_of(ensemble), "numbers")
    trained = sum(math.prod(variable.shape) for variable in ensemble.trainable_variables)
    ensemble._build_optimizers()
    kept = ensemble.trainable_variables + ensemble.optimizer.variables
    formula, size = "4 · 3 · trained weights", sum(map(bytes_of, kept))
    yield Point(f"state of a training, {name}, Adam", formula, costs.training_state_bytes(trained), size, "bytes")
    ensemble.predict(arrays(name, 2)[0], verbose=0)
    for folded, formula, expected in (
        (True, "4 (others + M Σ (kernel + U))", costs.folded_bytes(layers, others, M)),
        (False, "4 · weights", costs.FLOAT * weights),
    ):
        what = f"variables of an export, {name}, {'folded' if folded else 'shared kernels'}"
        yield Point(what, formula, expected, exported_bytes(ensemble, folded), "bytes")
    keras.backend.clear_session()


def layers_of(model: keras.Model) -> tuple[list[Layer], int]:
    """The layers with a kernel of a plain model of dense and convolutional layers, and its weights outside them."""
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)]
    layers = [
        Layer(math.prod(each.kernel.shape), each.kernel.shape[-2], each.kernel.shape[-1], each.use_bias)
        for each in kernels
    ]
    return layers, weights_of(model) - sum(layer.weights for layer in layers)


def weights_of(model: keras.Model) -> int:
    """Of layers: states of random generators and the bounds of distributions are left out."""
    network = getattr(model, "network", model)
    return sum(math.prod(weight.shape) for weight in network.weights)


def bytes_of(variable: keras.Variable) -> int:
    return math.prod(variable.shape) * costs.FLOAT


def exported_bytes(ensemble: keras.Model, folded: bool) -> int:
    with tempfile.TemporaryDirectory() as name:
        ensemble.export(pathlib.Path(name) / "served", folded=folded)
        return sum(file.stat().st_size for file in pathlib.Path(name).glob("served/variables/variables.data-*"))
