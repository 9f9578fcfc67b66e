"""The paper's comparison on little: every method, restarts, what the baselines get, and the report by hand."""

from functools import partial

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.experiment import Schedule
from benchmarks.paper import __main__ as paper
from benchmarks.paper import diversity
from benchmarks.paper import figures
from benchmarks.paper import methods
from benchmarks.paper import networks
from benchmarks.paper import report

ONE = ("single", "self-tuning")
RESIDUAL = ("input", "group_1", "group_2", "group_3", "output")
TITLE = "d, mlp: train rows 9, held out rows 4, ensemble size 3, trials 7, epochs 2"


def made_up_data(image_shape=(6, 6, 1)):
    generator = np.random.default_rng(0)

    def rows(number):
        return generator.uniform(size=(number, *image_shape)).astype("float32"), np.arange(number) % 3

    return Data("made-up", rows(16), rows(8), rows(8), rows(8))


def made_up(directory, network="mlp", image_shape=(6, 6, 1), **changes):
    given = {"schedule": Schedule(1, 1, 8), "ensemble_size": 2, "trials": 3, "seed": 0, "directory": directory}
    return methods.Cell(made_up_data(image_shape), network, **{**given, "results": directory, **changes})


def searched_before(cell, groups=("input", "hidden", "output"), **values):
    """The cell, with the best setting of a search on disk."""
    known = {**cell.key(), "values": {**{f"l2_{group}": 1e-3 for group in groups}, "label_smoothing": 0.1, **values}}
    experiment.append(cell.results / methods.SETTINGS, [known])
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
        *("single", "fixed-initialization", "deep", "hyper-deep"),
        *("batch", "batch-distinct-rows", "self-tuning", "hyper-batch"),
    ]


def test_budgets_by_hand(tmp_path):
    cell = made_up(tmp_path, schedule=Schedule(10, 10, 8), ensemble_size=3, trials=25)
    budgets = {method: methods.network_epochs(method, cell) for method in methods.METHODS}
    assert list(budgets.values()) == [260, 250, 280, 340, 280, 280, 260, 280]


@pytest.mark.integration
def test_baselines_get_the_best_setting_of_the_search(tmp_path, request):
    cell = made_up(tmp_path)
    builder = methods.searched(cell)  # in a graph of many
    request.getfixturevalue("eagerly")
    found = [each for each in builder.candidates if each.stage == "search"]
    best = min(found, key=lambda each: each.score).values
    assert len(found) == 3 and methods.best_settings(cell) == best
    for method, size in (("single", 1), ("deep", 2)):
        assert methods.trained(method, cell).member_hyperparameters == [best] * size
    batch = methods.trained("batch", cell)
    assert len(batch.space) == 0 and batch.network.layers[1].kernel_l2 == pytest.approx(best["l2_input"])
    assert batch.loss.get_config()["label_smoothing"] == best["label_smoothing"]
    assert experiment.read(tmp_path / methods.SETTINGS) == [{**cell.key(), "values": best}]


@pytest.mark.integration
@pytest.mark.parametrize("method", ["self-tuning", "hyper-batch"])
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
def test_every_method_is_scored_though_the_search_is_killed(tmp_path, monkeypatch, run, eagerly):
    """Killed in its second training, started again, and once more when all is there."""
    monkeypatch.setattr(methods, "AT_ONCE", 1)  # no graph of many is traced
    monkeypatch.setattr(paper, "load", lambda *_: made_up_data())
    monkeypatch.setattr(diversity, "unfamiliar", lambda data, _: 1 - data.test[0])
    given = ["--network", "mlp", "--seeds", 1, "--epochs", 1, "--ensemble-size", 2, "--trials", 2]
    given += ["--results", tmp_path, "--directory", tmp_path / "searches"]
    trained, fit = [], keras.Model.fit

    def counted(*arguments, **others):
        trained.append(len(trained) + 1)
        if trained[-1] == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **others)

    monkeypatch.setattr(keras.Model, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        run(paper, *given)
    file, before = tmp_path / "results" / "made-up-mlp.jsonl", contents(tmp_path)
    assert len(before) == 1 and not file.exists()
    printed = run(paper, *given)
    assert "hyper-batch, seed 0: 4 network-epochs" in printed and "| deep | " in printed
    # Two of the search and four from new initializations, two from one initialization, four of networks with members.
    assert before.items() <= contents(tmp_path).items() and len(trained) == 6 + 2 + 4 + 1
    check_runs(experiment.read(file), experiment.read(tmp_path / methods.SIZES))
    written = file.read_text()
    run(paper, *given)
    assert len(trained) == 13 and file.read_text() == written


def check_runs(done, sizes):
    assert [each["method"] for each in done] == list(methods.METHODS)
    for each in done:
        assert all(np.isfinite(each[name]) for name in ("nll", "accuracy", "ece")) and 0 <= each["accuracy"] <= 1
        assert each["network_epochs"] > 0 and np.isfinite(each["calibrated_nll"])
        assert 0 <= each["disagreement"] <= 1 and (each["mutual_information"] > 0) == (each["method"] not in ONE)
        assert list(each)[:4] == ["dataset", "network", "method", "seed"]
    nll = {each["method"]: each["nll"] for each in done}
    expected = {("deep", 1): nll["single"], ("deep", 2): nll["deep"], ("hyper-deep", 2): nll["hyper-deep"]}
    of_sizes = {(each["method"], each["size"]): each["nll"] for each in sizes}
    assert len(of_sizes) == 4 and {key: of_sizes[key] for key in expected} == pytest.approx(expected)


@pytest.mark.integration
def test_under_a_strategy(tmp_path):
    """The search, and then the ensemble."""
    cell = made_up(tmp_path, ensemble_size=1, trials=1, strategy=tf.distribute.MirroredStrategy(["CPU:0"]))
    assert np.isfinite(experiment.measured(methods.trained("hyper-batch", cell), cell.data)["nll"])


def line(method, seed, nll, **changes):
    scores = {"nll": nll, "accuracy": 0.5, "ece": 0.1}
    budget = {"train_rows": 9, "held_out_rows": 4, "ensemble_size": 3, "trials": 7, "epochs": 2}
    own = {"dataset": "d", "network": "mlp", "method": method, "seed": seed, **budget, **scores}
    differing = dict.fromkeys(report.DIVERSITY, 0.25)
    return {
        **own,
        "calibrated_nll": nll,
        "calibrated_ece": 0.1,
        **differing,
        "network_epochs": 14,
        "seconds": 1,
        **changes,
    }


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
    assert "| d, mlp | hyper-deep / deep | 1.000 | 1.000 | 1 of 2 | 2 of 2 | 2 of 2 |" in text
    assert "| d, mlp | hyper-batch / batch | 0.500 | 0.500 | 2 of 2 | 2 of 2 | 2 of 2 |" in text
    assert "| cifar100, wrn28-10, published | hyper-deep / deep | 0.982 | | | | |" in text
    assert "| cifar100, wrn28-10, published | hyper-batch / batch | 0.983 | | | | |" in text
    assert "| d, mlp | deep" + " | 0.2500 ± 0.0000" * 6 + " | |" in text
    assert report.report([], []) == "no runs yet"


def test_another_budget_is_another_table():
    assert list(report.tables([*LINES, line("deep", 0, 1, trials=8)])) == [TITLE, TITLE.replace("7", "8")]


def test_the_report_fills_the_readme(tmp_path, capsys):
    (tmp_path / "README.md").write_text(f"before\n{experiment.BEGIN}\nold\n{experiment.END}\nafter\n")
    experiment.append(tmp_path / "results" / "d-mlp.jsonl", LINES)
    of_size = {name: LINES[0][name] for name in ("dataset", "network", "method", "seed", "nll", "calibrated_nll")}
    experiment.append(tmp_path / "sizes.jsonl", [{**of_size, "size": size} for size in (1, 2)])
    report.publish(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert TITLE in text and TITLE in capsys.readouterr().out
    for picture in ("methods.png", "sizes.png"):
        assert f"(plots/{picture})" in text and (tmp_path / "plots" / picture).stat().st_size > 5_000
    report.publish(tmp_path)
    assert (tmp_path / "README.md").read_text() == text


@pytest.mark.parametrize(
    ("nll", "expected"), [(2.1, "below 1"), (2.0, "1.0"), (1.5, "1.5"), (1.0, "2.0"), (0.9, "3.0"), (0.7, "above 4")]
)
def test_equivalents_are_places_on_the_curve_of_deep_ensembles(nll, expected):
    """A larger ensemble that happens to be worse counts as the smaller one."""
    assert report.equivalent(nll, [2.0, 1.0, 1.2, 0.8]) == expected


def test_curves_are_means_over_seeds_of_one_budget():
    sizes = [{**line("deep", seed, seed + size), "size": size} for seed in (0, 1) for size in (1, 2)]
    assert figures.curves(sizes) == {"deep": [1.5, 2.5]}
    of_size = [{name: run[name] for name in ("dataset", "trials", "network", "method", "size", "nll")} for run in sizes]
    figure = figures.sizes_figure([*of_size, {**of_size[0], "trials": 8}])
    assert [len(ax.lines) for ax in figure.axes] == [1, 1]


def test_the_readme_has_a_place_for_the_report():
    text = (paper.FOLDER / "README.md").read_text()
    assert text.count(experiment.BEGIN) == text.count(experiment.END) == 1


@pytest.mark.parametrize(("network", "parameters"), [("resnet20", 0.27e6), ("wrn28-10", 36.5e6)])
def test_sizes_of_large_networks(network, parameters, monkeypatch):
    """The weights are counted, not drawn."""
    monkeypatch.setattr(keras.initializers.HeNormal, "__call__", lambda self, shape, dtype: np.zeros(shape, dtype))
    model = networks.NETWORKS[network](keras_tuner.HyperParameters(), (32, 32, 3), 3)
    assert model.count_params() == pytest.approx(parameters, rel=0.03)


@pytest.mark.integration
@pytest.mark.parametrize("network", ["conv", "resnet20", "wrn28-10"])
def test_networks_through_conversion(network, tmp_path, monkeypatch, eagerly):
    monkeypatch.setitem(networks.NETWORKS, "wrn28-10", partial(networks.wide_resnet, depth=10, width=1))
    groups = ("convolutions", "dense", "output") if network == "conv" else RESIDUAL
    others = {"dropout": 0.2} if network == "conv" else {}
    cell = searched_before(made_up(tmp_path, network, (8, 8, 3)), groups, **others)
    ensemble = methods.trained("hyper-batch", cell)
    assert set(ensemble.space.names) == {*(f"l2_{group}" for group in groups), "label_smoothing", *others}
    predicted = ensemble.predict(cell.data.test[0], verbose=0)
    np.testing.assert_allclose(predicted.sum(1), 1, rtol=1e-5)
