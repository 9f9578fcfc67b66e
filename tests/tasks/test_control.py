"""Agents: a policy from demonstrations, and one from rewards."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_hyperens as khe
from tests.tasks.contract import L2
from tests.tasks.contract import M
from tests.tasks.contract import task_contract


def policy():
    """From the positions of an agent and of its goal on a plane, logits of right, left, up and down."""
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(24, activation="tanh"), layers.Dense(24, activation="tanh"), layers.Dense(4)]
    )


def situations(rows=256, seed=0):
    """Situations, and the action that leads to the goal."""
    generator = np.random.default_rng(seed)
    states = generator.uniform(-1, 1, (rows, 4)).astype("float32")
    way = states[:, 2:] - states[:, :2]
    axis = np.argmax(np.abs(way), axis=1)
    return states, 2 * axis + (way[np.arange(rows), axis] < 0)


@pytest.mark.integration
def test_from_demonstrations(tmp_path):
    model = policy()
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    states, right = situations()
    is_expert = np.arange(len(states)) % 4 > 0
    demonstrated = np.where(is_expert, right, 0)  # a novice just goes right, and counts little
    task_contract(ensemble, states, demonstrated, tmp_path, 15, sample_weight=np.where(is_expert, 1.0, 0.1))
    assert (ensemble.predict(states, verbose=0).argmax(1) == right).mean() > 0.7  # by chance 0.25


@keras.saving.register_keras_serializable("tests")
def policy_gradient(y_true, y_pred):
    """Of actions and what they returned, packed together."""
    actions, returns = ops.cast(y_true[:, 0], "int32"), y_true[:, 1]
    return keras.losses.sparse_categorical_crossentropy(actions, y_pred, from_logits=True) * returns


@pytest.mark.integration
def test_from_rewards(tmp_path):
    ensemble = khe.HyperBatchEnsemble.from_model(policy(), roles=L2, ensemble_size=M, output_activation="softmax")
    ensemble.compile(keras.optimizers.Adam(0.01), policy_gradient)
    states, right = situations()
    actions = np.random.default_rng(1).integers(0, 4, len(states))  # explored at random
    returns = np.where(actions == right, 1.0, 0.0)
    task_contract(ensemble, states, np.stack([actions, returns], axis=1).astype("float32"), tmp_path, epochs=25)
    assert (ensemble.predict(states, verbose=0).argmax(1) == right).mean() > 0.6  # by chance 0.25
