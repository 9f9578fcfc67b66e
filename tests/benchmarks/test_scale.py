"""The cost model: what it says is what is counted, and each measurement runs on little."""

import json
import sys

import pytest

from benchmarks import experiment
from benchmarks.processes import in_new_process
from benchmarks.scale import __main__ as scale
from benchmarks.scale import costs
from benchmarks.scale import counted
from benchmarks.scale import projections
from benchmarks.scale import timed
from benchmarks.scale.point import Point
from benchmarks.scale.point import table
from benchmarks.speed import networks
from tests.benchmarks.conftest import tiny_network


@pytest.mark.integration
def test_weights_are_counted_exactly_and_exports_nearly():
    of_weights, state, *exports = counted.measure_weights(("LeNet",))
    assert of_weights.ratio == 1 and state.ratio == pytest.approx(1, rel=1e-4)
    assert [point.ratio for point in exports] == pytest.approx([1, 1], rel=0.02)  # and names


def test_sizes_by_hand():
    layers = [costs.Layer(kernel=12, fan_in=3, units=4), costs.Layer(kernel=8, fan_in=4, units=2, has_bias=False)]
    of_first = 24 + 2 * (2 * 3 + 4 * 4) + 2 * 4 * 1
    of_second = 16 + 2 * (2 * 4 + 2 * 2) + 2 * 1
    assert costs.hyper_batch_weights(layers, others=5, members=2, hyperparameters=1) == 5 + of_first + of_second
    assert costs.folded_bytes(layers, 5, 2) == 4 * (5 + 2 * (12 + 4 + 8))
    assert costs.selection_bytes(3, 9) == 8 * 3 * 16
    assert costs.ring_bytes(100, 2) == 100 and costs.step_flops(1, 1, 1, tuning_every=2) == 9
    assert costs.search_seconds(10, 2.0, workers=4) == 6


@pytest.mark.integration
def test_selection_on_little(in_this_process):
    memory, seconds = timed.measure_selection(1, (4, 300), (8, 600))
    assert memory.is_counted and not seconds.is_counted and seconds.ratio > 0


@pytest.mark.integration
def test_a_candidate_on_disk():
    (point,) = counted.measure_disk(rows=50)
    assert 1 < point.ratio < 1.1


def reduced_bytes_of_tiny():
    """In a process of its own, in which devices can still be chosen."""
    networks.NETWORKS["tiny"] = (tiny_network, (3, 3, 1))
    return counted._reduced_bytes("tiny")


@pytest.mark.integration
def test_bytes_that_replicas_add_up(monkeypatch):
    monkeypatch.setattr(counted, "in_new_process", lambda _: in_new_process(reduced_bytes_of_tiny))
    (point,) = counted.measure_reductions()
    assert point.ratio == 1


@pytest.mark.integration
def test_steps_on_little(tiny):
    points = list(timed.measure_steps(1, tiny, (4, 16, 8)))
    assert len(points) == 2 and all(0.1 < point.ratio < 10 for point in points)


@pytest.mark.integration
def test_workers_on_little(monkeypatch):
    """One worker: several are in tests/search/test_processes.py."""
    assert timed.interval(3, 1, 0.2) > 0.2
    monkeypatch.setattr(timed, "interval", lambda trials, workers, seconds: (seconds + 0.5) / workers)
    (point,) = timed.measure_workers()
    assert point.ratio == pytest.approx(1) and point.predicted == 1.25


def test_report_of_a_run(monkeypatch, tmp_path, capsys):
    points = {
        "weights": Point("weights", "W", 10, 11, "numbers"),
        "selection": Point("time of a selection", "", 1, 2, "s"),
    }
    monkeypatch.setattr(scale, "PARTS", {name: lambda _, name=name: iter([points[name]]) for name in points})
    monkeypatch.setattr(sys, "argv", ["scale", "--results", str(tmp_path / "scale.json")])
    scale.main()
    written = json.loads((tmp_path / "scale.json").read_text())
    assert [Point(**each) for part in written.values() for each in part] == list(points.values())
    output = capsys.readouterr().out
    assert table(points.values()) in output and projections.trainings() in output and "T = 10,000" in output


def test_the_page_shows_the_last_run():
    page = (experiment.RESULTS.parent.parent / "docs" / "scale.md").read_text()
    for part in scale.report(json.loads((experiment.RESULTS / "scale.json").read_text())).split("\n\n"):
        assert part in page
