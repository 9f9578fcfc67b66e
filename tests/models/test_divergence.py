"""Members that diverge: left out of a step, or for good, and in nobody's way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from tests.models.networks import LOGITS
from tests.models.networks import M
from tests.models.networks import blobs

B = 12


def ensemble_of(sharing, layers=(), same_initialization=False, optimizer="adam", **compiled):
    keras.utils.set_random_seed(0)
    members = {"ensemble_size": M, "sharing": sharing, "same_initialization": same_initialization}
    network = keras.Sequential(
        [
            keras.Input((4,)),
            khe.HyperBatchDense(5, activation="tanh", kernel_l2=1e-3, **members),
            *layers,
            khe.HyperBatchDense(3, **members),
        ]
    )
    ensemble = khe.HyperBatchEnsemble(network, ensemble_size=M, seed=0)
    ensemble.compile(optimizer, LOGITS, **{"member_rows": "same", **compiled})
    return ensemble


def spoil(ensemble, member, value=np.nan):
    """Makes the member's outputs infinite."""
    bias = ensemble.network.layers[-1].bias
    values = np.array(bias)
    values[member] = value
    bias.assign(values)


def state_of(ensemble, member):
    variables = [*ensemble.network.trainable_variables, *ensemble.optimizer.variables]
    return [np.array(each)[member] for each in variables if each.shape[:1] == (M,)]


def check_equal(left, right):
    assert left and len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("eagerly", [True, pytest.param(False, marks=pytest.mark.integration)])
@pytest.mark.parametrize("same_initialization", [False, True])
def test_an_independent_member_is_left_out_of_a_step_and_the_others_take_it(same_initialization, eagerly):
    x, y = blobs(B)
    bad = x.copy()
    bad[B // M + 1, 2] = np.nan  # a row of member 1
    healthy, other = (
        ensemble_of("independent", (), same_initialization, member_rows="split", run_eagerly=eagerly) for _ in range(2)
    )
    for ensemble in (healthy, other):
        ensemble.fit(x, y, batch_size=B, shuffle=False, verbose=0)
    before = state_of(other, 1)
    healthy.fit(x, y, batch_size=B, shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match=r"0 of 1 steps skipped; .*\{1: 1\}"):
        loss = other.fit(bad, y, batch_size=B, shuffle=False, verbose=0).history["loss"][0]
    check_equal(state_of(other, 1), before)
    for member in (0, 2):
        check_equal(state_of(other, member), state_of(healthy, member))
    assert np.isfinite(loss) and other._members.living == [0, 1, 2]


@pytest.mark.parametrize("eagerly", [True, pytest.param(False, marks=pytest.mark.integration)])
def test_where_members_share_a_kernel_a_step_is_skipped(eagerly):
    x, y = blobs(2 * B)
    bad = x.copy()
    bad[B + B // M + 1, 2] = np.nan
    ensemble = ensemble_of("batch", [keras.layers.BatchNormalization()], member_rows="split", run_eagerly=eagerly)
    ensemble.fit(x[:B], y[:B], batch_size=B, shuffle=False, verbose=0)
    once = ensemble_of("batch", [keras.layers.BatchNormalization()], member_rows="split", run_eagerly=eagerly)
    once.set_weights(ensemble.get_weights())
    for left, right in zip(once.optimizer.variables, ensemble.optimizer.variables, strict=True):
        left.assign(right)
    once.fit(x[:B], y[:B], batch_size=B, shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match="1 of 2 steps skipped"):
        loss = ensemble.fit(bad, y, batch_size=B, shuffle=False, verbose=0).history["loss"][0]
    assert np.isfinite(loss) and ensemble._members.living == [0, 1, 2]
    check_equal(once.network.get_weights(), ensemble.network.get_weights())
    check_equal(list(map(np.array, once.optimizer.variables)), list(map(np.array, ensemble.optimizer.variables)))


@pytest.mark.filterwarnings("ignore:In some steps")
def test_a_member_that_stays_infinite_is_frozen_at_its_last_weights():
    x, y = blobs(24)
    healthy, other = (ensemble_of("independent", run_eagerly=True) for _ in range(2))
    before = [np.array(each)[1] for each in other.network.trainable_variables]
    spoil(other, 1, np.inf)
    healthy.fit(x, y, batch_size=B, epochs=8, shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match=r"excluded from predictions.*members \[1\] of 3"):
        losses = other.fit(x, y, batch_size=B, epochs=8, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and other.left_out == (1,)
    for member in (0, 2):
        check_equal(state_of(other, member), state_of(healthy, member))
    after = [np.array(each)[1] for each in other.network.trainable_variables]
    check_equal(after[:-1], before[:-1])
    members = healthy.predict_members(x, verbose=0)
    np.testing.assert_array_equal(other.predict_members(x, verbose=0), members[[0, 2]])
    np.testing.assert_allclose(other.predict(x, verbose=0), members[[0, 2]].mean(0), rtol=1e-5)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:In some steps")
@pytest.mark.parametrize("sharing", ["hyper", "batch"])
def test_a_member_with_shared_kernels_that_stays_infinite_is_left_out(sharing, tmp_path):
    space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
    members = {"ensemble_size": M, "space": space, "sharing": sharing}
    network = keras.Sequential(
        [
            keras.Input((4,)),
            khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", **members),
            khe.HyperBatchDense(3, kernel_l2="l2", **members),
        ]
    )
    ensemble = khe.HyperBatchEnsemble(network, seed=0)
    ensemble.compile("adam", LOGITS, metrics=["accuracy"])
    (x, y), tuning = blobs(120), blobs(30)
    factor = network.layers[0].r
    factor.assign(np.array(factor) * np.array([[1.0], [1e38], [1.0]]))
    arguments = {"batch_size": B, "epochs": 4, "verbose": 0, "tuning_data": tuning, "validation_data": tuning}
    with pytest.warns(UserWarning, match="members \\[1\\] of 3"):
        history = ensemble.fit(
            x, y, **(arguments if sharing == "hyper" else {**arguments, "tuning_data": None})
        ).history
    assert ensemble.left_out == (1,) and np.isfinite(history["loss"][1:]).all()
    assert np.isfinite(history["val_loss"]).all() and history["loss"][-1] < history["loss"][1]
    assert all(np.isfinite(each).all() for each in ensemble.get_weights())
    predictions, each = ensemble.predict(x, verbose=0), ensemble.predict_members(x, verbose=0)
    assert each.shape == (2, 120, 3)
    assert np.isfinite(ensemble.predict_uncertainty(x, verbose=0)["mutual_information"]).all()
    with pytest.raises(ValueError, match=r"Members \[1\] diverged"):
        ensemble.member(1)
    np.testing.assert_allclose(keras.ops.softmax(ensemble.member(2).predict(x, verbose=0)), each[1], atol=1e-5)
    ensemble.save(tmp_path / "e.keras")
    loaded = keras.saving.load_model(tmp_path / "e.keras")
    assert loaded._members.living == [0, 2]
    np.testing.assert_allclose(loaded.predict(x, verbose=0), predictions, rtol=1e-5)
    for folded in (True, False):
        ensemble.export(str(tmp_path / "served"), folded=folded)
        served = tf.saved_model.load(str(tmp_path / "served")).signatures
        np.testing.assert_allclose(served["serving_default"](tf.constant(x))["prediction"], predictions, atol=1e-5)
        assert served["uncertainty"](tf.constant(x))["members"].shape == (120, 2, 3)
    ensemble.calibrate(*tuning, per="member", verbose=0)
    assert len(ensemble.temperatures.values[0]) == 2
    ensemble.fit(x, y, **{**arguments, "epochs": 1})  # not a word, and nobody comes back
    assert ensemble.left_out == (1,)


@pytest.mark.filterwarnings("ignore:In some steps")
@pytest.mark.parametrize("sharing", ["independent", "batch"])
def test_the_loss_of_the_combined_prediction_names_nobody_but_outputs_do(sharing):
    x, y = blobs(24)
    ensemble = ensemble_of(sharing, member_loss="ensemble", run_eagerly=True)
    spoil(ensemble, 2)
    with pytest.warns(UserWarning, match=r"members \[2\] of 3"):
        losses = ensemble.fit(x, y, batch_size=B, epochs=8, verbose=0).history["loss"]
    assert ensemble.left_out == (2,) and losses[-1] < losses[-2] and np.isfinite(ensemble.predict(x, verbose=0)).all()


def test_infinite_statistics_of_all_members_are_never_taken_over():
    x, y = blobs(B)
    ensemble = ensemble_of("batch", [keras.layers.BatchNormalization()], run_eagerly=True)
    first = ensemble.network.layers[0]
    first.activation = keras.activations.linear
    first.kernel.assign(np.array(first.kernel) * 1e25)  # the variance of the outputs is infinite
    with pytest.warns(UserWarning, match="training stops"):
        epochs = ensemble.fit(x, y, batch_size=B, epochs=5, verbose=0).epoch
    assert epochs == [0] and all(np.isfinite(each).all() for each in ensemble.get_weights())


def test_if_nobody_is_finite_no_member_is_at_fault_and_training_stops():
    x, y = blobs(B)
    ensemble = ensemble_of("independent", run_eagerly=True)
    before = ensemble.network.get_weights()
    with pytest.warns(UserWarning, match=r"training stops.*loss=nan in epoch 1"):
        ensemble.fit(x * np.nan, y, batch_size=B, epochs=3, verbose=0)
    check_equal(ensemble.network.get_weights(), before)
    assert ensemble.left_out == ()


def test_the_last_member_stays():
    ensemble = ensemble_of("independent")
    ensemble.leave_out([0])
    with pytest.raises(ValueError, match=r"members=\[1, 2\], excluded before: \[0\]"):
        ensemble.leave_out([1, 2])
    with pytest.raises(ValueError, match=r"members=\[7\]"):
        ensemble.leave_out([7])
