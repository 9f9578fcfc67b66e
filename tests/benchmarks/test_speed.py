"""The table of costs: its verdicts, its clock, and one measurement on little."""

import time

import pytest

from benchmarks.speed import pool
from benchmarks.speed import steps
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import table
from benchmarks.speed.timing import seconds


def test_the_last_column_is_the_verdict():
    aims = [Aim("step", "a", 1.2, 1.25), Aim("step", "b", 1.3, 1.25), Aim("serve", "c", 1.3, 1.25, at_most=False)]
    verdicts = [line.split("|")[-2].strip() for line in table(aims).splitlines()[2:]]
    assert verdicts == ["met", "MISSED", "met"]
    assert "at most 1.25" in table(aims[:1]) and "at least 1.25" in table(aims[2:])


def test_medians_forget_a_pause_and_functions_take_turns():
    called = []

    def slow():
        called.append("slow")
        time.sleep(0.5 if called.count("slow") == 5 else 0.004)

    medians = seconds({"slow": slow, "fast": lambda: called.append("fast")}, repetitions=5, calls=2)
    assert 0.004 <= medians["slow"] < 0.05 and medians["fast"] < medians["slow"]
    timed = called[6:]  # after the first calls that warm up
    assert timed == ["slow", "slow", "fast", "fast", "fast", "fast", "slow", "slow"] * 2 + timed[:4]


@pytest.mark.slow
def test_steps_on_little():
    aims = list(steps.measure(1, ("LeNet",)))
    assert [aim.limit for aim in aims] == list(steps.LIMITS.values())
    assert all(0.3 < aim.ratio < 30 for aim in aims)


@pytest.mark.slow
def test_searches_on_little():
    small = pool.Size((28, 28, 1), rows=64, epochs=1, ours=4, others=2, at_once=2)
    large = pool.Size((32, 32, 3), rows=64, epochs=1, ours=2, others=2, at_once=2)
    aims = list(pool.measure(1, small, large))
    assert [aim.limit for aim in aims] == [5.0, 0.9] and not any(aim.at_most for aim in aims)
    assert all(0.1 < aim.ratio < 30 for aim in aims)
