"""Two replicas on one machine do what one device does; `two_replicas.py` trains, in a process of its own."""

import json
import os

import keras
import numpy as np
import pytest

from tests.forked import Forked
from tests.limit import LIMIT
from tests.models.two_replicas import X_VALIDATION

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("replicas")
    process = Forked("tests.models.two_replicas", [directory], os.environ)
    _, errors = process.communicate(LIMIT)
    assert process.returncode == 0, errors[-3000:]
    return directory, json.loads((directory / "results.json").read_text())


@pytest.mark.parametrize("case", ["member", "example", "plain"])
def test_two_replicas_on_half_batches_equal_one_device_on_whole_ones(case, trained):
    """Weights, bounds, both optimizers and predictions; a plain model with L2 shows that Keras means the same."""
    directory, results = trained
    one, two = (np.load(directory / f"{case}-{where}.npz") for where in ("one", "two"))
    assert set(one) == set(two) and len(one) > 10
    for name in one:
        # One device updates by fused operations, which round otherwise.
        np.testing.assert_allclose(two[name], one[name], rtol=2e-4, atol=1e-6, err_msg=name)
    assert results[case]["copies_differ"] == []


@pytest.mark.parametrize("case", ["member", "example", "plain"])
def test_two_replicas_log_what_one_device_logs(case, trained):
    """Also where the replicas' last batches of validation have different numbers of rows."""
    one, two = (trained[1][case][where] for where in ("one", "two"))
    assert set(one) == set(two)
    if case == "member":
        names = {"loss", "accuracy", "weighted", "members", "gibbs_loss"}
        assert set(one) == {*names, "tuning_loss", "entropy", *(f"val_{name}" for name in names)}
    for name in set(one) - {"val_members"}:  # Keras' own metrics weigh batches, not rows, of predictions [M, B, C]
        np.testing.assert_allclose(two[name], one[name], rtol=2e-4, err_msg=name)


def test_every_replica_draws_its_own_hyperparameters_and_trains_the_same_weights(trained):
    results = trained[1]["own_draws"]
    first, second = map(np.array, results["draws"])
    assert (np.abs(first / second - 1) > 1e-4).all()
    assert results["loss"][-1] < results["loss"][0]
    assert results["iterations"] == [4, 4]
    assert results["copies_differ"] == []


def test_a_tuning_gradient_that_one_replica_breaks_is_left_out_by_both(trained):
    results = trained[1]["float32"]
    assert results["moved"] == 0 and results["weights_changed"] and results["finite"]
    assert np.isfinite(results["tuning_loss"])  # of the other replica
    assert results["copies_differ"] == []


def test_under_mixed_precision_a_step_that_overflows_on_one_replica_is_skipped_by_both(trained):
    results = trained[1]["mixed_float16"]
    assert results["moved"] < 1e-6 and not results["weights_changed"] and results["finite"]
    assert results["scales"] == [2.0**14] * 2  # halved once
    assert results["copies_differ"] == []


def test_what_a_strategy_saved_loads_without_one(trained):
    directory, _ = trained
    predicted = np.load(directory / "member-two.npz")["predict"]
    loaded = {where: keras.models.load_model(directory / f"{where}.keras") for where in ("one", "two")}
    np.testing.assert_allclose(loaded["two"].predict(X_VALIDATION, batch_size=16, verbose=0), predicted, atol=1e-6)
    for part in ("optimizer", "tuning_optimizer"):
        states = [getattr(loaded[where], part).variables for where in ("one", "two")]
        for left, right in zip(*states, strict=True):
            np.testing.assert_allclose(right, left, rtol=1e-5, atol=1e-6, err_msg=left.path)
    assert int(loaded["two"].step) == 12
