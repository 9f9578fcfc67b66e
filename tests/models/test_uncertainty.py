"""What both ensembles say besides a prediction: measures, combinations, temperatures, response curves."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens import uncertainty
from keras_hyperens.calibration.member_weights import PRIOR_ROWS
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.uncertainty import by_kind
from tests.models.eagerly import eagerly_first
from tests.models.networks import LOGITS
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network
from tests.models.networks import members
from tests.serving import predicted_elsewhere

X, Y = blobs()
GAUSSIAN = khe.losses.GaussianNegativeLogLikelihood()


def trained(network=None, **arguments):
    ensemble = compiled(network or dense_network(), run_eagerly=True, **arguments)
    ensemble.fit(X, Y, tuning_split=0.25, epochs=3, verbose=0)
    return ensemble


def deep():
    def member(units):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), LOGITS, run_eagerly=True)
        model.fit(X, Y, epochs=3, verbose=0)
        return model

    ensemble = khe.HyperDeepEnsemble([member(3), member(5), member(8)], member_weights=[1, 2, 1])
    ensemble.run_eagerly = True
    return ensemble


@pytest.fixture(scope="module")
def ensembles():
    """They predict eagerly: graphs are the exports, below, and those of tests/uncertainty/test_measures.py."""
    return {"hyper-batch": trained(), "hyper-deep": deep()}


KINDS = ("hyper-batch", "hyper-deep")


def served(ensemble, directory):
    ensemble.export(directory / "served")
    loaded = tf.saved_model.load(directory / "served")  # its variables live as long as it does
    return loaded.serve(X)


def raw_members(ensemble):
    return np.asarray(ensemble._member_outputs(X, training=False))


@pytest.mark.parametrize("kind", [pytest.param("hyper-batch", marks=pytest.mark.integration), "hyper-deep"])
def test_every_measure_by_name_in_predict_and_export(kind, ensembles, tmp_path):
    ensemble = ensembles[kind]
    names = [measure.__name__ for measure in by_kind.OF_PROBABILITIES]
    described = ensemble.predict_uncertainty(X, names, batch_size=17, verbose=0)
    assert set(described) == {"prediction", *names}
    each, weights = ensemble.predict_members(X, verbose=0), ensemble.member_weights
    np.testing.assert_allclose(described["prediction"], ensemble.predict(X, verbose=0), atol=1e-6)
    for measure in by_kind.OF_PROBABILITIES:
        of = raw_members(ensemble) if measure is uncertainty.energy else each
        np.testing.assert_allclose(described[measure.__name__], measure(of, weights), atol=2e-5)
    ensemble.export(tmp_path / "served", measures=names)
    served = tf.saved_model.load(tmp_path / "served").signatures["uncertainty"](inputs=tf.constant(X[:5]))
    for name in names:
        np.testing.assert_allclose(served[name], described[name][:5], atol=2e-5)


def test_defaults_functions_and_unknown_measures(ensembles):
    ensemble = ensembles["hyper-batch"]
    usual = ensemble.predict_uncertainty(X, verbose=0)
    assert set(usual) == {"prediction", "predictive_entropy", "expected_entropy", "mutual_information"}

    def range_of_last(of_members, weights):
        return uncertainty.score_range(of_members, weights, classes=[2])

    own = ensemble.predict_uncertainty(X, [range_of_last, "margin"], verbose=0)
    np.testing.assert_allclose(
        own["range_of_last"], np.ptp(ensemble.predict_members(X, verbose=0)[..., 2], 0), atol=1e-6
    )
    with pytest.raises(ValueError, match="one of .*'predictive_entropy'.*Received: 'surprise'"):
        ensemble.predict_uncertainty(X, ["surprise"], verbose=0)
    assert ensemble.predict(X, verbose=0).shape == (len(X), 3)  # and predicting goes on as before


@pytest.mark.integration
def test_under_jit_compile():
    ensemble = compiled(dense_network(), jit_compile=True)
    names = ["mutual_information", "disagreement", "energy", "margin"]
    described = ensemble.predict_uncertainty(X, names, verbose=0)
    each = ensemble.predict_members(X, verbose=0)
    np.testing.assert_allclose(described["disagreement"], uncertainty.disagreement(each), atol=1e-5)
    np.testing.assert_allclose(described["mutual_information"], uncertainty.mutual_information(each), atol=1e-4)


def gaussian_ensemble():
    ensemble = khe.HyperBatchEnsemble(dense_network(2), **members(), seed=0)
    ensemble.compile("adam", GAUSSIAN, tune_temperature=False)
    return ensemble, X[:, :1] + np.random.default_rng(0).normal(0, 0.3, (len(X), 1)).astype("float32")


@eagerly_first
def test_gaussian_outputs(tmp_path):
    ensemble, targets = gaussian_ensemble()
    ensemble.fit(X, targets, tuning_split=0.25, verbose=0)
    assert ensemble.likelihoods == Gaussian()
    raw = raw_members(ensemble)
    means, variances = raw[..., :1], np.exp(2 * raw[..., 1:])
    each = ensemble.predict_members(X, verbose=0)
    np.testing.assert_allclose(each, np.concatenate([means, variances], -1), rtol=1e-4, atol=1e-5)
    total = variances.mean(0) + means.var(0)
    described = ensemble.predict_uncertainty(
        X, ["total_variance", "aleatoric_variance", "epistemic_variance", "prediction_interval"], verbose=0
    )
    np.testing.assert_allclose(
        described["prediction"], np.concatenate([means.mean(0), total], -1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(described["epistemic_variance"], means.var(0), rtol=1e-3, atol=1e-5)
    assert described["prediction_interval"].shape == (len(X), 1, 2)
    loss = -scipy.stats.norm.logpdf(targets, means.mean(0), np.sqrt(total)).mean()
    np.testing.assert_allclose(ensemble.evaluate(X, targets, verbose=0, return_dict=True)["loss"], loss, rtol=1e-4)
    found, scale = ensemble.calibrate(X, targets, verbose=0), ((targets - means.mean(0)) ** 2 / total).mean()
    np.testing.assert_allclose(found.values[0], (len(X) * scale + PRIOR_ROWS) / (len(X) + PRIOR_ROWS), rtol=1e-4)
    assert served(ensemble, tmp_path).shape == (len(X), 2)
    with pytest.raises(ValueError, match="by \"mean\". Received: combination='median'"):
        ensemble.likelihoods.combine(each, combination="median")


@pytest.mark.integration
def test_a_gaussian_export_loads_in_a_process_without_this_package(tmp_path):
    ensemble, targets = gaussian_ensemble()
    ensemble.fit(X, targets, tuning_split=0.25, verbose=0)
    predicted = ensemble.predict(X, verbose=0)
    np.testing.assert_allclose(predicted_elsewhere(ensemble, X, tmp_path), predicted, rtol=1e-4, atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("combination", ["median", ("trimmed_mean", 2)])
def test_hyper_batch_combinations_in_files_exports_and_losses(combination, tmp_path):
    ensemble = khe.HyperBatchEnsemble(dense_network(), **members(), combination=combination, seed=0)
    ensemble.compile("adam", LOGITS, tune_temperature=False, run_eagerly=True)
    ensemble.fit(X, Y, tuning_split=0.25, verbose=0)
    each, predicted = ensemble.predict_members(X, verbose=0), ensemble.predict(X, verbose=0)
    if combination == "median":
        expected = np.median(each, 0) / np.median(each, 0).sum(-1, keepdims=True)
    else:
        expected = np.asarray(uncertainty.trimmed_mean(each, n_outliers=2))
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    loss = ensemble.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(loss, -np.log(expected[np.arange(len(Y)), Y]).mean(), rtol=1e-4)
    ensemble.save(tmp_path / "e.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "e.keras").predict(X, verbose=0), predicted)
    np.testing.assert_allclose(served(ensemble, tmp_path), predicted, atol=1e-5)


def test_a_converted_model_takes_a_combination():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    random = keras.initializers.RandomNormal(1.0, 0.5, seed=0)
    ensemble = khe.HyperBatchEnsemble.from_model(
        model, sharing="batch", combination="median", output_activation=None, fast_weight_initializer=random
    )
    ensemble.run_eagerly = True
    each = np.asarray(ensemble._member_predictions(X))
    np.testing.assert_allclose(ensemble.predict(X, verbose=0), np.median(each, 0), atol=1e-6)


@pytest.mark.parametrize("combination", ["mode", ("median", 1), ("trimmed_mean", -1), ("trimmed_mean", 1.5), None])
def test_unknown_combinations_are_named(combination):
    with pytest.raises(ValueError, match="Received: combination="):
        khe.HyperBatchEnsemble(dense_network(), **members(), combination=combination)


@pytest.mark.parametrize(
    ("kind", "per"),
    [
        ("hyper-batch", "ensemble"),
        ("hyper-deep", "member"),
        pytest.param("hyper-batch", "member", marks=pytest.mark.integration),
        pytest.param("hyper-deep", "ensemble", marks=pytest.mark.integration),
    ],
)
def test_temperatures_lower_the_loss_and_are_kept(kind, per, ensembles, tmp_path):
    ensemble = ensembles[kind]
    if kind == "hyper-deep":
        ensemble.compile(loss=LOGITS, run_eagerly=True)
    before, raw = ensemble.evaluate(X, Y, verbose=0), raw_members(ensemble)
    temperatures = ensemble.calibrate(X, Y, per=per, verbose=0)
    weights = np.ones(3) if ensemble.member_weights is None else ensemble.member_weights
    if per == "member":
        scales = np.array(temperatures.values[0])[:, None, None]
        expected = np.average(scipy.special.softmax(raw / scales, -1), 0, weights)
    else:
        mean = np.average(scipy.special.softmax(raw, -1), 0, weights)
        expected = scipy.special.softmax(np.log(mean) / temperatures.values[0], -1)
    predicted = ensemble.predict(X, verbose=0)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    said = ensemble.predict_uncertainty(X, verbose=0)
    entropy = -(expected * np.log(expected)).sum(-1)
    np.testing.assert_allclose(said["predictive_entropy"], entropy, atol=1e-5)
    of_members = ensemble.predict_members(X, verbose=0)  # their disagreement is not the ensemble temperature's business
    information = uncertainty.mutual_information(of_members, ensemble.member_weights)
    np.testing.assert_allclose(said["mutual_information"], information, atol=1e-5)
    after = ensemble.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(after, -np.log(expected[np.arange(len(Y)), Y]).mean(), rtol=1e-4)
    assert per == "member" or after <= before + 1e-6
    ensemble.save(tmp_path / "e.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "e.keras").predict(X, verbose=0), predicted)
    np.testing.assert_allclose(served(ensemble, tmp_path), predicted, atol=1e-5)
    again = ensemble.calibrate(tf.data.Dataset.from_tensor_slices((X, Y)).batch(7), per=per, verbose=0)
    np.testing.assert_allclose(again.values[0], temperatures.values[0], rtol=1e-3)
    ensemble._set_temperatures(None)
    np.testing.assert_allclose(ensemble.evaluate(X, Y, verbose=0), before, rtol=1e-5)


@eagerly_first
def test_training_again_forgets_temperatures_and_bad_calls_are_named():
    ensemble = compiled()
    ensemble.calibrate(X, Y, verbose=0)
    ensemble.fit(X, Y, tuning_split=0.25, verbose=0)
    assert ensemble.temperatures is None
    with pytest.raises(ValueError, match="per='class'"):
        ensemble.calibrate(X, Y, per="class", verbose=0)
    with pytest.raises(ValueError, match="Labels are required"):
        ensemble.calibrate(tf.data.Dataset.from_tensor_slices(X).batch(8), verbose=0)
    with pytest.raises(ValueError, match=r"in \[0, 3\). Received: labels from 0 to 3"):
        ensemble.calibrate(X, np.minimum(Y + 1, 3) * (np.arange(len(Y)) > 0), verbose=0)
    values = compiled(dense_network(1), loss="mse")
    with pytest.raises(ValueError, match="an output of values"):
        values.calibrate(X, Y, verbose=0)


def test_response_curves_are_losses_at_other_hyperparameters(ensembles):
    ensemble = ensembles["hyper-batch"]
    curves = ensemble.response_curves(X, Y, points=3, batch_size=7)
    assert list(curves) == ["l2", "rate"]
    np.testing.assert_allclose(curves["l2"].values, [1e-6, np.sqrt(1e-7), 1e-1], rtol=1e-4)
    values = np.asarray(ensemble._members.values())
    for point, value in enumerate(curves["rate"].values):
        there = values.copy()
        there[..., 1] = value
        with khe.hyperparameter_scope(there, ensemble._members.centers()):
            each = scipy.special.softmax(np.asarray(ensemble._member_outputs(X, training=False), "float64"), -1)
        true = each[:, np.arange(len(Y)), Y]
        np.testing.assert_allclose(curves["rate"].members[:, point], -np.log(true).mean(1), rtol=1e-4)
        np.testing.assert_allclose(curves["rate"].losses[point], -np.log(true.mean(0)).mean(), rtol=1e-4)
    with pytest.raises(ValueError, match="points=1"):
        ensemble.response_curves(X, Y, points=1)
