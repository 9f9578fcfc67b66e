"""Losses of members and of the ensemble, against plain formulas."""

import keras
import numpy as np

from keras_hyperens import losses
from keras_hyperens.likelihoods import Categorical

LOGITS = np.random.default_rng(0).normal(0, 3, (4, 6, 5)).astype("float32")


def test_losses_of_members_and_of_the_ensemble():
    labels = np.arange(6) % 5
    probabilities = np.asarray(keras.ops.softmax(LOGITS))

    def nll(raw, member=0):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, raw)

    of_members = [-np.log(one[np.arange(6), labels]).mean() for one in probabilities]
    np.testing.assert_allclose(losses.member_loss(nll, LOGITS), np.mean(of_members), rtol=1e-5)
    of_ensemble = -np.log(probabilities.mean(0)[np.arange(6), labels]).mean()
    np.testing.assert_allclose(losses.ensemble_loss(nll, LOGITS, Categorical(from_logits=True)), of_ensemble, rtol=1e-5)
    assert of_ensemble < np.mean(of_members)  # Jensen
