"""Real processes: killed at any moment, and many at once."""

import os
import random
import signal
import socket
import subprocess
import threading
import time

import keras_tuner
import pytest

from keras_hyperens.search.pool import Pool
from tests.forked import Forked
from tests.limit import LIMIT
from tests.search.hosts import Hosts
from tests.search.hosts import result
from tests.search.problem import build_model
from tests.search.problem import eager_model
from tests.search.problem import essence
from tests.search.problem import make_builder
from tests.search.problem import search
from tests.search.program import SMALL


class Broken(keras_tuner.HyperModel):
    def build(self, hp):
        return build_model(hp)

    def fit(self, hp, model, *args, **kwargs):
        raise RuntimeError("no fit")


def start(directory, *arguments, **environment):
    return Forked("tests.search.program", [directory, *arguments], {**os.environ, **environment})


def pool(directory):
    return Pool(directory / "hyper_deep_ensemble")


def records(directory):
    """Every finished candidate's record, with the moment it was written."""
    files = (directory / "hyper_deep_ensemble" / "candidates").glob("[a-z]*.json")
    return {file.name: (file.stat().st_mtime_ns, file.read_text()) for file in files}


def test_a_chief_and_a_worker_find_what_one_process_finds(tmp_path, monkeypatch):
    alone = search(make_builder(tmp_path / "alone", eager_model, **SMALL))
    with Hosts(tmp_path / "together", "small") as hosts:
        worker = hosts.start("worker0")
        for name, value in {**hosts.environment, "KERASTUNER_TUNER_ID": "chief"}.items():
            monkeypatch.setenv(name, value)
        together = search(make_builder(tmp_path / "together", eager_model, **SMALL), patience=LIMIT)  # in this process
        assert result(worker).startswith("RESULT")
    assert len(alone.candidates) == 3 and essence(together.candidates) == essence(alone.candidates)


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(2))
def test_killed_in_each_stage_nothing_is_lost(seed, tmp_path, undisturbed):
    """In the search, between the stages or in the initializations, somewhere between two lines of progress."""
    moments = random.Random(seed)
    for stage in ("search", "initializations"):
        process = start(tmp_path)
        wanted = moments.randint(1, 3)
        for line in process.stdout:
            if line.startswith(f"{stage} {wanted}"):
                break
        time.sleep(moments.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = records(tmp_path)
        assert before
        names = {each.name for each in pool(tmp_path).finished()}
        assert names == {file.removesuffix(".json") for file in before}  # whatever is there is whole
    assert result(start(tmp_path)) == undisturbed[0]
    after = records(tmp_path)
    assert {name: after[name] for name in before} == before  # trained once
    assert essence(pool(tmp_path).candidates()) == undisturbed[1]


@pytest.mark.integration
def test_killed_while_retraining_nothing_is_lost(tmp_path):
    process = start(tmp_path / "killed", "retrain")
    for line in process.stdout:
        if line.startswith("retraining 1"):
            break
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = records(tmp_path / "killed")
    assert "retraining" in "".join(before)
    assert result(start(tmp_path / "killed", "retrain")) == result(start(tmp_path / "whole", "retrain"))
    after = records(tmp_path / "killed")
    assert {name: after[name] for name in before} == before
    assert essence(pool(tmp_path / "killed").candidates()) == essence(pool(tmp_path / "whole").candidates())


@pytest.mark.integration
def test_chief_and_workers_find_what_one_process_finds(tmp_path, undisturbed):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    names = ("chief", "worker0", "worker1")
    processes = [start(tmp_path, KERASTUNER_TUNER_ID=name, **address) for name in names]
    try:
        assert [result(process) for process in processes] == [undisturbed[0]] * 3
    finally:
        for process in processes:
            process.kill()
    assert essence(pool(tmp_path).candidates()) == undisturbed[1]
    trials = list(tmp_path.glob("hyper_deep_ensemble/*/trial_*/trial.json"))
    assert len(trials) == len(pool(tmp_path).candidates()) == 8  # a second training would be a second trial


@pytest.mark.integration
def test_workers_of_one_call(tmp_path, undisturbed):
    assert result(start(tmp_path, "2")) == undisturbed[0]
    assert essence(pool(tmp_path).candidates()) == undisturbed[1]


@pytest.mark.integration
def test_workers_end_with_the_program_that_started_them(tmp_path):
    process = start(tmp_path, "1")
    for line in process.stdout:
        if line.startswith("search 1"):
            break
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    assert len(children) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + LIMIT
    while any(os.path.exists(f"/proc/{child}") for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]


def test_what_workers_cannot_do_is_said(tmp_path):
    with pytest.raises(ValueError, match="`workers` must be an integer of at least 1"):
        search(make_builder(tmp_path), workers=0)
    own = keras_tuner.RandomSearch(build_model, "val_loss", 2, directory=tmp_path / "own")
    with pytest.raises(ValueError, match="A tuner object belongs to one process"):
        search(make_builder(tmp_path, tuner=own), workers=2)
    with pytest.raises(ValueError, match="sends the hypermodel, data and callbacks"):
        search(make_builder(tmp_path), workers=2, callbacks=[threading.Lock()])


@pytest.mark.integration
def test_why_a_worker_failed_is_said(tmp_path):
    with pytest.raises(RuntimeError, match="(?s)ended with code 1.*first 3 candidates failed in the same way.*no fit"):
        search(make_builder(tmp_path, Broken()), workers=1)
