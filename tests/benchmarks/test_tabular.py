"""Benchmark on tables, with synthetic ones: methods, restarts, division, scores and report."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import log_loss

from benchmarks import experiment
from benchmarks.tabular import __main__ as tabular
from benchmarks.tabular import hypermodel
from benchmarks.tabular import methods
from benchmarks.tabular import report
from benchmarks.tabular import scores
from benchmarks.tabular import sets
from benchmarks.tabular import tables
from benchmarks.tabular import tuning
from benchmarks.tabular.sets import Frame

OURS = ("mlp", "deep", "hyper-deep", "hyper-batch-4")


def frame(classes=0, samples=200):
    """Returns two numeric columns, one with missing values, a binary one, and two categories; a fifth is later."""
    generator = np.random.default_rng(0)
    size, share = generator.lognormal(size=samples), generator.uniform(size=samples)
    kind, place = generator.choice(["a", "b"], samples), generator.choice(["a", "c", "d"], samples)
    values = np.log(size) + (kind == "b") + generator.normal(0, 0.3, samples)
    features = {"size": size, "share": np.where(share < 0.2, np.nan, share), "is_new": np.arange(samples) % 2}
    features |= {"kind": kind, "place": place}
    targets = (values > 0.5).astype("int64") if classes else 10 + 2 * values
    return Frame(pd.DataFrame(features), targets, np.arange(samples) >= 0.8 * samples, classes, "made up")


def test_a_table_is_divided_and_encoded(monkeypatch):
    monkeypatch.setattr(tables, "RARE", 1)
    table = tables.divided("made-up", frame(), seed=0)
    assert [len(part) for part in (table.train, table.tuning, table.validation, table.test, table.later)] == [
        *(102, 13, 13, 32, 40)
    ]
    every = np.concatenate([part.raw for part in (table.train, table.held_out, table.test, table.later)])
    assert len(np.unique(every[:, 0])) == 200 and set(table.later.raw[:, 0]) == set(frame().features["size"][160:])
    size, share, is_new, is_missing = table.train.numbers.T
    order = np.argsort(table.train.raw[:, 0])
    assert (np.diff(size[order]) >= 0).all() and abs(size.mean()) < 0.05 and size.std() == pytest.approx(1, abs=0.1)
    missing = np.isnan(table.train.raw[:, 1])
    np.testing.assert_array_equal(is_missing, missing)
    assert (share[missing] == 0).all() and set(is_new) == {0, 1}
    assert [len(keys) for keys in table.vocabularies] == [2, 3] and len(set(np.concatenate(table.vocabularies))) == 5
    values = table.train.targets * table.scale + table.center
    assert values.mean() == pytest.approx(table.center) and values.std() == pytest.approx(table.scale)


def test_the_division_is_the_seeds():
    same = [tables.divided("made-up", frame(), seed).test.raw for seed in (1, 1, 2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])
    few = tables.divided("made-up", frame(), 0, samples=20)
    assert [len(part) for part in (few.train, few.tuning, few.validation)] == [20, 3, 2]


def test_scores_of_values_by_hand():
    table = SimpleNamespace(classes=0, scale=3.0)
    generator = np.random.default_rng(0)
    predicted = np.stack([generator.normal(size=50), generator.uniform(0.5, 2, 50)], -1)
    targets = generator.normal(size=50)
    found = scores.scores(predicted, targets, table)
    mean, scale = predicted[:, 0], np.sqrt(predicted[:, 1])
    assert found["nll"] == pytest.approx(-norm.logpdf(3 * targets, 3 * mean, 3 * scale).mean())
    assert found["rmse"] == pytest.approx(3 * np.sqrt(np.mean((targets - mean) ** 2)))
    low, high = norm.interval(0.9, mean, scale)
    assert found["coverage"] == ((low <= targets) & (targets <= high)).mean()
    best = scores.fitted_temperature(predicted, targets, table)
    nll = [scores.nll(scores.tempered(predicted, best * each, table), targets, table) for each in (0.9, 1, 1.1)]
    assert nll[1] < min(nll[0], nll[2], found["nll"])


def test_scores_of_classes_by_hand():
    table = SimpleNamespace(classes=2)
    predicted = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    targets = np.array([0, 1, 1, 0])
    found = scores.scores(predicted, targets, table)
    assert found["nll"] == pytest.approx(log_loss(targets, predicted))
    assert (found["accuracy"], found["auroc"]) == (0.75, 1.0)
    np.testing.assert_allclose(scores.tempered(predicted, 1.0, table), predicted)
    np.testing.assert_allclose(scores.tempered(predicted, 0.5, table)[1], np.array([0.36, 0.16]) / 0.52)


@pytest.mark.parametrize(("seconds", "trials", "best"), [(0.5, 1, 0), (5.0, 5, 3), (100.0, 6, 3)])
def test_a_random_search_ends_with_its_seconds(seconds, trials, best, monkeypatch):
    now, nlls, left = [0.0], [5.0, 4.0, 3.0, 1.0, 2.0, 1.5], []
    monkeypatch.setattr(tuning, "clock", lambda: now[0])

    def train(settings, seconds_left):
        now[0] += 1
        left.append(seconds_left)
        return tuning.Trained(nlls[settings["number"]], None, 7)

    found = tuning.best_of(train, ({"number": number} for number in range(10)), seconds, most=6)
    assert (found.trials, found.settings, found.nll) == (trials, {"number": best}, nlls[best])
    assert found.seconds == trials and left == [seconds - number for number in range(trials)]


@pytest.mark.parametrize(("seconds", "steps"), [(1e9, 8), (5.0, 5)])
def test_the_learning_rate_falls_until_all_epochs_or_seconds_are_over(seconds, steps, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tuning, "clock", lambda: now[0])
    model = SimpleNamespace(optimizer=keras.optimizers.Adam(0.1), stop_training=False)
    annealing = hypermodel.Annealing(2, seconds)
    annealing.set_model(model)
    annealing.set_params({"steps": 4})
    annealing.on_train_begin()
    for number in range(steps):
        annealing.on_train_batch_begin(number % 4)
        expected = 0.05 * (1 + np.cos(np.pi * number / steps))
        assert float(model.optimizer.learning_rate) == pytest.approx(expected) and not model.stop_training
        now[0] += 1
    annealing.on_train_batch_begin(0)
    assert model.stop_training and float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)


@pytest.mark.integration
@pytest.mark.parametrize("classes", [0, 2])
def test_every_method_of_ours_on_a_made_up_table(classes, tmp_path, monkeypatch, run, eagerly):
    monkeypatch.setitem(sets.SETS, "churn", lambda: frame(classes))
    for name, value in {"AT_ONCE": 1, "K": 2}.items():
        monkeypatch.setattr(methods, name, value)
    given = ["--dataset", "churn", "--methods", *OURS, "--seeds", 1, "--seconds", 0.1, "--steps", 2, "--width", 8]
    given += ["--results", tmp_path, "--directory", tmp_path / "searches"]
    printed = run(tabular, *given)
    file = tmp_path / "results" / "churn.jsonl"
    done = experiment.read(file)
    score = "accuracy" if classes else "rmse"
    assert [each["method"] for each in done] == list(OURS) and "| **hyper-batch-4** |" in printed
    for each in done:
        assert list(each)[:6] == ["dataset", "method", "seed", "nll", score, "seconds"]
        others = ("auroc", "ece") if classes else ("coverage",)
        measured = [part[name] for part in (each, each["later"]) for name in ("nll", score, *others)]
        assert np.isfinite(measured).all() and each["trials"] == 1 and each["microseconds"] > 0
    parameters = {each["method"]: each["parameters"] for each in done}
    assert parameters["deep"] == parameters["hyper-deep"] == 2 * parameters["mlp"]
    written = file.read_text()
    monkeypatch.setattr(tabular, "trained", None)  # nothing is repeated
    run(tabular, *given)
    assert file.read_text() == written


def made_up_run(method, seed, nll, **others):
    budget = {"train_samples": 90, "seconds_to_tune": 5.0, "steps": 30, "width": 8}
    scored = {"rmse": 2 * nll, "coverage": 0.9, "later": {"nll": nll + 1, "rmse": 1.0, "coverage": 0.5}}
    cost = {"seconds": 7.0, "parameters": 1234, "microseconds": 2.5, "trials": 3}
    return {"dataset": "d", "method": method, "seed": seed, "nll": nll, **scored, **cost, **budget, **others}


def test_a_report_by_hand():
    done = [
        made_up_run(method, seed, nll)
        for method, nlls in {"deep": (1, 2), "hyper-batch-4": (0.5, 2.25)}.items()
        for seed, nll in enumerate(nlls)
    ]
    text = report.report([*done, made_up_run("deep", 0, 9, steps=60)])
    assert "| d | hyper-batch-4 | | -0.1250 (1 of 2) | | | |" in text
    assert "d: train samples 90, seconds to tune 5, steps 30, width 8" in text and "steps 60" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| **hyper-batch-4**")]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [
        *("1.3750 ± 0.8750", "2.7500 ± 1.7500", "0.9000 ± 0.0000"),
        *("2.3750 ± 0.8750", "1.0000 ± 0.0000", "0.5000 ± 0.0000"),
        *("7", "1,234", "2.5", "3", "2"),
    ]
    assert report.report([]) == ""


def test_the_readme_has_a_place_for_the_report():
    text = (tabular.FOLDER / "README.md").read_text()
    assert text.count(experiment.BEGIN) == text.count(experiment.END) == 1
    assert all(f"`{name}`" in text for name in sets.SETS)
