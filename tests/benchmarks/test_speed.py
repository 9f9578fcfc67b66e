"""The table of costs: its verdicts, its clock, and each measurement on little."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.speed import __main__ as speed
from benchmarks.speed import aim as timing
from benchmarks.speed import edward2
from benchmarks.speed import forms
from benchmarks.speed import networks
from benchmarks.speed import prediction
from benchmarks.speed import reference
from benchmarks.speed import searches
from benchmarks.speed import selection
from benchmarks.speed import start
from benchmarks.speed import training
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import seconds
from benchmarks.speed.aim import table


def test_the_last_column_is_the_verdict():
    aims = [Aim("step", "a", 1.2, 1.25), Aim("step", "b", 1.3, 1.25), Aim("serve", "c", 1.3, 1.25, at_most=False)]
    verdicts = [line.split("|")[-2].strip() for line in table(aims).splitlines()[2:]]
    assert verdicts == ["met", "MISSED", "met"]
    assert "at most 1.25" in table(aims[:1]) and "at least 1.25" in table(aims[2:])


def test_medians_forget_a_pause_and_functions_take_turns(monkeypatch):
    called, clock = [], [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def slow():
        called.append("slow")
        clock[0] += 0.5 if called.count("slow") == 5 else 0.004

    medians = seconds({"slow": slow, "fast": lambda: called.append("fast")}, repetitions=5, calls=2)
    assert 0.004 <= medians["slow"] < 0.05 and medians["fast"] < medians["slow"]
    timed = called[6:]  # after the first calls that warm up
    assert timed == ["slow", "slow", "fast", "fast", "fast", "fast", "slow", "slow"] * 2 + timed[:4]


@pytest.mark.integration
def test_steps_on_little(monkeypatch, tiny):
    monkeypatch.setattr(training, "LIMITS", {("member", False): 1.25, ("example", True): 2.9})
    aims = list(training.measure_steps(1, (tiny,), (8,)))
    assert [aim.limit for aim in aims] == [1.25, 2.9]
    assert all(0.3 < aim.ratio < 30 for aim in aims)


@pytest.mark.integration
def test_forms_on_little():
    aims = list(forms.measure_dense(1, ((8, 4),), (4, 128)))
    assert [aim.part for aim in aims] == ["chosen form / better form"] * 2
    assert all(1 <= aim.ratio < 100 for aim in aims)


def test_all_forms_of_a_convolution_are_one():
    x, kernels = (tf.random.stateless_normal(shape, (0, 1)) for shape in ((8, 5, 5, 2), (4, 3, 3, 2, 3)))
    members = [forms.plain(rows, kernel[None]) for rows, kernel in zip(tf.split(x, 4), kernels)]
    for form in (forms.split_and_loop, forms.grouped, forms.vectorized_map):
        np.testing.assert_allclose(form(x, kernels), tf.concat(members, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.integration
def test_forms_of_a_convolution_on_little():
    aims = list(forms.measure_convolutions(1, ((2, 4, 1, 2),)))
    assert [aim.at_most for aim in aims] == [True, False, False, True, False]
    assert all(aim.ratio > 0 for aim in aims)


def run(monkeypatch, results, *arguments):
    monkeypatch.setattr(sys, "argv", ["speed", "--results", str(results), *arguments])
    speed.main()
    return json.loads(results.read_text())


def test_parts_take_the_place_of_their_last_run(monkeypatch, tmp_path, capsys):
    parts = {name: lambda repetitions, name=name: iter([Aim(name, "a", repetitions, 5)]) for name in ("one", "two")}
    monkeypatch.setattr(speed, "PARTS", parts)
    results = tmp_path / "speed.json"
    run(monkeypatch, results, "--repetitions", "1")
    content = run(monkeypatch, results, "--parts", "two", "--repetitions", "7")
    assert {part: aims[0]["ratio"] for part, aims in content["parts"].items()} == {"one": 1, "two": 7}
    assert {"cores", "processor", "memory", "python", "keras"} <= content["machine"].keys()
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split("|")[-2].strip() for line in lines] == ["met", "MISSED"]
    run(monkeypatch, results, "--report")
    assert capsys.readouterr().out.splitlines()[-2:] == lines


def test_results_of_another_machine_are_forgotten(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "PARTS", {"one": lambda repetitions: iter([Aim("one", "a", 1, 5)])})
    results = tmp_path / "speed.json"
    results.write_text(json.dumps({"machine": {"cores": "1024"}, "parts": {"two": []}}))
    assert list(run(monkeypatch, results)["parts"]) == ["one"]


def test_selection_on_little():
    aims = list(selection.measure_growth(1, {"nll": (7, 40), "brier": (5, 30)}))
    assert len(aims) == 4 and all(aim.ratio > 0 for aim in aims)


@pytest.mark.integration
def test_peers_choose_what_ours_does(in_this_process):
    aims = list(selection.measure_peers(1, ((20, 200, 10),)))
    assert len(aims) in (2, 4) and not any(aim.at_most for aim in aims)  # AutoGluon may be missing
    assert all(aim.ratio > 0 for aim in aims if "MiB" not in aim.note)  # so little memory may be none


@pytest.mark.integration
def test_largest_selection_on_little(monkeypatch, in_this_process):
    monkeypatch.setattr(selection, "in_new_process", in_this_process)
    (aim,) = selection.measure_largest(1, 8, 50)
    assert 0.05 < aim.ratio  # a process that has imported TensorFlow


def test_candidates_of_a_pool_differ(tmp_path):
    selection.write_pool(tmp_path, 6, 30)
    assert len({(tmp_path / f"{t}.npy").read_bytes() for t in range(6)}) == 6
    assert len(set(selection.select(tmp_path, 6, 30, "nll"))) == selection.CHOICES


@pytest.mark.integration
def test_input_on_little(tiny):
    slowdown, decoded = training.measure_input(1, (tiny,), rows=64)
    assert 0.2 < slowdown.ratio < 10 and decoded.is_met and decoded.note == "64 / 64"


def test_parameters_of_lenet():
    (aim,) = training.measure_memory(1, networks=(), parameters=("LeNet",))
    assert 2 < aim.ratio < 2.3


def test_a_missing_reference_is_left_out_with_a_message(monkeypatch, capsys):
    monkeypatch.setattr(edward2, "install", lambda: "edward2 cannot be installed: no network")
    assert not list(reference.measure(1)) and "left out, edward2 cannot" in capsys.readouterr().out


@pytest.mark.integration
@pytest.mark.skipif(not edward2.is_importable(), reason="edward2 is not there: `python -m benchmarks.speed`")
def test_reference_on_little():
    aims = list(reference.measure(1, {"dense, 8 to 6": ((8,), 6, 0), "convolution": ((9, 9, 4), 6, 3)}))
    assert [aim.limit for aim in aims] == 3 * [2.5, 1.2] and all(0.1 < aim.ratio < 50 for aim in aims)


@pytest.mark.integration
def test_prediction_on_little(tiny, in_this_process):
    aims = list(prediction.measure(1, (tiny,)))
    assert [aim.limit for aim in aims] == [1.3, 1.0] and "MiB" in aims[0].note


@pytest.mark.integration
def test_memory_on_little(monkeypatch, tiny, in_this_process, eagerly):
    monkeypatch.setattr(training, "in_new_process", in_this_process)
    aims = list(training.measure_memory(1, (tiny,), rows=8, parameters=()))
    assert len(aims) == 2 and all(0.7 < aim.ratio < 2 for aim in aims)


@pytest.mark.integration
def test_start_on_little(monkeypatch):
    monkeypatch.setattr(start, "MEMBERS", (4, 4))  # what grows with M is the time, not the test
    monkeypatch.setattr(start, "IMPORTS", dict([*start.IMPORTS.items()][1:]))
    aims = list(start.measure(1, ("MLP",)))
    assert len(aims) == 4 and all(aim.ratio > 0 for aim in aims)


@pytest.mark.integration
def test_searches_on_little(monkeypatch, tiny):
    monkeypatch.setattr(searches, "lenet", networks.NETWORKS[tiny][0])
    small = searches.Size((28, 28, 1), rows=64, batch_size=32, epochs=1, ours=2, others=2, at_once=2)
    large = searches.Size((3, 3, 1), rows=64, batch_size=32, epochs=1, ours=2, others=2, at_once=2)
    aims = list(searches.measure(1, small, large, tiny))
    assert [aim.limit for aim in aims] == [5.0, 0.9] and not any(aim.at_most for aim in aims)
    assert all(0.1 < aim.ratio < 30 for aim in aims)
    small = searches.Size((20,), rows=64, batch_size=32, epochs=1, ours=4, others=2, at_once=4)
    (*_, aim) = searches.measure_ensembles(1, replace(small, shape=(28, 28, 1)), small)
    assert aim.limit == 0.05 and 0 < aim.ratio < 30
