"""What the comparisons share, and the smaller ones of them on little. (The demo: tests/test_readme.py.)"""

import json
import os
from functools import partial

import keras
import numpy as np
import pytest

from benchmarks import data
from benchmarks import distillation
from benchmarks import experiment
from benchmarks import fine_tuning
from benchmarks import memory
from benchmarks import networks


def test_digits_are_split_without_overlap():
    digits = data.load("digits")
    parts = [digits.train, digits.tuning, digits.validation, digits.test]
    assert [len(labels) for _, labels in parts] == [500, 250, 250, 797]
    images = np.concatenate([images.reshape(len(images), -1) for images, _ in parts])
    assert len(np.unique(images, axis=0)) == 1797
    assert digits.image_shape == (8, 8, 1) and digits.num_classes == 10 and images.max() == 1


@pytest.mark.integration
@pytest.mark.skipif(not os.environ.get("TFDS_DATA_DIR"), reason="TFDS_DATA_DIR is not set")
def test_tfds_data_are_found_where_the_environment_says():
    images = data.load("cifar10_jpeg", None, 30, 20)
    assert images.image_shape == (32, 32, 3) and images.num_classes == 10 and len(images.held_out[1]) == 40
    assert len(images.test[1]) == 10_000 and images.test[0].max() == 1


def test_labels_are_one_hot_where_losses_see_them():
    digits = data.load("digits")
    one_hot = digits.one_hot
    np.testing.assert_array_equal(one_hot.validation[1].argmax(1), digits.validation[1])
    assert one_hot.test is digits.test and one_hot.train[0] is digits.train[0]


def test_one_hypermodel_gives_every_method():
    digits = data.load("digits")
    build_model = networks.hypermodel_of(digits, experiment.schedule_of(digits))
    build = partial(experiment.build, build_model=build_model, ensemble_size=2, seed=0)
    assert type(build("single", settings={"l2": 1e-4}).layers[0]) is keras.layers.Conv2D
    ensemble = build("hyper-batch", settings={}, initial_values=experiment.with_values(build_model, {})[1])
    assert ensemble.space.names == ("l2", "dropout") and "learning_rate" in ensemble._report.fixed
    assert ensemble.network.layers[0].kernel_l2 == "l2" and ensemble.network.layers[5].rate == "dropout"
    assert len(build("batch", settings={"l2": 1e-4, "dropout": 0.1}).space) == 0


def test_scores_by_hand():
    predicted = np.array([[0.9, 0.1], [0.6, 0.4]])
    scores = experiment.scores(predicted, np.array([0, 1]))
    np.testing.assert_allclose([scores.nll, scores.accuracy], [-np.log(0.9 * 0.4) / 2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(scores.ece, (0.1 + 0.6) / 2, rtol=1e-5)


def test_a_run_is_measured_once(tmp_path, capsys):
    measured = []

    def measure():
        measured.append({"nll": len(measured)})
        return measured[-1]

    file = tmp_path / "new" / "runs.jsonl"
    found = [experiment.once(file, {"method": method, "seed": 0}, measure) for method in ("a", "b", "a")]
    assert found == [{"method": "a", "seed": 0, "nll": 0}, {"method": "b", "seed": 0, "nll": 1}, found[0]]
    assert experiment.read(file) == found[:2] == [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert experiment.find(file, {"method": "c"}) is None and experiment.read(tmp_path / "none") == []


def test_a_table_by_hand():
    done = [{"method": "b", "seed": seed, "nll": nll, "accuracy": 0.5, "ece": 0.1} for seed, nll in enumerate((1, 3))]
    of_methods = experiment.by_seed([*done, {**done[0], "method": "a", "nll": 4}], ("a", "b", "c"))
    assert list(of_methods) == ["a", "b"]
    rows = [[method, *experiment.cells(of_seed, of_methods["a"])] for method, of_seed in of_methods.items()]
    assert experiment.table(["", "NLL", "accuracy", "ECE", "ratio", "lower"], [*rows, [""] * 6]).splitlines() == [
        "| | NLL | accuracy | ECE | ratio | lower |",
        "|---|---|---|---|---|---|",
        "| a | 4.0000 | 0.5000 | 0.1000 | 1.000 | 0 of 1 |",
        "| b | 2.0000 ± 1.0000 | 0.5000 ± 0.0000 | 0.1000 ± 0.0000 | 0.250 | 1 of 1 |",
        "| | | | | | |",
    ]


@pytest.mark.integration
def test_fine_tuning_on_little(tmp_path, monkeypatch, run, eagerly):
    results = tmp_path / "fine_tuning.jsonl"
    old, new = fine_tuning.halves(data.load("digits"))
    assert set(old.train[1]) == set(new.train[1]) == set(range(5)) and len(new.train[1]) == 150
    for name in ("PRETRAINING", "FINE_TUNING"):
        monkeypatch.setattr(fine_tuning, name, experiment.Schedule(1, 1, 100))
    few = {name: fine_tuning.METHODS[name] for name in ("single network", "factors 1", "factors 1 ± 0.1")}
    monkeypatch.setattr(fine_tuning, "METHODS", few)
    assert "| factors 1 ± 0.1 |" in run(fine_tuning, "--seeds", 1, "--results", results)
    assert [line["method"] for line in experiment.read(results)] == list(few)


@pytest.mark.integration
def test_distillation_on_little(tmp_path, monkeypatch, run, eagerly):
    results = tmp_path / "distillation.jsonl"
    monkeypatch.setattr(distillation, "SCHEDULE", experiment.Schedule(1, 1, 250))
    monkeypatch.setattr(distillation, "MIXED", 250)
    monkeypatch.setattr(distillation, "TEMPERATURES", (4.0,))
    assert "| student, mixed images, T = 4 |" in run(distillation, "--seeds", 1, "--results", results)
    methods = [line["method"] for line in experiment.read(results)]
    assert methods[:4] == ["single network", "ensemble", "member", "member, 8 bits"] and len(methods) == 8
    assert "| member, 8 bits |" in run(distillation, "--results", results, "--report")


@pytest.mark.integration
def test_extra_memory_by_hand():
    taken = memory.extra_bytes(np.ones, (2**23,), (1,))
    assert abs(taken / 2**20 - 64) < 1
