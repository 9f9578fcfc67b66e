"""The paper's comparison on little: every method, restarts, what the baselines get, and the report by hand."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from benchmarks import runs
from benchmarks.data import Data
from benchmarks.methods import Schedule
from benchmarks.paper import __main__ as paper
from benchmarks.paper import ablation
from benchmarks.paper import cells
from benchmarks.paper import figures
from benchmarks.paper import methods
from benchmarks.paper import networks
from benchmarks.paper import report
from tests.limit import LIMIT

ROOT = pathlib.Path(__file__).parents[2]
LITTLE = ("--network", "mlp", "--seeds", "1", "--epochs", "1", "--ensemble-size", "2")
TITLE = "d, mlp: train rows 9, held out rows 4, ensemble size 3, trials 7, epochs 2"


def arguments(folder, *more):
    return [*LITTLE, "--results", str(folder), "--directory", str(folder / "searches"), *map(str, more)]


def run_main(monkeypatch, *given):
    monkeypatch.setattr(sys, "argv", ["paper", *given])
    paper.main()


def made_up(directory, network="mlp", image_shape=(6, 6, 1), batch_size=8, **changes):
    generator = np.random.default_rng(0)

    def rows(number):
        return generator.uniform(size=(number, *image_shape)).astype("float32"), np.arange(number) % 3

    data = Data("made-up", rows(16), rows(8), rows(8), rows(8))
    given = {"schedule": Schedule(1, 1, batch_size), "ensemble_size": 2, "trials": 3, "seed": 0, "directory": directory}
    return cells.Cell(data, network, **{**given, "results": directory, **changes})


def searched_before(cell, groups=("input", "hidden", "output"), **values):
    """The cell, with the best setting of a search on disk."""
    known = {**cell.key(), "values": {**{f"l2_{group}": 1e-3 for group in groups}, "label_smoothing": 0.1, **values}}
    runs.append(cell.results / methods.SETTINGS, [known])
    return cell


def contents(folder):
    """Every finished candidate, and when it was written."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("searches/*/*/candidates/[a-z]*.json")}


def test_one_hypermodel_gives_every_method(tmp_path):
    build_model = made_up(tmp_path, "lenet", (28, 28, 1)).hypermodel
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=2)
    strengths = ("l2_convolutions", "l2_dense", "l2_output")
    assert set(ensemble.space.names) == {*strengths, "dropout", "label_smoothing"}
    assert [layer.kernel_l2 for layer in ensemble.network.layers if hasattr(layer, "kernel_l2")] == [
        strengths[group] for group in (0, 0, 1, 1, 2)
    ]
    assert list(methods.METHODS) == [
        *("single", "fixed-initialization", "deep", "hyper-deep", "batch", "self-tuning", "hyper-batch")
    ]


def test_labels_are_one_hot_where_losses_see_them(tmp_path):
    cell = made_up(tmp_path)
    np.testing.assert_array_equal(cell.one_hot.validation[1][:4], np.eye(3)[[0, 1, 2, 0]])
    assert cell.one_hot.test is cell.data.test and cell.one_hot.train[0] is cell.data.train[0]


def test_budgets_by_hand(tmp_path):
    cell = made_up(tmp_path, schedule=Schedule(10, 10, 8), ensemble_size=3, trials=25)
    budgets = {method: methods.network_epochs(method, cell) for method in methods.METHODS}
    assert list(budgets.values()) == [260, 250, 280, 340, 280, 260, 280]


@pytest.mark.integration
def test_baselines_get_the_best_setting_of_the_search(tmp_path):
    cell = made_up(tmp_path)
    builder = methods.searched(cell)
    found = [each for each in builder.candidates if each.stage == "search"]
    best = min(found, key=lambda each: each.score).values
    assert len(found) == 3 and methods.best_settings(cell) == best
    for method, size in (("single", 1), ("deep", 2)):
        assert methods.trained(method, cell).member_hyperparameters == [best] * size
    batch = methods.trained("batch", cell)
    assert len(batch.space) == 0 and batch.network.layers[1].kernel_l2 == pytest.approx(best["l2_input"])
    assert batch.loss.get_config()["label_smoothing"] == best["label_smoothing"]
    assert runs.read(tmp_path / methods.SETTINGS) == [{**cell.key(), "values": best}]


@pytest.mark.parametrize("method", ["self-tuning", pytest.param("hyper-batch", marks=pytest.mark.integration)])
def test_what_tunes_begins_around_the_best_setting(method, tmp_path, monkeypatch, eagerly):
    cell = searched_before(made_up(tmp_path), dropout=0.2)
    monkeypatch.setattr(methods, "searched", None)  # the setting is on disk: nothing is searched
    model = methods.trained(method, cell)
    for name, value in methods.best_settings(cell).items():
        lower, upper = model.hyperparameter_bounds()[name].T
        assert model.initial_values[name] == value and ((lower < value) & (value < upper)).all()
    if method == "self-tuning":
        check_that_it_is_one_member_without_factors(model)


def check_that_it_is_one_member_without_factors(model):
    assert model.ensemble_size == 1 and len(model.space) == 5
    for layer in (layer for layer in model.network.layers if hasattr(layer, "r")):
        assert not layer.fast_weights_trainable and layer.tie_fast_weights
        np.testing.assert_array_equal(layer.r, np.ones(layer.r.shape))


@pytest.mark.integration
def test_a_restart_repeats_nothing(tmp_path, monkeypatch, capsys, eagerly):
    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "AT_ONCE", 1)  # no graph of many is traced: this test is a fast one
    given = arguments(tmp_path, "--trials", 2, "--methods", "single", "deep")
    with monkeypatch.context() as context:
        context.setitem(methods.METHODS, "deep", killed)
        with pytest.raises(KeyboardInterrupt):
            run_main(context, *given)
    file, trained = tmp_path / "results" / "digits-mlp.jsonl", contents(tmp_path)
    assert [run["method"] for run in runs.read(file)] == ["single"] and len(trained) == 2 + 4
    with monkeypatch.context() as context:
        context.setattr(keras.Model, "fit", killed)
        run_main(context, *given)
    assert [run["method"] for run in runs.read(file)] == ["single", "deep"] and contents(tmp_path) == trained
    before = file.read_text()
    run_main(monkeypatch, *given)
    assert file.read_text() == before and "| deep | " in capsys.readouterr().out


@pytest.mark.integration
def test_a_killed_search_goes_on(tmp_path, monkeypatch):
    given = arguments(tmp_path, "--trials", 9, "--methods", "single")
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.paper", *given], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + LIMIT
    while len(contents(tmp_path)) < methods.AT_ONCE and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = contents(tmp_path)
    assert len(before) >= methods.AT_ONCE and not (tmp_path / "results").exists()
    run_main(monkeypatch, *given)
    after = contents(tmp_path)
    assert len(after) == 9 + 4 and before.items() <= after.items()
    assert len(runs.read(tmp_path / "results" / "digits-mlp.jsonl")) == 1


@pytest.mark.integration
def test_every_method_gives_finite_scores(tmp_path, monkeypatch, capsys):
    run_main(monkeypatch, *arguments(tmp_path, "--trials", 2))
    done = runs.read(tmp_path / "results" / "digits-mlp.jsonl")
    assert [run["method"] for run in done] == list(methods.METHODS)
    for run in done:
        assert all(np.isfinite(run[name]) for name in ("nll", "accuracy", "ece")) and 0 <= run["accuracy"] <= 1
        assert run["network_epochs"] > 0 and np.isfinite(run["calibrated"]["nll"])
        assert list(run)[:4] == ["dataset", "network", "method", "seed"]
    assert "hyper-batch, seed 0: 4 network-epochs" in capsys.readouterr().out
    of_sizes = {(run["method"], run["size"]): run["nll"] for run in runs.read(tmp_path / "sizes.jsonl")}
    by_method = {run["method"]: run["nll"] for run in done}
    assert len(of_sizes) == 4 and of_sizes["deep", 1] == pytest.approx(by_method["single"])
    assert [of_sizes[name, 2] for name in ("deep", "hyper-deep")] == pytest.approx(
        [by_method[name] for name in ("deep", "hyper-deep")]
    )


@pytest.mark.integration
@pytest.mark.parametrize("method", ["single", "hyper-batch"])
def test_under_a_strategy(method, tmp_path):
    cell = made_up(tmp_path, trials=2, strategy=tf.distribute.MirroredStrategy(["CPU:0"]))
    assert np.isfinite(cells.measured(methods.trained(method, cell), cell.data)["nll"])


@pytest.mark.integration
def test_every_default_can_be_switched_off(tmp_path, eagerly):
    cell = searched_before(made_up(tmp_path), dropout=0.2)
    for _ in range(2):  # the second time nothing is trained
        ablation.run(cell)
    done = runs.read(tmp_path / ablation.FILE)
    assert [run["choice"] for run in done] == list(ablation.CHOICES)
    assert all(np.isfinite(run[name]) for run in done for name in ("nll", "validation_nll"))


@pytest.mark.integration
def test_without_tuning_the_intervals_stay(tmp_path, eagerly):
    cell = searched_before(made_up(tmp_path, seed=1), dropout=0.2)
    model, narrow = (ablation.trained(choice, cell) for choice in ("no tuning", "initial intervals of 0.02"))
    for name, bounds in model.hyperparameter_bounds().items():
        assert np.ptp(narrow.hyperparameter_bounds()[name], axis=1).max() < np.ptp(bounds, axis=1).max()
    assert model._trainer.settings.tuning_warmup == ablation.NEVER and model._trainer.settings.entropy_weight == 1e-4


def line(method, seed, nll, **changes):
    scores = {"nll": nll, "accuracy": 0.5, "ece": 0.1}
    budget = {"train_rows": 9, "held_out_rows": 4, "ensemble_size": 3, "trials": 7, "epochs": 2}
    own = {"dataset": "d", "network": "mlp", "method": method, "seed": seed, **budget, **scores}
    return {**own, "calibrated": scores, "network_epochs": 14, "seconds": 1, **changes}


LINES = [
    line(method, seed, nll)
    for method, nlls in {"hyper-deep": (0.5, 3), "deep": (1, 2), "batch": (2, 2), "hyper-batch": (1, 1)}.items()
    for seed, nll in enumerate(nlls)
]


def test_a_report_by_hand():
    text = report.report(LINES, []).splitlines()
    assert text[0] == TITLE
    assert [row.split(" | ")[0] for row in text[4:8]] == ["| deep", "| hyper-deep", "| batch", "| hyper-batch"]
    scores = "1.7500 ± 1.2500 | 0.5000 ± 0.0000 | 0.1000 ± 0.0000 | 1.7500 ± 1.2500 | 0.1000 ± 0.0000"
    assert text[5] == f"| hyper-deep | {scores} | 14 | 2 |"
    assert "| d, mlp | hyper-deep / deep | 1.000 | 1 of 2 | 2 of 2 | 2 of 2 |" in text
    assert "| d, mlp | hyper-batch / batch | 0.500 | 2 of 2 | 2 of 2 | 2 of 2 |" in text
    assert "| cifar100, wrn28-10, published | hyper-deep / deep | 0.982 | | | |" in text
    assert "| cifar100, wrn28-10, published | hyper-batch / batch | 0.983 | | | |" in text
    assert report.report([], []) == "no runs yet"


def test_another_budget_is_another_table():
    assert list(report.tables([*LINES, line("deep", 0, 1, trials=8)])) == [TITLE, TITLE.replace("7", "8")]


def test_the_report_fills_the_readme(tmp_path, capsys):
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    runs.append(tmp_path / "results" / "d-mlp.jsonl", LINES)
    of_size = {name: LINES[0][name] for name in ("dataset", "network", "method", "seed", "nll")}
    runs.append(tmp_path / "sizes.jsonl", [{**of_size, "size": size} for size in (1, 2)])
    report.publish(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert TITLE in text and TITLE in capsys.readouterr().out
    for picture in ("methods.png", "sizes.png"):
        assert f"(plots/{picture})" in text and (tmp_path / "plots" / picture).stat().st_size > 5_000
    report.publish(tmp_path)
    assert (tmp_path / "README.md").read_text() == text


def test_curves_are_means_over_seeds_of_one_budget():
    sizes = [{**line("deep", seed, seed + size), "size": size} for seed in (0, 1) for size in (1, 2)]
    assert figures.curves(sizes) == {"deep": [1.5, 2.5]}
    of_size = [{name: run[name] for name in ("dataset", "trials", "network", "method", "size", "nll")} for run in sizes]
    figure = figures.sizes_figure([*of_size, {**of_size[0], "trials": 8}])
    assert [len(ax.lines) for ax in figure.axes] == [1, 1]


def test_a_report_of_the_ablation_by_hand():
    done = [
        line("", seed, nll, choice=choice, validation_nll=1.0)
        for choice, nlls in ((ablation.DEFAULTS, (1, 2)), ("no tuning", (2, 1)))
        for seed, nll in enumerate(nlls)
    ]
    rows = ablation.report(done).splitlines()
    assert rows[0] == "d, mlp: hyper-batch with one default changed, 2 seeds" and len(rows) == 6
    assert rows[-1].startswith("| no tuning | 1.5000 ± 0.5000 |") and "| 1.250 | 1 of 2 |" in rows[-1]


def test_the_readme_has_a_place_for_the_report():
    text = (paper.FOLDER / "README.md").read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1


@pytest.mark.integration
@pytest.mark.parametrize(("network", "parameters"), [("resnet20", 0.27e6), ("wrn28-10", 36.5e6)])
def test_large_networks_through_conversion(network, parameters, tmp_path, eagerly):
    groups = ("input", "group_1", "group_2", "group_3", "output")
    cell = searched_before(made_up(tmp_path, network, (32, 32, 3), batch_size=8), groups)
    ensemble = methods.trained("hyper-batch", cell)
    assert set(ensemble.space.names) == {*(f"l2_{group}" for group in groups), "label_smoothing"}
    assert ensemble.member(0).count_params() == pytest.approx(parameters, rel=0.03)
    predicted = ensemble.predict(cell.data.test[0], verbose=0)
    np.testing.assert_allclose(predicted.sum(1), 1, rtol=1e-5)
    assert networks.SMALL == ("mlp", "lenet")
