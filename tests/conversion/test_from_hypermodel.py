"""The hyperparameters of a hypermodel, found by building it: which vary between members, and which cannot."""

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers

import keras_hyperens as khe
from keras_hyperens.losses import LabelSmoothing
from tests.conversion.models import small_hypermodel

M = 3
from_hypermodel = khe.HyperBatchEnsemble.from_hypermodel


def test_what_each_hyperparameter_drives_is_found(capsys):
    ensemble = from_hypermodel(small_hypermodel, ensemble_size=M, seed=0)
    assert set(ensemble.space.names) == {"l2", "dropout", "noise", "l1", "smoothing"}
    assert ensemble.space["l2"] == khe.Hyperparameter("l2", 1e-5, 1e-2, "log")
    first, dropout, noise, last = ensemble.network.layers
    assert (first.kernel_l2, first.kernel_l1, first.bias_l2) == ("l2", None, None)
    assert (dropout.rate, noise.stddev) == ("dropout", "noise")
    assert (last.kernel_l2, last.kernel_l1) == (("l2", 0.5), "l1")
    assert first.plain.units == 8
    assert isinstance(ensemble.loss, LabelSmoothing) and ensemble.loss.label_smoothing == "smoothing"
    ensemble.conversion_summary()
    printed, texts = capsys.readouterr().out, []
    ensemble.conversion_summary(print_fn=texts.append)
    assert printed == f"{texts[0]}\n" and not capsys.readouterr().out
    lines = printed.splitlines()
    assert any("kernel_l1 = l1, kernel_l2 = 0.5 l2" in line for line in lines)
    fixed = lines[lines.index("Hyperparameters common to all members:") + 1 :]
    assert fixed == ["  units: 8; not a `Float` but Int", "  rate: 0.01; changes `learning_rate` of the optimizer"]


@pytest.mark.integration
def test_it_trains_tunes_and_comes_back_from_a_file(tmp_path):
    ensemble = from_hypermodel(small_hypermodel, ensemble_size=M, seed=0)
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 60)
    x = (np.eye(3, 4)[y] * 2 + generator.normal(size=(60, 4))).astype("float32")
    bounds = ensemble.hyperparameter_bounds()
    history = ensemble.fit(x, np.eye(3)[y], tuning_split=0.3, epochs=30, verbose=0).history
    assert history["accuracy"][-1] > 0.6 and history["loss"][-1] < history["loss"][0]
    for name in ensemble.space.names:
        assert not np.allclose(ensemble.hyperparameter_bounds()[name], bounds[name])
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), ensemble.predict(x, verbose=0), rtol=1e-5)
    logs = [model.evaluate(x, np.eye(3)[y], verbose=0) for model in (ensemble, loaded)]
    np.testing.assert_allclose(*logs, rtol=1e-5)


def test_with_one_seed_a_batch_ensemble_starts_from_the_same_weights():
    weights = []
    for sharing in ("hyper", "batch"):
        keras.utils.set_random_seed(3)
        layers_of = from_hypermodel(small_hypermodel, ensemble_size=M, sharing=sharing).network.layers
        weights.append(
            [
                np.asarray(weight)
                for layer in (layers_of[0], layers_of[-1])
                for weight in (layer.kernel, layer.r, layer.s)
            ]
        )
    for left, right in zip(*weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.integration
def test_the_same_function_gives_both_ensembles(tmp_path):
    def build_model(hp):
        model = small_hypermodel(hp)
        model.run_eagerly = True
        return model

    ensemble = from_hypermodel(build_model, ensemble_size=2, seed=0)
    builder = khe.HyperDeepEnsembleBuilder(build_model, ensemble_size=2, max_trials=2, directory=tmp_path, seed=0)
    x, y = np.random.default_rng(0).normal(size=(30, 4)).astype("float32"), np.eye(3)[np.arange(30) % 3]
    builder.search(x, y, validation_data=(x, y), epochs=1, verbose=0)
    assert ensemble.predict(x, verbose=0).shape == builder.build_ensemble().predict(x, verbose=0).shape == (30, 3)


def test_values_that_the_user_fixes_and_ranges_that_the_user_gives():
    space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-8, 1e-3, "log")])
    ensemble = from_hypermodel(
        small_hypermodel, ensemble_size=M, fixed={"units": 12, "dropout": 0.25, "rate": 0.05}, space=space
    )
    assert ensemble.space == space
    first, dropout, noise, last = ensemble.network.layers
    assert (first.plain.units, dropout.rate, noise.stddev, last.kernel_l1) == (12, 0.25, 0.0, pytest.approx(1e-6))
    assert float(ensemble.optimizer.learning_rate) == pytest.approx(0.05)
    assert ensemble._report.fixed["dropout"].startswith("0.25; given")
    assert "not varied" in ensemble._report.fixed["noise"]


def test_members_begin_around_the_best_values_of_a_search(capsys, tmp_path):
    best = {"l2": 1e-3, "dropout": 0.2, "units": 5}
    ensemble = from_hypermodel(small_hypermodel, ensemble_size=M, seed=0, initial_values=best)
    for name in ("l2", "dropout"):
        lower, upper = ensemble.hyperparameter_bounds()[name].T
        assert ((lower < best[name]) & (best[name] < upper)).all()
    assert ensemble.network.layers[0].plain.units == 5  # it cannot vary, so all members have it
    assert ensemble.initial_values == {"l2": 1e-3, "dropout": 0.2}
    ensemble.save(tmp_path / "ensemble.keras")
    assert keras.models.load_model(tmp_path / "ensemble.keras").initial_values == ensemble.initial_values
    ensemble.conversion_summary()
    assert "units: 5; not a `Float`" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"The hypermodel has .* Received: \['rat'\]"):
        from_hypermodel(small_hypermodel, ensemble_size=M, initial_values={"rat": 1})


def test_a_batch_ensemble_has_nothing_to_tune():
    ensemble = from_hypermodel(small_hypermodel, ensemble_size=M, sharing="batch", fixed={"dropout": 0.25})
    assert len(ensemble.space) == 0 and ensemble.network.layers[1].rate == 0.25


def one_layer(penalty, units=3, **compiled):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(units, kernel_regularizer=penalty)(inputs))
    model.compile("sgd", compiled.pop("loss", "mse"), **compiled)
    return model


def squared(hp):
    return one_layer(keras.regularizers.L2(hp.Float("root", 0.1, 0.9) ** 2))


def twice(hp):
    strength = hp.Float("strength", 0.1, 0.9)
    return one_layer(keras.regularizers.L2(strength), units=int(10 * strength))


def product(hp):
    return one_layer(keras.regularizers.L2(hp.Float("a", 0.1, 0.9) * hp.Float("b", 0.1, 0.9, default=0.5)))


def unused(hp):
    hp.Float("nothing", 0.1, 0.9)
    return one_layer(keras.regularizers.L2(hp.Float("a", 0.1, 0.9)))


@pytest.mark.parametrize(
    ("build_model", "names", "fixed"),
    [
        (product, ("a",), {"b": "controls a setting that another"}),
        (unused, ("a",), {"nothing": "changes nothing"}),
    ],
)
def test_what_else_a_hyperparameter_can_do(build_model, names, fixed):
    ensemble = from_hypermodel(build_model, ensemble_size=M)
    assert ensemble.space.names == names
    assert {name for name, why in ensemble._report.fixed.items() if fixed[name] in why} == set(fixed)
    if build_model is product:
        assert ensemble.network.layers[-1].kernel_l2 == ("a", pytest.approx(0.5))


@pytest.mark.parametrize(
    ("build_model", "reason"),
    [
        (squared, "another rule"),
        (twice, "changes `units` of layer 1"),
        (lambda hp: one_layer(None), "no hyperparameter"),
    ],
)
def test_where_nothing_can_vary_the_error_says_why_and_what_to_do(build_model, reason):
    with pytest.raises(ValueError, match=f"roles=.*{reason}"):
        from_hypermodel(build_model, ensemble_size=M)
    ensemble = from_hypermodel(build_model, ensemble_size=M, roles={"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")})
    assert ensemble.network.layers[-1].kernel_l2 == "l2"


def two_outputs(hp):
    inputs = keras.Input((4,))
    outputs = {"a": layers.Dense(1, name="a")(inputs), "b": layers.Dense(1, name="b")(inputs)}
    model = keras.Model(inputs, outputs)
    weights = {"a": 1.0, "b": hp.Float("weight", 0.1, 10.0, sampling="log", default=2.0)}
    model.compile("sgd", {"a": "mse", "b": "mse"}, loss_weights=weights)
    return model


def test_weights_of_outputs():
    ensemble = from_hypermodel(two_outputs, ensemble_size=M, seed=0)
    assert ensemble.space.names == ("weight",)
    ensemble.run_eagerly = True
    x, y = np.ones((6, 4), "float32"), {"a": np.ones((6, 1)), "b": np.zeros((6, 1))}
    ensemble.fit(x, y, tuning_data=(x, y), verbose=0)
    predicted = ensemble.predict(x, verbose=0)
    expected = np.mean((predicted["a"] - 1) ** 2) + 2 * np.mean(predicted["b"] ** 2)  # evaluated at the default
    loss = float(ensemble.evaluate(x, y, verbose=0, return_dict=True)["loss"])
    assert loss == pytest.approx(expected, rel=1e-4)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"has the hyperparameters \['a'.*\['c'\]"):
        from_hypermodel(product, ensemble_size=M, fixed={"c": 1})
    with pytest.raises(ValueError, match="must return a Keras model.*None"):
        from_hypermodel(lambda hp: None, ensemble_size=M)
    with pytest.raises(TypeError, match="Received: 3"):
        from_hypermodel(3, ensemble_size=M)


@pytest.mark.integration
def test_keras_tuners_own_hypermodels():
    xception = keras_tuner.applications.HyperXception(input_shape=(71, 71, 3), classes=5)
    ensemble = from_hypermodel(xception, ensemble_size=2)
    assert ensemble.space.names == ("dropout_rate",)
    assert "learning_rate" in ensemble._report.fixed and "activation" in ensemble._report.fixed
    resnet = keras_tuner.applications.HyperResNet(input_shape=(64, 64, 3), classes=5)
    with pytest.raises(ValueError, match="roles="):
        from_hypermodel(resnet, ensemble_size=2)
    ensemble = from_hypermodel(resnet, ensemble_size=2, roles={"l2": khe.Hyperparameter("l2", 1e-6, 1e-3, "log")})
    ensemble.run_eagerly = True  # once
    assert ensemble.predict(np.zeros((2, 64, 64, 3), "float32"), verbose=0).shape == (2, 5)
