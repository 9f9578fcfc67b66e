"""Likelihoods in files and records."""

import dataclasses
import json

import keras
import pytest

import keras_hyperens as khe
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Value
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.pool import Pool


def model():
    inputs = keras.Input((3,))
    outputs = {
        "a": keras.layers.Dense(2)(inputs),
        "b": keras.layers.Dense(2)(inputs),
        "c": keras.layers.Dense(1)(inputs),
    }
    made = keras.Model(inputs, outputs)
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("sgd", {"a": classes, "b": khe.losses.GaussianNegativeLogLikelihood(), "c": "mse"})
    return made


@pytest.mark.parametrize("kind", [khe.HyperDeepEnsemble, khe.HyperBatchEnsemble])
def test_likelihoods_come_back_from_configurations(kind):
    is_deep = kind is khe.HyperDeepEnsemble
    ensemble = kind([model(), model()]) if is_deep else kind.from_model(model(), ensemble_size=2)
    loaded = kind.from_config(json.loads(json.dumps(ensemble.get_config())))
    expected = {"a": Categorical(from_logits=True), "b": Gaussian(), "c": Value()}
    assert ensemble.likelihoods == loaded.likelihoods == expected
    assert not is_deep or loaded.member_likelihoods == [expected, expected]


def test_likelihoods_come_back_from_records_of_a_search(tmp_path):
    candidate = Candidate("search-0000", "search", {}, 0, "search-0000", likelihoods=("softmax", None))
    Pool(tmp_path).add(candidate)
    assert dataclasses.asdict(Pool(tmp_path).find("search-0000")) == dataclasses.asdict(candidate)
