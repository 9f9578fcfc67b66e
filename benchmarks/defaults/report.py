"""Tables and a figure of all runs so far."""

import pathlib
from collections.abc import Iterable

from benchmarks import experiment
from benchmarks.defaults.methods import FURTHER
from benchmarks.defaults.methods import METHODS
from benchmarks.experiment import Run
from benchmarks.paper import figures

MAIN = {  # names in the figure
    "single": "single",
    "deep": "deep",
    "batch": "batch",
    "batch, distinct samples and temperature": "batch, our defaults",
    "hyper-batch": "hyper-batch",
}


def runs_of(folder: pathlib.Path) -> dict[str, list[Run]]:
    """All runs, by cell."""
    found = [experiment.read(file) for file in sorted((folder / "results").glob("*.jsonl"))]
    return {f"{done[0]['dataset']}, {done[0]['network']}": done for done in found}


def report(runs: dict[str, list[Run]]) -> str:
    """A Markdown table for each cell: means and standard errors over seeds, and ratios to the batch ensemble's NLL."""
    columns = ["", "NLL", "accuracy", "ECE", "NLL / batch", "lower", "NLL / batch, both calibrated"]
    tables = []
    for cell, done in runs.items():
        as_trained = experiment.by_seed(done, METHODS)
        after = experiment.by_seed(experiment.after_calibration(done), METHODS)
        baseline, calibrated = as_trained.get("batch", {}), after.get("batch", {})
        rows = []
        for method, of_seed in as_trained.items():
            ratio = experiment.cells(after[method], calibrated)[3]
            rows.append([method, *experiment.cells(of_seed, baseline), ratio])
        title = f"{cell}, {len(baseline)} seeds, scores on {FURTHER:,} samples"
        tables.append(f"{title}\n\n{experiment.table(columns, rows)}")
    return "\n\n".join(tables)


def ratios(runs: dict[str, list[Run]], methods: Iterable[str] = METHODS) -> str:
    """A row for each method, a column for each cell: mean NLL over the batch ensemble's, and how often it is lower."""
    found = {cell: experiment.by_seed(done, METHODS) for cell, done in runs.items()}
    rows = []
    for method in methods:
        cells = [experiment.cells(each[method], each["batch"])[3:] if method in each else [] for each in found.values()]
        rows += [[method, *(f"{cell[0]} ({cell[1]})" if cell else "" for cell in cells)]] if any(cells) else []
    return experiment.table(["NLL / batch", *map(experiment.label, found)], rows)


def draw(runs: dict[str, list[Run]], folder: pathlib.Path) -> pathlib.Path:
    """The main methods in all cells; returns the file."""
    found = {cell: experiment.by_seed(done, MAIN) for cell, done in runs.items()}
    named = {cell: {MAIN[name]: of_seed for name, of_seed in each.items()} for cell, each in found.items()}
    return figures.saved(figures.methods_figure(named), folder / "plots" / "methods.png")
