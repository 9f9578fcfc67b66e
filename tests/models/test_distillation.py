"""Distillation: losses compared with NumPy and Keras, convergence of students, and unchanged settings."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_hyperens as khe
from keras_hyperens import uncertainty
from keras_hyperens.likelihoods import Bernoulli
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Value
from keras_hyperens.models.distillation import _with_predictions
from keras_hyperens.models.distillation import log_concentration
from keras_hyperens.models.distillation import soft_loss
from keras_hyperens.models.temperatures import Temperatures
from tests.models.networks import LOGITS
from tests.models.networks import blobs
from tests.models.networks import deep

X, _ = blobs(48)
GENERATOR = np.random.default_rng(0)
RAW, TEACHER = (GENERATOR.normal(size=(5, 4)).astype("float32") for _ in range(2))
GAUSSIAN = khe.losses.GaussianNegativeLogLikelihood()


def softmax(logits, temperature=1.0):
    exponentials = np.exp(logits / temperature)
    return exponentials / exponentials.sum(-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("from_logits", [True, False])
def test_the_loss_of_classes(temperature, from_logits):
    raw = RAW if from_logits else softmax(RAW)
    found = soft_loss(Categorical(from_logits), temperature)(softmax(TEACHER), raw)
    target = softmax(TEACHER, temperature)
    expected = -(target * np.log(softmax(RAW, temperature))).sum(-1) * temperature**2
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    if not hasattr(keras, "distillation"):  # of Keras 3.12 and later
        return
    of_keras = keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())
    divergence = of_keras.compute_loss(TEACHER, RAW)  # its default, "kl_divergence", takes logits for probabilities
    entropy = -(target * np.log(target)).sum(-1) * temperature**2
    np.testing.assert_allclose(np.mean(found - entropy), divergence, rtol=1e-4)


@pytest.mark.parametrize("from_logits", [True, False])
def test_the_loss_of_yes_or_no(from_logits):
    def sigmoid(logits):
        return 1 / (1 + np.exp(-logits))

    raw = RAW if from_logits else sigmoid(RAW)
    found = soft_loss(Bernoulli(from_logits), 2.0)(sigmoid(TEACHER), raw)
    target, predicted = sigmoid(TEACHER / 2), sigmoid(RAW / 2)
    expected = -(target * np.log(predicted) + (1 - target) * np.log(1 - predicted)).mean(-1) * 4
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_loss_of_gaussians_is_the_expected_one_under_the_mixture():
    """By draws from a mixture of two members, of which the loss sees mean and variance."""
    means, scales = np.array([[0.0], [2.0]]), np.array([[0.5], [1.0]])
    draws = (means + scales * GENERATOR.normal(size=(2, 200_000))).ravel()[:, None]
    raw = np.array([[0.7, 0.3]], "float32")
    expected = float(GAUSSIAN(draws, np.tile(raw, (len(draws), 1))))
    moments = np.array([[draws.mean(), draws.var()]], "float32")
    np.testing.assert_allclose(soft_loss(Gaussian(), 1.0)(moments, raw), [expected], rtol=1e-5)
    values = soft_loss(Value(), 1.0)(TEACHER, RAW)
    np.testing.assert_allclose(values, ((TEACHER - RAW) ** 2).mean(-1), rtol=1e-6)


def student(outputs=3, loss=LOGITS, **arguments):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(outputs, kernel_initializer=keras.initializers.GlorotUniform(1))]
    )
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True, **arguments)
    return model


def teacher(outputs=3, loss=LOGITS):
    """Of one linear member, which a linear student can equal."""
    ensemble = khe.HyperDeepEnsemble([student(outputs, loss)])
    ensemble.run_eagerly = True
    return ensemble


def distance_after_a_step(ensemble, start, **arguments):
    """How far one step takes a student from its weights."""
    model = student(start[1].shape[0], ensemble.members[0].loss)
    model.set_weights(start)
    khe.distill(ensemble, model, X, batch_size=len(X), verbose=0, **arguments)
    return max(np.abs(now - before).max() for now, before in zip(model.get_weights(), start, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_student_equal_to_its_calibrated_teacher_stays(temperature):
    """So the loss is lowest there: it is convex in the weights of a linear student."""
    ensemble = teacher()
    ensemble._set_temperatures(Temperatures("ensemble", (1.6,)))
    weights = ensemble.members[0].get_weights()
    calibrated = [weight / 1.6 for weight in weights]
    assert distance_after_a_step(ensemble, calibrated, temperature=temperature) < 1e-6
    assert distance_after_a_step(ensemble, weights, temperature=temperature) > 1e-3


@pytest.mark.parametrize(("outputs", "loss"), [(2, GAUSSIAN), (2, "mse"), (2, khe.losses.Quantile((0.1, 0.9)))])
def test_a_student_of_a_regression_equal_to_its_teacher_stays(outputs, loss):
    ensemble = teacher(outputs, loss)
    weights = ensemble.members[0].get_weights()
    assert distance_after_a_step(ensemble, weights) < 1e-6
    assert distance_after_a_step(ensemble, [weight / 2 for weight in weights]) > 1e-3


def test_concentrations_have_the_variance_of_the_members():
    members = GENERATOR.dirichlet(np.ones(4), size=(5, 20)).astype("float32")
    members[:, 0] = members[0, 0]  # no differences
    members[:, 1] = np.eye(4)[2]  # nor here, all certain
    weights = [1.0, 2.0, 1.0, 1.0, 0.0]
    mean = np.average(members, 0, weights)
    total = np.average((members - mean) ** 2, 0, weights).sum(-1)
    logs = ops.convert_to_numpy(log_concentration(members, weights))
    np.testing.assert_allclose(np.exp(logs[:2]), 1e4, rtol=1e-3)
    logits = np.log(mean[2:]) + logs[2:, None]
    found = ops.convert_to_numpy(uncertainty.dirichlet_variance(logits))
    np.testing.assert_allclose(found.sum(-1), total[2:], rtol=1e-4)
    draws = np.stack([GENERATOR.dirichlet(np.exp(each), 20_000).var(0) for each in logits[:3]])
    np.testing.assert_allclose(found[:3], draws, rtol=0.1)


def identity(size=6):
    """A network with free logits for each of `size` samples, the rows of the identity matrix."""
    model = keras.Sequential([keras.Input((size,)), keras.layers.Dense(3, use_bias=False)])
    model.compile(keras.optimizers.Adam(0.1), LOGITS)
    return model


@pytest.mark.integration
def test_a_student_learns_the_mean_and_the_spread_of_members():
    keras.utils.set_random_seed(0)
    ensemble, x = khe.HyperDeepEnsemble([identity() for _ in range(4)]), np.eye(6, dtype="float32")
    for member in ensemble.members:
        member.set_weights([GENERATOR.normal(size=(6, 3))])
    ensemble.calibrate(x, np.arange(6) % 3, verbose=0)
    rows = np.tile(x, (2000, 1))  # an epoch has 2,000 steps
    model = khe.distill(ensemble, identity(), rows, spread=True, batch_size=6, shuffle=False, verbose=0)
    logits, members = model.predict(x, verbose=0), ensemble.predict_members(x, verbose=0)
    mean = ensemble.predict(x, verbose=0)
    np.testing.assert_allclose(ops.softmax(logits), mean, atol=5e-3)
    concentrations = np.log(np.exp(logits).sum(-1))
    np.testing.assert_allclose(concentrations, log_concentration(members, None), atol=0.05)
    plain = khe.distill(ensemble, identity(), x, epochs=1, verbose=0).predict(x, verbose=0)
    assert np.abs(np.log(np.exp(plain).sum(-1)) - concentrations).max() > 0.5


def test_labels_with_a_spread_are_those_of_batches():
    ensemble = deep()
    (_, of_arrays), _ = _with_predictions(ensemble, X, None, spread=True)
    (dataset,), spec = _with_predictions(ensemble, tf.data.Dataset.from_tensor_slices(X).batch(16), None, spread=True)
    assert of_arrays.shape == (48, 4) and spec.shape[-1] == 4
    of_batches = np.concatenate([labels.numpy() for _, labels in dataset])
    np.testing.assert_allclose(of_batches, of_arrays, rtol=1e-3, atol=1e-5)


def test_all_but_the_weights_stays_as_it_was():
    ensemble, metric = deep(), keras.metrics.SparseCategoricalAccuracy()
    before = [weight.numpy() for weight in ensemble.weights]
    model = student(metrics=[metric])
    optimizer = model.optimizer
    assert khe.distill(ensemble, model, X, epochs=2, validation_split=0.25, verbose=0) is model
    assert model.loss is LOGITS and model.optimizer is optimizer and model.run_eagerly
    assert set(model.history.history) == {"loss", "val_loss"}
    assert len(model.evaluate(X, np.zeros(48, int), verbose=0)) == 2
    for weight, value in zip(ensemble.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert all(member.trainable for member in ensemble.members)


def test_datasets_and_weights():
    """A dataset of samples and labels, of which the labels do not count, is the same as arrays."""
    ensemble, weights = deep(), GENERATOR.uniform(0, 2, 48).astype("float32")
    how = {"epochs": 2, "shuffle": False, "verbose": 0}
    of_arrays = khe.distill(ensemble, student(), X, batch_size=16, sample_weight=weights, **how)
    dataset = tf.data.Dataset.from_tensor_slices((X, np.zeros(48), weights)).batch(16)
    of_dataset = khe.distill(ensemble, student(), dataset, **how)
    without = khe.distill(ensemble, student(), tf.data.Dataset.from_tensor_slices(X).batch(16), **how)
    for found, expected, other in zip(of_dataset.weights, of_arrays.weights, without.weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(other - expected).max() > 1e-3


def test_several_outputs():
    def network():
        inputs = keras.Input((4,))
        outputs = {"label": keras.layers.Dense(3)(inputs), "size": keras.layers.Dense(1)(inputs)}
        model = keras.Model(inputs, outputs)
        weights = {"label": 1.0, "size": 0.0}  # of labels, which are not there
        model.compile("sgd", {"label": LOGITS, "size": "mse"}, loss_weights=weights, run_eagerly=True)
        return model

    member, model, other = network(), network(), network()
    ensemble = khe.HyperDeepEnsemble([member])
    ensemble.run_eagerly = True
    model.set_weights(member.get_weights())
    before = other.get_weights()
    for each in (model, other):
        khe.distill(ensemble, each, X, temperature=2, verbose=0)
    for found, expected in zip(model.get_weights(), member.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    moved = [np.abs(now - old).max() for now, old in zip(other.get_weights(), before, strict=True)]
    assert min(moved) > 1e-4


@pytest.mark.parametrize(
    ("make", "how", "error", "says"),
    [
        (lambda: "network", {}, TypeError, "`student` must be a Keras model. Received: student='network'"),
        (lambda: keras.Sequential([keras.Input((4,))]), {}, ValueError, "must be compiled.*compiled=False, loss=None"),
        (student, {"temperature": 0}, ValueError, "positive number. Received: temperature=0"),
        (student, {"temperature": "high"}, ValueError, "positive number. Received: temperature='high'"),
        (student, {"y": X}, TypeError, r"remove other labels.*validation_split`. Received: \['y'\]"),
        (student, {"validation_data": (X, X)}, TypeError, r"Received: \['validation_data'\]"),
        (lambda: student(3, "mse"), {}, ValueError, r"a student of \['values'\], an ensemble of \['probabilities of"),
    ],
)
def test_bad_arguments(make, how, error, says):
    with pytest.raises(error, match=says):
        khe.distill(deep(), make(), X, **how)


def test_what_cannot_be_labeled_or_tempered_is_refused():
    with pytest.raises(TypeError, match="must be arrays or a `tf.data.Dataset`. Received: x of type generator"):
        khe.distill(deep(), student(), (X for _ in range(3)))
    with pytest.raises(ValueError, match="Only class probabilities have a temperature.*temperature=2 for outputs of"):
        khe.distill(teacher(2, "mse"), student(2, "mse"), X, temperature=2)
    with pytest.raises(ValueError, match="`spread` must be True or False. Received: spread='yes'"):
        khe.distill(deep(), student(), X, spread="yes")
    with pytest.raises(ValueError, match="at least two members. Received: an ensemble of one"):
        khe.distill(teacher(), student(), X, spread=True)
    two = khe.HyperDeepEnsemble([student(2, "mse"), student(2, "mse")])
    with pytest.raises(ValueError, match="`spread` requires a student of classes with logits.*student of values"):
        khe.distill(two, student(2, "mse"), X, spread=True)
    for no_ensemble in (student(), "e.keras"):
        with pytest.raises(TypeError, match="`ensemble` must be an ensemble of this package. Received: ensemble="):
            khe.distill(no_ensemble, student(), X)
    network = student()
    before = network.get_weights()
    with pytest.raises(ValueError, match="predictions of the ensemble must be finite"):
        khe.distill(deep(), network, np.full_like(X, np.nan))
    np.testing.assert_array_equal(network.get_weights()[0], before[0])
