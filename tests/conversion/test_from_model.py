"""Any Keras model as a hyper-batch ensemble: the same predictions first, and all that an ensemble does."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyperens as khe
from tests.conversion import models

M = 3
L2 = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
LOGITS = models.LOGITS


def batch_for(model, rows=5, seed=0):
    generator = np.random.default_rng(seed)

    def array(tensor):
        shape = (rows, *tensor.shape[1:])
        if "int" in tensor.dtype:
            return generator.integers(0, 5, shape)
        return generator.normal(size=shape).astype("float32")

    sequential = isinstance(model, keras.Sequential)
    return keras.tree.map_structure(array, model.inputs[0] if sequential else model.input)


def scrambled(model, seed=1):
    """Weights far from where they start, so that nothing is equal by chance."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.dtype == "float32":
            noise = generator.uniform(0.5, 1.5, weight.shape) if "variance" in weight.name else None
            weight.assign(generator.normal(0, 0.5, weight.shape) if noise is None else noise)
    return model


@pytest.mark.parametrize(
    "sharing",
    ["hyper", "independent", pytest.param("batch", marks=pytest.mark.integration)],
)
@pytest.mark.parametrize("make", [models.sequential, models.branches, models.sequences])
def test_a_converted_model_predicts_what_the_model_predicts(make, sharing):
    model = scrambled(make())
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, sharing=sharing)
    x = batch_for(model)
    expected, members = model(x, training=False), ensemble._member_outputs(x, training=False)
    for one, of_members in zip(keras.tree.flatten(expected), keras.tree.flatten(members), strict=True):
        np.testing.assert_allclose(of_members, np.stack([one] * M), rtol=1e-4, atol=1e-5)
    member = ensemble.member(1)
    for one, of_member in zip(keras.tree.flatten(expected), keras.tree.flatten(member(x)), strict=True):
        np.testing.assert_allclose(of_member, one, rtol=1e-4, atol=1e-5)
    assert {type(layer) for layer in member._flatten_layers()} == {type(layer) for layer in model._flatten_layers()}


def test_the_model_is_not_changed_and_not_shared():
    model = scrambled(models.sequential())
    before = model.get_weights()
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, seed=0)
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    x = batch_for(model, 12)
    ensemble.fit(x, np.arange(12) % 3, tuning_split=0.3, verbose=0)
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "make",
    [models.sequential, models.branches, models.sequences],
)
@pytest.mark.integration
def test_training_tuning_saving_and_export(make, tmp_path):
    model = make()
    roles = {**L2, "dropout": khe.Hyperparameter("dropout", 0.0, 0.5, "linear")} if make is not models.branches else L2
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=roles, ensemble_size=2, seed=0)
    several = make is models.branches
    losses = {"label": LOGITS, "value": "mse"} if several else LOGITS
    ensemble.compile(keras.optimizers.Adam(0.01), losses, tuning_every=1)
    x, y = batch_for(model, 24), np.arange(24) % 3
    y = {"label": y, "value": y[:, None].astype("float32")} if several else y
    bounds = ensemble.hyperparameter_bounds()["l2"]
    history = ensemble.fit(x, y, batch_size=8, epochs=4, tuning_data=(x, y), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert not np.allclose(ensemble.hyperparameter_bounds()["l2"], bounds)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    loaded.run_eagerly = True  # once
    ensemble.export(tmp_path / "served")
    served = keras.layers.TFSMLayer(tmp_path / "served", call_endpoint="serve")
    expected = keras.tree.flatten(ensemble.predict(x, verbose=0))
    declared = model.input if keras.tree.is_nested(x) else model.inputs[0]
    typed = keras.tree.map_structure(lambda array, spec: array.astype(spec.dtype), x, declared)
    for other in (loaded.predict(x, verbose=0), served(typed)):
        for left, right in zip(expected, keras.tree.flatten(other), strict=True):
            np.testing.assert_allclose(right, left, rtol=1e-4, atol=1e-5)
    assert loaded._report.records == ensemble._report.records


def test_roles_drive_settings_and_the_rest_stays(capsys):
    model = models.sequential()
    roles = {
        "kernel_l2": khe.Hyperparameter("strength", 1e-6, 1e-2, "log"),
        "bias_l1": khe.Hyperparameter("sparsity", 1e-6, 1e-2, "log"),
        "dropout": khe.Hyperparameter("rate", 0.1, 0.6, "linear"),
    }
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=roles, ensemble_size=M)
    assert ensemble.space.names == ("strength", "sparsity", "rate")
    conv, _, spatial, _, dense, dropout, _ = ensemble.network.layers
    assert (conv.kernel_l2, conv.bias_l1, conv.kernel_l1, conv.bias_l2) == ("strength", "sparsity", None, None)
    assert (dense.bias_l1, dense.bias_l2) == ("sparsity", pytest.approx(0.2))
    assert (spatial.rate, dropout.rate) == ("rate", "rate")
    ensemble.conversion_summary()
    printed = capsys.readouterr().out
    assert "HyperBatchConv2D" in printed and "bias_l1 = sparsity, kernel_l2 = strength" in printed.replace(
        "kernel_l2 = strength, bias_l1 = sparsity", "bias_l1 = sparsity, kernel_l2 = strength"
    )
    assert "shared: normalization" in printed
    fixed = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M).network.layers
    assert (fixed[0].kernel_l2, fixed[2].rate, fixed[4].bias_l1) == ("l2", 0.2, pytest.approx(0.1))


def test_include_and_exclude():
    model = models.sequential()
    kinds = lambda **chosen: [  # noqa: E731
        type(layer).__name__
        for layer in khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, **chosen).network.layers
    ]
    assert kinds(include=[layers.Dense])[0] == "Conv2D" and kinds(include=[layers.Dense])[-1] == "HyperBatchDense"
    assert kinds(exclude=["conv*", layers.Dropout])[0] == "Conv2D"
    assert kinds(exclude=["conv*", layers.Dropout])[-2:] == ["Dropout", "HyperBatchDense"]


def test_another_name_of_a_keras_layer():
    class Alias(layers.Dense):
        """A subclass without a body."""

    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    kinds = {}
    for kind in (Alias, Doubled):
        model = keras.Sequential([keras.Input((4,)), kind(3), layers.Dense(2)])
        with warnings.catch_warnings(action="ignore"):
            ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
        kinds[kind] = type(ensemble.network.layers[0])
        np.testing.assert_allclose(ensemble(np.ones((2, 4))), model(np.ones((2, 4))), rtol=1e-5)
    assert kinds == {Alias: khe.HyperBatchDense, Doubled: Doubled}


def test_frozen_layers_are_shared():
    model = models.sequential()
    model.layers[0].trainable = False
    network = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M).network
    assert type(network.layers[0]) is layers.Conv2D and not network.layers[0].trainable


def test_independent_members_train_as_models_apart():
    """A deep ensemble in one graph: each member is what a model trained by itself becomes."""
    model = scrambled(models.sequential())
    model.layers[2].rate = model.layers[5].rate = 0.0
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    ensemble = khe.HyperBatchEnsemble.from_model(plain, ensemble_size=M, sharing="independent")
    generator = np.random.default_rng(2)
    starts = [[w + generator.normal(0, 0.1, w.shape) * (w.ndim > 1) for w in model.get_weights()] for _ in range(M)]
    for layer, at in zip(ensemble.network.layers, _places(model), strict=True):
        if layer.weights and hasattr(layer, "parts"):
            for part, start in zip(layer.parts, starts, strict=True):
                part.set_weights(start[at])
        elif layer.weights:
            layer.set_weights([np.stack([start[place] for start in starts]) for place in range(at.start, at.stop)])
    x, y = batch_for(model, 16), np.arange(16) % 3
    ensemble.compile(keras.optimizers.SGD(0.1 * M), LOGITS, member_rows="same", run_eagerly=True)  # a mean over members
    ensemble.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for k, start in enumerate(starts):
        plain.set_weights(start)
        plain.compile(keras.optimizers.SGD(0.1), LOGITS, run_eagerly=True)
        plain.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        member = ensemble.member(k)
        for left, right in zip(member.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(left, right, rtol=2e-3, atol=1e-4)


def _places(model):
    """Where each layer's weights are in `model.get_weights()`."""
    first = 0
    for layer in model.layers:
        yield slice(first, first + len(layer.weights))
        first += len(layer.weights)


def test_a_hyperparameter_ensemble_keeps_its_values():
    model = models.sequential()
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, sharing="independent", seed=0)
    ensemble.compile("adam", LOGITS, run_eagerly=True)
    x, y = batch_for(model, 12), np.arange(12) % 3
    values = ensemble.hyperparameter_values()["l2"]
    assert len(set(values)) == M
    ensemble.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(ensemble.hyperparameter_values()["l2"], values)
    ensemble.fit(x, y, tuning_split=0.5, epochs=3, verbose=0)
    np.testing.assert_array_equal(ensemble.hyperparameter_values()["l2"], values)
    assert ensemble.temperature_values()[0] != 1  # that is all there is to tune


def test_a_self_tuning_network_is_one_member_with_frozen_factors():
    model = scrambled(models.sequential())
    ensemble = khe.HyperBatchEnsemble.from_model(
        model, roles=L2, ensemble_size=1, tie_fast_weights=True, fast_weights_trainable=False, seed=0
    )
    ensemble.compile(keras.optimizers.Adam(0.01), LOGITS, tuning_every=1, run_eagerly=True)
    x, y = batch_for(model, 12), np.arange(12) % 3
    ensemble.fit(x, y, tuning_data=(x, y), epochs=2, verbose=0)
    dense = ensemble.network.layers[-1]
    np.testing.assert_array_equal(dense.r, np.ones((1, 6)))
    assert dense.u is dense.r and np.abs(dense.delta_kernel).max() > 0


def test_what_a_compiled_model_was_compiled_with_is_taken_over():
    model = models.sequential()
    crossentropy = keras.metrics.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.03, momentum=0.5), LOGITS, metrics=["accuracy", crossentropy])
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, seed=0)
    ensemble.run_eagerly = True
    assert ensemble.optimizer is not model.optimizer and float(ensemble.optimizer.learning_rate) == pytest.approx(0.03)
    x, y = batch_for(model, 12), np.arange(12) % 3
    logs = ensemble.evaluate(x, y, return_dict=True, verbose=0)
    nll = -np.log(ensemble.predict(x, verbose=0)[np.arange(12), y]).mean()
    assert float(logs["sparse_categorical_crossentropy"]) == pytest.approx(nll, rel=1e-4)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", LOGITS])
def test_label_smoothing_is_a_role_of_the_compiled_loss(loss):
    model = models.sequential()
    model.compile("sgd", loss, run_eagerly=True)
    ensemble = khe.HyperBatchEnsemble.from_model(
        model, roles={"label_smoothing": khe.Hyperparameter("a", 0.0, 0.2, "linear")}, ensemble_size=M
    )
    assert isinstance(ensemble.loss, khe.losses.LabelSmoothing) and ensemble.loss.label_smoothing == "a"
    x, y = batch_for(model, 12), np.arange(12) % 3
    if loss is LOGITS:
        ensemble.fit(x, y, tuning_data=(x, y), verbose=0)


def test_random_factors_trade_exactness_for_diversity():
    model = scrambled(models.sequential())
    ensemble = khe.HyperBatchEnsemble.from_model(
        model, roles=L2, ensemble_size=M, fast_weight_initializer=keras.initializers.RandomNormal(1, 0.1, seed=0)
    )
    x = batch_for(model)
    members = np.asarray(ensemble._member_outputs(x))
    assert not np.allclose(members[0], members[1]) and np.abs(members - np.asarray(model(x))).mean() < 1.0


def test_layers_of_equal_size_have_different_factors_from_one_initializer():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    given = keras.initializers.RandomNormal(1, 0.1, seed=0)
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, fast_weight_initializer=given)
    factors = [np.ravel(weight) for layer in ensemble.network.layers for weight in (layer.r, layer.s)]
    assert len(factors) == len({tuple(each) for each in factors}) == 4


@keras.saving.register_keras_serializable("tests")
class Scale(layers.Layer):
    """A layer whose weights nobody knows."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        return inputs * self.scale

    def compute_output_shape(self, shape):
        return shape


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def test_what_cannot_be_converted_is_shared_with_a_warning():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Scale(name="mine"),
            layers.Dense(3, kernel_regularizer="orthogonal_regularizer"),
            layers.Dense(3),
        ]
    )
    with pytest.warns(UserWarning, match=r"mine \(no counterpart.*dense.* \(its `kernel_regularizer` is a Orth"):
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    assert type(ensemble.network.layers[0]) is Scale
    with pytest.warns(UserWarning, match="lambda.*processes the samples of all members"):
        function = layers.Lambda(lambda x: 2 * x, name="lambda")
        khe.HyperBatchEnsemble.from_model(
            keras.Sequential([keras.Input((4,)), function, layers.Dense(3)]), roles=L2, ensemble_size=M
        )


def test_a_layer_that_mixes_rows_is_named():
    inputs = keras.Input((4,))
    mixed = layers.Dense(5)(inputs)
    mixed = mixed - keras.ops.mean(mixed, axis=0, keepdims=True)
    model = keras.Model(inputs, layers.Dense(3)(mixed))
    with pytest.raises(ValueError, match="mixes them.*first in.*mean"):
        khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: khe.HyperBatchEnsemble.from_model("model", roles=L2), TypeError, "model='model'"),
        (lambda: khe.HyperBatchEnsemble.from_model(models.sequential(), sharin="batch"), TypeError, "sharin='batch'"),
        (lambda: khe.HyperBatchEnsemble.from_model(models.sequential(), sharing="none"), ValueError, "sharing='none'"),
        (
            lambda: khe.HyperBatchEnsemble.from_model(models.sequential(), same_initialization=True), ValueError,
            "start from its weights",
        ),
        (lambda: khe.HyperBatchEnsemble.from_model(Subclassed(), roles=L2), ValueError, "subclassed.*'subclassed"),
        (
            lambda: khe.HyperBatchEnsemble.from_model(keras.Sequential([layers.Dense(3)]), roles=L2), ValueError,
            "never built",
        ),
        (
            lambda: khe.HyperBatchEnsemble.from_model(models.sequential(), roles={"l3": L2["l2"]}), ValueError,
            "role must be one of.*'l3'",
        ),
        (lambda: khe.HyperBatchEnsemble.from_model(models.sequential(), roles={"l2": 0.1}), TypeError, "l2=0.1"),
        (
            lambda: khe.HyperBatchEnsemble.from_model(models.sequential(), roles=L2, exclude=["*"]), ValueError,
            "no hyper-batch layer",
        ),
        (
            lambda: khe.HyperBatchEnsemble.from_model(
                models.sequential(), roles={"label_smoothing": khe.Hyperparameter("a", 0.0, 0.2, "linear")}
            ),
            ValueError, "compiled with a cross-entropy.*loss=None",
        ),
        (
            lambda: khe.HyperBatchEnsemble(
                keras.Sequential([keras.Input((2,)), khe.HyperBatchDense(1, ensemble_size=4)])
            ).conversion_summary(),
            ValueError, "from_hypermodel",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make()
