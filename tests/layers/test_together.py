"""Networks of all layers: what costs much is done once, for all of them together."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.layers.contract import B
from tests.layers.contract import M
from tests.layers.contract import draw
from tests.layers.contract import rows_of
from tests.layers.family import FAMILY
from tests.layers.family import OTHERS
from tests.layers.family import RELATIVES

OPTIONS = {
    "own embeddings": {"shared_embedding": False},
    "no hyperparameters": {"space": None, "kernel_l2": 0.3, "bias_l2": 0.1},
}
DRAWS = {"one draw per member": draw(1), "one draw per row": draw(B)}
EAGER = pytest.param(("all kinds", "one draw per row", True), id="all kinds, eagerly")
GRAPHS = [
    pytest.param((kind, draws, False), marks=pytest.mark.integration, id=f"{kind}, {draws}")
    for draws in DRAWS
    for kind in ("all kinds", "relatives")
]
OF_EACH_KIND = GRAPHS[:2]  # for what does not depend on the draws of the training


def networks(*params):
    return pytest.mark.parametrize("trained", params, indirect=True, scope="module")


def branches(kind):
    """By name, a layer, the shape of its rows, how often it takes them, and below which number they are indices."""
    for name, case in FAMILY.items():
        if (name in RELATIVES) == (kind == "relatives"):
            yield name, case.make(), case.row, case.inputs, case.indices
    if kind == "relatives":
        return
    for name, arguments in OPTIONS.items():
        yield name, FAMILY["dense"].make(**arguments), FAMILY["dense"].row, 1, 0
    for name, (make, row) in OTHERS.items():
        yield name, make(), row, 1, 0


@pytest.fixture(scope="module")
def trained(request):
    """A trained network, its rows, and the values with which it was trained."""
    kind, draws, run_eagerly = request.param
    inputs, outputs, rows = {}, {}, {}
    for name, layer, row, times, indices in branches(kind):
        name = name.replace(",", "").replace(" ", "_").replace("-", "_")
        rows[name] = rows_of(row, indices)
        inputs[name] = keras.Input(row, dtype=rows[name].dtype.name, name=name)
        outputs[name] = layer(*[inputs[name]] * times)
    network = keras.Model(inputs, outputs)
    network.compile("sgd", "mse", run_eagerly=run_eagerly)
    targets = {name: np.zeros((M * B, *output.shape[1:])) for name, output in outputs.items()}
    with khe.hyperparameter_scope(DRAWS[draws]):
        network.fit(rows, targets, batch_size=M * B, verbose=0)
    for weight in network.trainable_weights:
        assert np.isfinite(weight).all(), weight.path
    return network, rows, DRAWS[draws]


def check_equal(received, expected, **tolerance):
    assert set(received) == set(expected)
    for name in expected:
        np.testing.assert_allclose(received[name], expected[name], err_msg=name, **tolerance)


@networks(EAGER, GRAPHS[1])
def test_file(trained, tmp_path):
    network, rows, _ = trained
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    with khe.hyperparameter_scope(draw(1)):
        check_equal(loaded(rows), network(rows), rtol=1e-6)


@networks(*OF_EACH_KIND)
def test_export(trained, tmp_path):
    network, rows, _ = trained
    with khe.hyperparameter_scope(draw(1)):
        expected = network(rows)
        network.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")  # its variables live as long as it does
    check_equal(served.serve(rows), expected, rtol=1e-4, atol=1e-5)


@networks(*GRAPHS)
def test_compiled_by_xla(trained):
    network, rows, values = trained
    with khe.hyperparameter_scope(values):
        expected = network(rows)  # training changes moving averages
        both = tf.function(
            lambda rows: (network(rows), network(rows, training=True)), jit_compile=True, autograph=False
        )
        outputs, in_training = both(rows)
        check_equal(outputs, expected, rtol=1e-3, atol=1e-4)
    for name, output in in_training.items():
        assert np.isfinite(output).all(), name
