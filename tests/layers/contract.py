"""What every layer must do, whatever it computes."""

import keras
import numpy as np

import keras_hyperens as khe

M, B = 3, 4


def space():
    return khe.HyperparameterSpace(
        [khe.Hyperparameter("l2", 1e-6, 1e-1, "log"), khe.Hyperparameter("rate", 0.1, 0.6, "linear")]
    )


def members():
    return {"ensemble_size": M, "space": space()}


def draw(rows, seed=0, members=M):
    """Values `[M, rows, P]` spread over the space."""
    z = np.random.default_rng(seed).uniform(-1, 1, (members, rows, 2)).astype("float32")
    return np.asarray(space().values(z))


def randomize(layer, seed=0):
    """No weight at an initial value that could hide a mistake."""
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(0.5, 0.5, weight.shape).astype("float32") for weight in layer.get_weights()])


def layer_contract(make, row_shape, inputs=1, indices=0):
    """Build, symbolic and eager call, configuration round trip, mixed precision: what costs little, of every layer.

    `make()` gives a new layer; `row_shape` is the shape of one row; `inputs` says how often the layer takes the rows,
    `indices` that they are integers below this number. Training, files and compilation: `test_together.py`.
    """
    rows = rows_of(row_shape, indices)
    values = draw(1)
    layer = make()

    def call(layer, x, **keywords):
        return layer(*[x] * inputs, **keywords)

    with khe.hyperparameter_scope(values):
        outputs = call(layer, rows)
    assert layer.built and tuple(outputs.shape) == tuple(layer.compute_output_shape(*[rows.shape] * inputs))
    assert outputs.shape[0] == M * B

    symbolic = call(make(), keras.KerasTensor((None, *row_shape), dtype=rows.dtype.name))
    assert symbolic.shape == (None, *outputs.shape[1:])

    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    with khe.hyperparameter_scope(values):
        call(twin, rows)
        twin.set_weights(layer.get_weights())
        np.testing.assert_allclose(call(twin, rows), outputs, rtol=1e-6)

    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
    for drawn in (values, draw(B)):
        with khe.hyperparameter_scope(drawn):
            call(half, rows, training=False)
            half.set_weights(layer.get_weights())
            half_outputs = call(half, rows, training=False)
            full_outputs = call(layer, rows, training=False)
        assert half_outputs.dtype == "float16"
        np.testing.assert_allclose(half_outputs, full_outputs, rtol=2e-2, atol=5e-2)


def rows_of(row_shape, indices=0):
    """A batch for all members."""
    generator = np.random.default_rng(0)
    if indices:
        return generator.integers(0, indices, (M * B, *row_shape)).astype("int32")
    return generator.normal(size=(M * B, *row_shape)).astype("float32")
