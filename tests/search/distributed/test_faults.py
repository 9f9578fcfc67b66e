"""Chief and workers that are killed, come late or are cut off: the ensemble is that of one undisturbed process."""

import os
import time

import pytest

from keras_hyperens.search.pool import Pool
from tests.search.hosts import Hosts
from tests.search.hosts import can_make_namespaces
from tests.search.hosts import kill
from tests.search.hosts import network
from tests.search.hosts import result
from tests.search.problem import essence

pytestmark = pytest.mark.integration
repeated = pytest.mark.parametrize("repetition", range(int(os.environ.get("REPETITIONS", 1))))  # each at another moment
CANDIDATES = 8


def found(directory):
    return essence(Pool(directory / "hyper_deep_ensemble").candidates())


@repeated
def test_a_worker_is_killed_and_others_come_late(repetition, tmp_path, undisturbed):
    """Its candidate is trained again, by whoever asks next; nothing else is."""
    with Hosts(tmp_path, "paced") as hosts:
        running = [hosts.start("chief"), hosts.start("worker1")]
        lost = hosts.start("worker0")
        before = 1 + repetition % 3
        hosts.wait_for(lambda: [who for who, _ in hosts.trainings()].count("worker0") >= before)
        kill(lost)
        cut_off = [what for who, what in hosts.trainings() if who == "worker0"][-1]
        running += [hosts.start("worker0" if repetition % 2 else "worker2")]
        assert [result(process) for process in running] == [undisturbed[0]] * 3
        trained = [what for _, what in hosts.trainings()]
        assert len(set(trained)) == CANDIDATES
        assert len(trained) == CANDIDATES + (trained.count(cut_off) - 1) and trained.count(cut_off) == 2
        assert result(hosts.start("worker3")) == undisturbed[0]  # when all is over, and no chief is there
        assert len(hosts.trainings()) == len(trained)
    assert found(tmp_path) == undisturbed[1]


@repeated
def test_the_chief_is_killed_and_started_again(repetition, tmp_path, undisturbed):
    """Workers end what they train, wait, and go on: nothing is trained twice."""
    with Hosts(tmp_path, "paced") as hosts:
        chief, *workers = [hosts.start(name) for name in ("chief", "worker0", "worker1")]
        hosts.wait_for(lambda: len(hosts.trainings()) >= 2 + repetition % 6)  # in both stages
        kill(chief)
        time.sleep(0.5 * (repetition % 4))
        chief = hosts.start("chief")
        assert [result(process) for process in (chief, *workers)] == [undisturbed[0]] * 3
        trained = [what for _, what in hosts.trainings()]
        assert len(trained) == len(set(trained)) == CANDIDATES
    assert found(tmp_path) == undisturbed[1]


@pytest.mark.skipif(not can_make_namespaces(), reason="needs root and `ip netns`")
@repeated
def test_a_host_is_cut_off_and_comes_back(repetition, tmp_path, undisturbed):
    """On three hosts. What the lost one trained is trained again; it learns at last that all is over."""
    with network(3) as (names, cable), Hosts(tmp_path, "paced", address="10.99.0.1") as hosts:
        parts = zip(("chief", "worker0", "worker1"), names)
        chief, lost, other = [hosts.start(who, namespace) for who, namespace in parts]
        hosts.wait_for(lambda: "worker0" in [who for who, _ in hosts.trainings()])
        cable(1, "down")
        assert [result(chief), result(other)] == [undisturbed[0]] * 2
        cable(1, "up")
        assert result(lost) == undisturbed[0]
        trained = [what for _, what in hosts.trainings()]
        assert len(set(trained)) == CANDIDATES and len(trained) <= CANDIDATES + 1
    assert found(tmp_path) == undisturbed[1]


def test_each_worker_trains_under_its_own_strategy(tmp_path):
    """Two replicas in every process: as one process with that strategy."""
    threads = {"TF_NUM_INTEROP_THREADS": "2"}
    alone = Hosts(tmp_path / "alone", "mirrored", "small", **threads)
    del alone.environment["KERASTUNER_ORACLE_IP"]
    with alone, Hosts(tmp_path / "pool", "mirrored", "small", **threads) as hosts:
        running = [alone.start("tuner0"), *(hosts.start(name) for name in ("chief", "worker0"))]
        results = [result(process) for process in running]
    assert results == [results[0]] * 3
    assert found(tmp_path / "alone") == found(tmp_path / "pool") and len(found(tmp_path / "pool")) == 3
