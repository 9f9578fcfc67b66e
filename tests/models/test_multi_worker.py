"""Two workers on loopback train as one device does, end when one of them dies, and continue from their backups.

`one_worker.py` is what a worker runs. Every wait has an end, and every process is ended by its number.
"""

import json
import os
import signal
import socket
import time

import keras
import numpy as np
import pytest

from tests.forked import Forked
from tests.limit import LIMIT
from tests.models import one_worker
from tests.models import two_replicas

pytestmark = pytest.mark.integration

repeated = pytest.mark.parametrize("repetition", range(int(os.environ.get("REPETITIONS", 1))))


def free_ports(number):
    """Ports that nobody listens on just now, all different."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(phase, directory):
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": ""}
        workers.append(Forked("tests.models.one_worker", [phase, directory], environment))
    return workers


def run_workers(phase, directory):
    """Exit codes of two workers, and what they wrote of their errors."""
    workers, deadline = start_workers(phase, directory), time.monotonic() + LIMIT
    try:
        errors = [worker.communicate(max(deadline - time.monotonic(), 0.1))[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [worker.returncode for worker in workers], errors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("workers")
    codes, errors = run_workers("undisturbed", directory)
    assert codes == [0, 0], errors[0][-3000:] + errors[1][-3000:]
    return directory


def equal(left, right, **tolerance):
    assert set(left) == set(right)
    for name in left:
        np.testing.assert_allclose(right[name], left[name], err_msg=name, **tolerance)


def results(directory, name):
    return [dict(np.load(directory / f"{name}-{index}.npz")) for index in range(2)]


def test_two_workers_train_evaluate_and_predict_as_one_device_does(undisturbed, monkeypatch):
    keras.utils.set_random_seed(0)
    for step in (two_replicas.weight_step, two_replicas.tuning_step):
        monkeypatch.setattr(step, "draw", two_replicas.same_draws)
    model, history = two_replicas.train_member()
    rows = two_replicas.X_VALIDATION
    members = model.predict_members(rows, verbose=0)
    one_worker.write(undisturbed / "here", model, history, predict=model.predict(rows, verbose=0), members=members)
    here = dict(np.load(undisturbed / "here.npz"))
    for worker in results(undisturbed, "member"):
        here["log_val_members"] = worker["log_val_members"]  # as in test_replicas.py
        equal(here, worker, rtol=1e-5, atol=1e-6)


def test_workers_stay_equal(undisturbed):
    equal(*results(undisturbed, "undisturbed"), rtol=0)


def test_a_plain_keras_model_prepared_as_the_guide_says_trains_as_on_one_device(undisturbed):
    """`docs/distributed.md` has the class; `one_worker.py` runs it as it stands there."""
    keras.utils.set_random_seed(0)
    model, history = one_worker.train_plain()
    one_worker.write(undisturbed / "plain-here", model, history)
    for worker in results(undisturbed, "plain"):
        equal(dict(np.load(undisturbed / "plain-here.npz")), worker, rtol=1e-5, atol=1e-6)


def check_fault(directory, undisturbed):
    """Kills a worker in the middle of an epoch, starts both again, and compares with what nobody disturbed."""
    codes, errors = run_workers("killed", directory)
    assert codes[1] == -signal.SIGKILL
    assert codes[0] not in (0, -signal.SIGKILL), errors[0][-3000:]
    assert "A worker was lost" in errors[0], errors[0][-3000:]
    codes, errors = run_workers("restored", directory)
    assert codes == [0, 0], errors[0][-3000:] + errors[1][-3000:]
    for before, after in zip(results(undisturbed, "undisturbed"), results(directory, "restored")):
        logs = [name for name in before if name.startswith("log_")]
        assert {len(after[name]) for name in logs} == {2}  # two epochs were in the backup
        before.update({name: before[name][2:] for name in logs})
        equal(before, after, rtol=0, atol=0)


@repeated
def test_a_worker_that_dies_ends_the_job_and_backups_continue_it_as_if_nothing_had_been(
    repetition, undisturbed, tmp_path
):
    check_fault(tmp_path, undisturbed)


@repeated
def test_workers_that_would_start_from_different_steps_say_so(repetition, tmp_path):
    """As with backups of different epochs, when one of them was cut off before it had written the last."""
    codes, errors = run_workers("apart", tmp_path)
    assert all(code not in (0, -signal.SIGKILL) for code in codes), codes
    for error in errors:
        assert "must start from the same step" in error, error[-3000:]
