"""What every layer must do, whatever it computes."""

import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe

M, B = 3, 4


def space():
    return khe.HyperparameterSpace(
        [khe.Hyperparameter("l2", 1e-6, 1e-1), khe.Hyperparameter("rate", 0.1, 0.6, scale="linear")]
    )


def members():
    return {"ensemble_size": M, "hyperparameters": space()}


def draw(rows, seed=0, members=M):
    """Values `[M, rows, P]` spread over the space."""
    z = np.random.default_rng(seed).uniform(-1, 1, (members, rows, 2)).astype("float32")
    return np.asarray(space().values(z))


def randomise(layer, seed=0):
    """No weight at an initial value that could hide a mistake."""
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(0.5, 0.5, weight.shape).astype("float32") for weight in layer.get_weights()])


def layer_contract(make, row_shape, tmp_path, inputs=1, indices=0):
    """Build, symbolic and eager call, fit, configuration and file round trip, mixed precision, export.

    `make()` gives a new layer; `row_shape` is the shape of one row; `inputs` says how often the layer takes the rows,
    `indices` that they are integers below this number.
    """
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(M * B, *row_shape)).astype("float32")
    if indices:
        rows = generator.integers(0, indices, rows.shape).astype("int32")
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

    start = keras.Input(row_shape, dtype=rows.dtype.name)
    model = keras.Model(start, keras.layers.Dense(1)(keras.layers.Flatten()(call(make(), start))))
    model.compile("sgd", "mse")
    for drawn in (values, draw(B)):
        with khe.hyperparameter_scope(drawn):
            model.train_function = None
            model.fit(rows, np.zeros((M * B, 1)), batch_size=M * B, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    with khe.hyperparameter_scope(values):
        expected = model(rows)
        np.testing.assert_allclose(loaded(rows), expected, rtol=1e-6)
        model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(rows), expected, rtol=1e-4, atol=1e-5)

    for drawn in (values, draw(B)):
        with khe.hyperparameter_scope(drawn):
            training = tf.function(lambda x: call(layer, x, training=True), jit_compile=True)
            assert np.isfinite(training(rows)).all()
            compiled = tf.function(lambda x: call(layer, x), jit_compile=True)
            np.testing.assert_allclose(call(layer, rows), compiled(rows), rtol=1e-3, atol=1e-4)

    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
    for drawn in (values, draw(B)):
        with khe.hyperparameter_scope(drawn):
            call(half, rows, training=False)
            half.set_weights(layer.get_weights())
            half_outputs = call(half, rows, training=False)
            full_outputs = call(layer, rows, training=False)
        assert half_outputs.dtype == "float16"
        np.testing.assert_allclose(half_outputs, full_outputs, rtol=2e-2, atol=5e-2)
