import numpy as np
import pytest

from benchmarks import experiment
from benchmarks.defaults import __main__ as defaults
from benchmarks.defaults import methods
from benchmarks.defaults import report


def test_the_report_has_ratios_to_the_batch_ensemble_of_the_same_seed(tmp_path):
    nlls = {("batch", 1000): 0.5, ("batch", 1001): 0.4, ("hyper-batch", 1000): 0.4, ("hyper-batch", 1001): 0.44}
    scores = {"accuracy": 0.9, "ece": 0.01, "calibrated_ece": 0.01}
    runs = [
        {"dataset": "digits", "network": "mlp", "seed": seed, "method": method}
        | {"nll": nll, "calibrated_nll": nll / 2, **scores}
        for (method, seed), nll in nlls.items()
    ]
    experiment.append(tmp_path / "results" / "digits-mlp.jsonl", runs)
    found = report.runs_of(tmp_path)
    row = next(line for line in report.report(found).splitlines() if line.startswith("| hyper-batch |"))
    assert row.split(" | ")[1].startswith("0.4200 ±") and row.split(" | ")[4:] == ["0.950", "1 of 2", "0.950 |"]
    assert report.ratios(found).splitlines()[-1] == "| hyper-batch | 0.950 (1 of 2) |"
    assert report.draw(found, tmp_path).stat().st_size > 5_000


def test_all_parts_are_of_the_training_set_and_distinct(monkeypatch):
    monkeypatch.setattr(defaults, "TRAIN", 300)
    for name, size in (("TUNING", 50), ("VALIDATION", 60), ("FURTHER", 70)):
        monkeypatch.setattr(defaults, name, size)
    asked = []

    def load(name, data_dir, train_rows, held_out_rows):
        asked.append(train_rows)
        rows = np.arange(train_rows)
        return defaults.Data(name, (rows, rows), *[(rows[:1], rows[:1])] * 3)

    monkeypatch.setattr(defaults, "load", load)
    data = defaults.data_of("some", None)
    parts = [part[1] for part in (data.train, data.tuning, data.validation, data.test)]
    assert asked == [480] and [len(part) for part in parts] == [300, 50, 60, 70]
    assert len(set(np.concatenate(parts))) == 480


def test_bad_starts_are_places_in_the_ranges(monkeypatch):
    starts = []
    monkeypatch.setattr(methods, "_hyper_batch", lambda *arguments: starts.append(arguments[2]))
    methods._from(0.8, None, "mlp", {"l2_input": 1e-3, "dropout": 0.1, "label_smoothing": 0.0}, 0)
    assert starts[0] == pytest.approx({"l2_input": 10**-2.6, "dropout": 0.4, "label_smoothing": 0.16})
