"""The reference of both ensembles: its measures, its files, and when it is forgotten."""

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from keras_hyperens import uncertainty
from tests.models.networks import LOGITS
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network

X, Y = blobs(200)


def hyper_batch():
    keras.utils.set_random_seed(0)
    return compiled(dense_network(), run_eagerly=True)


def deep(outputs=3, loss=LOGITS):
    def member():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(outputs)])
        model.compile("sgd", loss)
        return model

    keras.utils.set_random_seed(0)
    ensemble = khe.HyperDeepEnsemble([member() for _ in range(3)])
    ensemble.run_eagerly = True
    return ensemble


@pytest.mark.parametrize("make", [hyper_batch, deep])
def test_measures_files_and_drift(make, tmp_path):
    ensemble = make()
    reference = ensemble.set_reference(X[:120], verbose=0)
    p = ensemble.predict_members(X[:120], verbose=0)
    for name, values in zip(reference.measures, reference.values, strict=True):
        np.testing.assert_allclose(values, np.sort(getattr(uncertainty, name)(p)), atol=1e-5)
    assert reference.measures == ("predictive_entropy", "mutual_information", "disagreement")
    same, strange = ensemble.detect_drift(X[120:], verbose=0), ensemble.detect_drift(20 * X[120:] + 50, verbose=0)
    assert not same.alarm and strange.alarm and same.samples == 80
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    assert loaded.reference == ensemble.reference == reference
    with pytest.raises(ValueError, match="Call `conformalize` or `abstain`"):  # a reference decides nothing
        ensemble.decide(X)
    ensemble.calibrate(X, Y, verbose=0)
    assert ensemble.reference is None
    with pytest.raises(ValueError, match="Call `set_reference` on held-out data first"):
        ensemble.detect_drift(X)


@pytest.mark.parametrize("kind", ["gaussian", "values", "questions"])
def test_other_outputs(kind):
    loss, width = {
        "gaussian": (khe.losses.GaussianNegativeLogLikelihood(), 4),
        "values": ("mse", 2),
        "questions": (keras.losses.BinaryCrossentropy(from_logits=True), 2),
    }[kind]
    ensemble = deep(width, loss)
    reference = ensemble.set_reference(X, verbose=0)
    names = {"gaussian": ("total_variance", "aleatoric_variance", "epistemic_variance"), "values": ("variance",)}
    assert reference.measures == names.get(kind, ("predictive_entropy", "mutual_information", "disagreement"))
    first = ensemble.predict_uncertainty(X, [reference.measures[0]], verbose=0)[reference.measures[0]]
    np.testing.assert_allclose(reference.values[0], np.sort(first.mean(-1)), atol=1e-5)


def test_padding_does_not_count():
    tokens = np.random.default_rng(0).integers(1, 9, (40, 5))
    tokens[:, 3:] = 0
    model = keras.Sequential([keras.Input((5,)), keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.Dense(3)])
    model.compile("sgd", LOGITS)
    ensemble = khe.HyperDeepEnsemble([model])
    ensemble.run_eagerly = True
    values = ensemble.set_reference(tokens, verbose=0).values[0]
    entropy = ensemble.predict_uncertainty(tokens, ["predictive_entropy"], verbose=0)["predictive_entropy"]
    np.testing.assert_allclose(values, np.sort(entropy[:, :3].mean(1)), atol=1e-5)
