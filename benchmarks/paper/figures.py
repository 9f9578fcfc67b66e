"""The plots of the comparison, after figure 4 of the patent application (all methods) and figure 1 (sizes)."""

import pathlib
from typing import Any

import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.experiment import Run

SCORES = {"nll": "NLL", "accuracy": "accuracy", "ece": "ECE"}


def draw(tables: dict[str, Any], sizes: list[Run], folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Draws what there are runs for; the files, by title."""
    drawn = {}
    if tables:
        title = "Scores of each method, mean and standard error over seeds"
        drawn[title] = saved(methods_figure(tables), folder / "methods.png")
    if sizes:
        title = "Test NLL against ensemble size, deep and hyper-deep, mean over seeds"
        drawn[title] = saved(sizes_figure(sizes), folder / "sizes.png")
    return drawn


def methods_figure(tables: dict[str, Any]) -> Any:
    """A row of panels for each cell, a column for each score, a point for each method: legible on a phone."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    height = sum(0.8 + 0.22 * len(by_method) for by_method in tables.values())
    figure, axes = plt.subplots(
        len(tables), len(SCORES), figsize=(7.5, height), layout="constrained", squeeze=False, sharey="row"
    )
    for row, (title, by_method) in zip(axes, tables.items()):
        row[0].set_title(experiment.label(title.partition(":")[0]), loc="left", fontsize="medium", fontweight="bold")
        for ax, (score, name) in zip(row, SCORES.items()):
            values = [[run[score] for run in of_seed.values()] for of_seed in by_method.values()]
            errors = [np.std(each, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0.0 for each in values]
            ax.errorbar([np.mean(each) for each in values], range(len(values)), xerr=errors, fmt="o", capsize=3)
            ax.set_yticks(range(len(values)), by_method)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.grid(axis="x", alpha=0.3)
            ax.set_xlabel(name)
        row[0].invert_yaxis()  # the first method on top
        row[0].margins(y=0.15)
    return figure


def sizes_figure(sizes: list[Run]) -> Any:
    """A panel for each cell: the mean NLL over seeds against the number of members."""
    import matplotlib.pyplot as plt

    of_cells: dict[Any, list[Run]] = {}
    for run in sizes:  # runs of another budget have a panel of their own
        common = tuple(
            value for name, value in run.items() if name not in ("method", "size", "seed", "nll", "calibrated_nll")
        )
        of_cells.setdefault(common, []).append(run)
    figure, axes = plt.subplots(1, len(of_cells), figsize=(4 * len(of_cells), 3), layout="constrained", squeeze=False)
    for ax, of_cell in zip(axes[0], of_cells.values()):
        khe.plots.scores_by_size(curves(of_cell), ax=ax)
        ax.set_title(experiment.label(f"{of_cell[0]['dataset']}, {of_cell[0]['network']}"))
    return figure


def curves(of_cell: list[Run], score: str = "nll") -> dict[str, list[float]]:
    """By method, the mean score over seeds of ensembles of 1, 2, ... members."""
    found: dict[str, dict[int, list[float]]] = {}
    for run in sorted(of_cell, key=lambda run: run["size"]):
        found.setdefault(run["method"], {}).setdefault(run["size"], []).append(run[score])
    return {method: [float(np.mean(nlls)) for nlls in by_size.values()] for method, by_size in found.items()}


def saved(figure: Any, file: pathlib.Path) -> pathlib.Path:
    import matplotlib.pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return file
