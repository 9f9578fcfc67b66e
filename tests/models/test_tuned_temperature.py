import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.calibration import fit_temperature
from keras_hyperens.models.training.tuned_temperature import TunedTemperature
from tests.models.eagerly import eagerly_first
from tests.models.networks import LOGITS
from tests.models.networks import M
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.networks import members

FROZEN = {"optimizer": keras.optimizers.SGD, "tuning_optimizer": keras.optimizers.SGD}


def unsure(rows=200, classes=4, seed=0):
    """Logits half as large as they should be, and labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (rows, classes)).astype("float32")
    labels = [generator.choice(classes, p=np.exp(2 * row) / np.exp(2 * row).sum()) for row in logits.astype("float64")]
    return logits, np.array(labels)


def tune(temperature, loss, steps):
    def step():
        values = temperature.updated(*temperature.slopes_and_curvatures(loss))
        for variable, value in zip(temperature.state, values):
            variable.assign(value)

    step = step if steps == 1 else tf.function(step, autograph=False)
    for _ in range(steps):
        step()


def test_it_finds_the_temperature_of_the_highest_likelihood():
    logits, labels = unsure()
    temperature = TunedTemperature(1)
    tune(temperature, lambda logarithms: LOGITS(labels, logits / tf.exp(logarithms[0])), 120)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(np.exp(temperature.logarithms), fit_temperature(probabilities, labels), rtol=5e-3)


def test_two_outputs_have_two_and_a_gaussian_has_a_factor_of_its_variance():
    logits, labels = unsure()
    generator = np.random.default_rng(1)
    targets = generator.normal(0, 3, (200, 1)).astype("float32")
    raw = np.zeros((200, 2), "float32")  # N(0, 1)
    gaussian = khe.losses.GaussianNegativeLogLikelihood()

    def loss(logarithms):
        return LOGITS(labels, logits / tf.exp(logarithms[0])) + gaussian(targets, raw + [0, 0.5] * logarithms[1])

    temperature = TunedTemperature(2)
    tune(temperature, loss, 120)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    expected = [fit_temperature(probabilities, labels), np.square(targets).mean()]
    np.testing.assert_allclose(np.exp(temperature.logarithms), expected, rtol=1e-2)


def test_slopes_and_curvatures_are_derivatives_for_the_inverse_temperature():
    logits, labels = unsure()
    temperature = TunedTemperature(1)
    temperature.logarithms.assign([0.3])
    slopes, curvatures = temperature.slopes_and_curvatures(lambda a: LOGITS(labels, logits / tf.exp(a[0])))
    inverse = np.exp(-0.3)
    q = np.exp(logits * inverse - np.log(np.exp(logits * inverse).sum(1, keepdims=True)))
    expected = (q * logits).sum(1)
    np.testing.assert_allclose(slopes, [(expected - logits[np.arange(200), labels]).mean()], rtol=1e-2)
    np.testing.assert_allclose(curvatures, [((q * logits**2).sum(1) - expected**2).mean()], rtol=1e-2)


def test_noise_is_averaged_and_a_step_is_bounded():
    temperature = TunedTemperature(1)
    tune(temperature, lambda logarithms: 0.0 * logarithms[0], 1)
    np.testing.assert_array_equal(temperature.logarithms, [0.0])  # nothing is known
    tune(temperature, lambda logarithms: -10 * logarithms[0], 1)  # ever larger ones are better
    np.testing.assert_allclose(temperature.logarithms, [np.log(2)], rtol=1e-5)
    temperature.forget()
    estimates = []
    for seed in range(60):
        logits, labels = unsure(30, seed=seed)
        tune(temperature, lambda a, x=logits, y=labels: LOGITS(y, x / tf.exp(a[0])), 1)
        estimates.append(float(np.exp(temperature.logarithms[0])))
    assert np.std(estimates[30:]) < 0.05 and abs(np.mean(estimates[30:]) - 0.5) < 0.05


def frozen(network=None, **arguments):
    """An ensemble of which steps change nothing but the temperature."""
    optimizers = {name: optimizer(0.0) for name, optimizer in FROZEN.items()}
    settings = {"tune_temperature": True, "tuning_every": 1, "entropy_weight": 0.0, **optimizers, **arguments}
    return compiled(network, **settings)


def labeled(ensemble, rows=64):
    """Samples and labels of which the ensemble has most right."""
    x, _ = blobs(rows)
    right = ensemble.predict_members(x, verbose=0).mean(0).argmax(1)
    return x, (right + (np.arange(rows) % 3 == 0)) % 3


def fitted_temperature(ensemble, x, y):
    members = ensemble.predict_members(x, verbose=0)
    return fit_temperature(members.mean(0), y)


@pytest.fixture(scope="module")
def fitted():
    """An ensemble after many tuning steps, and its samples."""
    keras.utils.set_random_seed(0)
    ensemble = frozen()
    x, y = labeled(ensemble)
    steps = tf.data.Dataset.from_tensors((x, y)).repeat(40)
    ensemble.fit(steps, tuning_data=(x, y), shuffle=False, verbose=0)
    ensemble.run_eagerly = True
    return ensemble, x, y


def test_tuning_steps_fit_it_to_the_combined_prediction_of_tuning_data(fitted):
    ensemble, x, y = fitted
    expected = fitted_temperature(ensemble, x, y)
    assert abs(np.log(expected)) > 0.1
    # Tuning steps draw hyperparameters, to which kernels do not respond yet.
    np.testing.assert_allclose(ensemble.temperature_values(), [expected], rtol=3e-2)
    p = ensemble.predict_members(x, verbose=0).mean(0) ** (1 / ensemble.temperature_values()[0])
    np.testing.assert_allclose(ensemble.predict(x, verbose=0), p / p.sum(1, keepdims=True), atol=1e-5)
    nll = -np.log(ensemble.predict(x, verbose=0)[np.arange(64), y]).mean()
    np.testing.assert_allclose(ensemble.evaluate(x, y, verbose=0), nll, rtol=1e-4)


def test_steps_with_fixed_label_smoothing_go_where_those_without_do():
    found = []
    for smoothing in (0.0, 0.3):
        keras.utils.set_random_seed(0)
        ensemble = frozen(run_eagerly=True)
        x, y = labeled(ensemble)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        optimizers = {name: optimizer(0.0) for name, optimizer in FROZEN.items()}
        ensemble.compile(**optimizers, loss=loss, tuning_every=1, run_eagerly=True)
        one_hot = np.eye(3, dtype="float32")[y]
        ensemble.fit(x, one_hot, batch_size=64, epochs=3, tuning_data=(x, one_hot), verbose=0)
        found.append(ensemble.temperature_values())
    assert np.abs(np.log(found[0])).max() > 0.05
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.integration
def test_fixed_label_smoothing_does_not_blunt_it():
    ensemble = frozen()
    x, y = labeled(ensemble)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    ensemble.compile(**{name: optimizer(0.0) for name, optimizer in FROZEN.items()}, loss=loss, tuning_every=1)
    one_hot = np.eye(3, dtype="float32")[y]
    ensemble.fit(x, one_hot, batch_size=64, epochs=80, tuning_data=(x, one_hot), verbose=0)
    np.testing.assert_allclose(ensemble.temperature_values(), [fitted_temperature(ensemble, x, y)], rtol=3e-2)


@pytest.mark.integration
def test_a_batch_ensemble_has_one_too():
    network = dense_network(sharing="batch")
    ensemble = frozen(network)
    x, y = labeled(ensemble)
    before = np.stack(ensemble.distribution.bounds())
    ensemble.fit(x, y, batch_size=64, epochs=80, tuning_data=(x, y), verbose=0)
    np.testing.assert_allclose(ensemble.temperature_values(), [fitted_temperature(ensemble, x, y)], rtol=3e-2)
    np.testing.assert_array_equal(np.stack(ensemble.distribution.bounds()), before)


@eagerly_first
@pytest.mark.parametrize("arguments", [{"tune_temperature": False}, {"loss": "mse"}])
def test_off_and_outputs_without_one(arguments):
    ensemble, (x, y) = frozen(**arguments), blobs(64)
    labels = y if "loss" not in arguments else np.eye(3, dtype="float32")[y]
    ensemble.fit(x, labels, tuning_data=(x, labels), verbose=0)
    np.testing.assert_array_equal(ensemble.temperature_values(), [1.0])
    np.testing.assert_allclose(
        ensemble.predict(x, verbose=0), ensemble.predict_members(x, verbose=0).mean(0), atol=1e-6
    )


def test_nothing_to_tune_is_refused():
    ensemble, (x, y) = frozen(dense_network(sharing="batch"), tune_temperature=False), blobs()
    with pytest.raises(ValueError, match="No kernel depends on hyperparameters and no output has a temperature"):
        ensemble.fit(x, y, tuning_data=(x, y), verbose=0)


def test_it_is_kept_in_files_and_exports_and_calibration_goes_on_from_it(fitted, tmp_path):
    ensemble, x, y = fitted
    expected, temperature = ensemble.predict(x, verbose=0), ensemble.temperature_values()
    assert abs(np.log(temperature[0])) > 0.05
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.saving.load_model(tmp_path / "e.keras")
    np.testing.assert_array_equal(loaded.temperature_values(), temperature)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-6)
    ensemble.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(x), expected, atol=1e-5)
    found = loaded.calibrate(x, y, prior_rows=0, verbose=0)
    total = fitted_temperature(ensemble, x, y)
    np.testing.assert_allclose(found.values[0] * temperature, [total], rtol=1e-3)
    loaded.calibrate(x, y, per="member", verbose=0)
    np.testing.assert_array_equal(loaded.temperature_values(), [1.0])


@pytest.mark.integration
def test_several_outputs():
    inputs = keras.Input((4,))
    rows = khe.HyperBatchDense(6, activation="relu", kernel_l2="l2", **members())(
        khe.HyperDropout("rate", **members())(inputs)
    )
    label, size = (
        khe.HyperBatchDense(units, name=name, **members())(rows) for name, units in (("label", 3), ("size", 1))
    )
    ensemble = khe.HyperBatchEnsemble(keras.Model(inputs, {"label": label, "size": size}), **members(), seed=0)
    optimizers = {name: optimizer(0.0) for name, optimizer in FROZEN.items()}
    ensemble.compile(**optimizers, loss={"label": LOGITS, "size": "mse"}, tuning_every=1)
    x, y = blobs(64)
    targets = {"label": y, "size": x[:, :1]}
    ensemble.fit(x, targets, batch_size=64, epochs=80, tuning_data=(x, targets), verbose=0)
    each = ensemble.predict_members(x, verbose=0)
    temperature = dict(zip(ensemble.output_names, ensemble.temperature_values()))
    np.testing.assert_allclose(temperature["label"], fit_temperature(each["label"].mean(0), y), rtol=3e-2)
    assert temperature["size"] == 1.0 and len(ensemble.output_names) == 2 and M == len(each["size"])
