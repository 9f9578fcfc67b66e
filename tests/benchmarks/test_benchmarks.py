"""The measurements run on little. (The whole demo: tests/test_readme.py.)"""

import pathlib
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

from benchmarks import data
from benchmarks import fine_tuning
from benchmarks import hyper_deep
from benchmarks import memory
from benchmarks import methods
from benchmarks import quality

ROOT = pathlib.Path(__file__).parents[2]
TFDS = ROOT.parent / "shared" / "tensorflow_datasets"


def run(*arguments):
    result = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def test_digits_are_split_without_overlap():
    digits = data.load("digits")
    parts = [digits.train, digits.tuning, digits.validation, digits.test]
    assert [len(labels) for _, labels in parts] == [500, 250, 250, 797]
    images = np.concatenate([images.reshape(len(images), -1) for images, _ in parts])
    assert len(np.unique(images, axis=0)) == 1797
    assert digits.image_shape == (8, 8, 1) and digits.num_classes == 10 and images.max() == 1


def test_one_hypermodel_gives_every_method():
    digits = data.load("digits")
    build = partial(methods.build, data=digits, ensemble_size=2, seed=0)
    assert type(build("single", settings={"l2": 1e-4}).layers[0]) is keras.layers.Conv2D
    ensemble = build("hyper-batch", settings={})
    assert ensemble.space.names == ("l2", "dropout") and "learning_rate" in ensemble._fixed
    assert ensemble.network.layers[0].kernel_l2 == "l2" and ensemble.network.layers[5].rate == "dropout"
    assert len(build("batch", settings={"l2": 1e-4, "dropout": 0.1}).space) == 0


def test_scores_by_hand():
    predicted = np.array([[0.9, 0.1], [0.6, 0.4]])
    scores = methods.scores(predicted, np.array([0, 1]))
    np.testing.assert_allclose([scores.nll, scores.accuracy], [-np.log(0.9 * 0.4) / 2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(scores.ece, (0.1 + 0.6) / 2, rtol=1e-5)
    assert "0.5000" in methods.table({"this": scores})


@pytest.mark.integration
def test_quality_is_restartable_and_reports_paired_wins(tmp_path, monkeypatch, capsys, eagerly):
    results = tmp_path / "quality.jsonl"
    monkeypatch.setattr(methods, "schedule_of", lambda _: methods.Schedule(1, 1, 100))
    monkeypatch.setattr(quality, "GRID", quality.GRID[:1])
    monkeypatch.setattr(sys, "argv", ["quality", "--seeds", "1", "--results", str(results)])
    quality.main()
    lines = results.read_text().splitlines()
    assert len(lines) == 6 and "| hyper-batch |" in capsys.readouterr().out
    quality.main()
    assert results.read_text().splitlines() == lines


@pytest.mark.integration
def test_fine_tuning_on_little(tmp_path, monkeypatch, capsys, eagerly):
    results = tmp_path / "fine_tuning.jsonl"
    for name in ("PRETRAINING", "FINE_TUNING"):
        monkeypatch.setattr(fine_tuning, name, methods.Schedule(1, 1, 100))
    few = {name: fine_tuning.METHODS[name] for name in ("single network", "factors 1", "factors 1 ± 0.1")}
    monkeypatch.setattr(fine_tuning, "METHODS", few)
    monkeypatch.setattr(sys, "argv", ["fine_tuning", "--seeds", "1", "--results", str(results)])
    old, new = fine_tuning.halves(data.load("digits"), 10_000)
    assert set(old.train[1]) == set(new.train[1]) == set(range(5)) and len(new.train[1]) == 150
    fine_tuning.main()
    assert len(results.read_text().splitlines()) == 3 and "| factors 1 ± 0.1 |" in capsys.readouterr().out


def test_a_report_by_hand():
    common = {
        "dataset": "d",
        "train_rows": 5,
        "accuracy": 0.5,
        "ece": 0.1,
        "learning_rate": 0.01,
    }
    calibrated = {"accuracy": 0.5, "ece": 0.05}
    runs = [
        {
            **common,
            "method": method,
            "ensemble_size": size,
            "seed": seed,
            "nll": nll,
            "calibrated": {**calibrated, "nll": nll / (1 + (method == "hyper-batch"))},
        }
        for method, size, nlls in (("single", 1, (2, 2)), ("batch", 4, (1, 2)), ("hyper-batch", 4, (0.5, 4)))
        for seed, nll in enumerate(nlls)
    ]
    lines = quality.report([*runs, {**runs[0], "seed": quality.FIRST_SELECTION_SEED, "nll": 99}]).splitlines()
    assert lines[0] == "d: 5 training rows, 4 members, 2 seeds, learning rate 0.01"
    assert lines[-1] == (
        "| hyper-batch | 2.2500 ± 1.7500 | 0.5000 ± 0.0000 | 0.1000 ± 0.0000 | 1.250 | 1 of 2 "
        "| 1.1250 ± 0.8750 | 0.0500 ± 0.0000 | 0.625 | 1 of 2 |"
    )


@pytest.mark.integration
def test_hyper_deep_is_restartable_and_reports_paired_wins(tmp_path, monkeypatch, capsys, eagerly):
    results = tmp_path / "hyper_deep.jsonl"
    monkeypatch.setattr(methods, "schedule_of", lambda _: methods.Schedule(1, 1, 100))
    arguments = ["--ensemble-size", "2", "--trials", "2", "--seeds", "1", "--directory", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["hyper_deep", *arguments, "--results", str(results)])
    hyper_deep.main()
    lines = results.read_text().splitlines()
    printed = capsys.readouterr().out
    assert len(lines) == 3 and "| hyper-deep ensemble |" in printed and "initializations 4 of 4" in printed
    hyper_deep.main()
    assert results.read_text().splitlines() == lines


def test_a_report_of_hyper_deep_by_hand():
    common = {"dataset": "d", "train_rows": 5, "ensemble_size": 3, "trials": 9, "accuracy": 0.5, "ece": 0.1}
    runs = [
        {**common, "method": method, "seed": seed, "nll": nll}
        for method, nlls in zip(hyper_deep.METHODS, ((2, 2), (1, 2), (0.5, 3)))
        for seed, nll in enumerate(nlls)
    ]
    lines = hyper_deep.report(runs).splitlines()
    assert lines[0] == "d: 5 training rows, 3 members, 9 trials, 2 seeds"
    row = "| hyper-deep ensemble | 1.7500 ± 1.2500 | 0.5000 ± 0.0000 | 0.1000 ± 0.0000 | 1.000 | 1 of 2 |"
    assert lines[-1] == row


@pytest.mark.integration
def test_selection_in_its_smallest_cell():
    lines = run("benchmarks.selection", "--quick", "--repetitions", 1).stdout.splitlines()
    assert lines[-1].split()[:3] == ["20", "1000", "10"] and "True" in lines[-1] and "False" not in lines[-1]


@pytest.mark.integration
def test_extra_memory_by_hand():
    taken = memory.extra_bytes(np.ones, partial(tuple, [2**23]), partial(tuple, [1]))
    assert abs(taken / 2**20 - 64) < 1


@pytest.mark.integration
def test_search_memory_on_a_few_trials():
    assert "last / fifth: " in run("benchmarks.search_memory", "--trials", 5).stdout


@pytest.mark.integration
@pytest.mark.skipif(not TFDS.exists(), reason="the TFDS data of ../shared is not there")
def test_demo_on_tfds(tmp_path):
    name = "cifar10_jpeg"  # in colors; the demo of digits, in gray, is part of the newcomer's walk
    rows = ("--train-rows", 300, "--held-out-rows", 100, "--trials", 2, "--epochs", 1)
    result = run("benchmarks.demo", "--dataset", name, "--data-dir", TFDS, *rows, "--output", tmp_path)
    assert f"{name}: 300 training rows, 10000 test rows" in result.stdout and result.stderr == ""


@pytest.mark.integration
def test_apply_kernels():
    assert "split_and_loop" in run("benchmarks.apply_kernels", "--repetitions", 1, "--members", 2).stdout
