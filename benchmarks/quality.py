"""Quality on real images: hyper-batch against a batch ensemble of the same size, and a single network, over seeds.

    python -m benchmarks.quality --dataset digits --ensemble-size 4 --seeds 10 --selection-seeds 3
    python -m benchmarks.quality --dataset mnist --data-dir ../shared/tensorflow_datasets --train-rows 6000
    python -m benchmarks.quality --dataset cifar10_jpeg --data-dir ../shared/tensorflow_datasets
    python -m benchmarks.quality --report                               # the tables of everything run so far

The fixed L2 and dropout of the batch ensemble (and of the single network) are the best of a grid of eight, by the mean
NLL of the batch ensemble on tuning and validation rows with seeds that are not reported. The hyper-batch ensemble tunes
L2, and either has the same dropout or tunes that too: the better of the two on those rows with those seeds. All share
data, network, batches, optimizer and stopping rule. "Calibrated" is with a temperature fitted on all held-out rows,
for every method. Each run is a line of `benchmarks/results/quality.jsonl`; those that are there are not repeated.
"""

import argparse
import time
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from benchmarks import methods
from benchmarks import runs
from benchmarks.data import Data
from benchmarks.data import load

GRID = [{"l2": l2, "dropout": dropout} for l2 in (1e-4, 3e-4, 1e-3, 3e-3) for dropout in (0.1, 0.25)]
FIRST_SELECTION_SEED = 1000


def main() -> None:
    options = _options()
    if not options.report:
        data = load(options.dataset, options.data_dir, options.train_rows, options.held_out_rows)
        fixed = _select(data, "batch", GRID, options)
        own = _select(data, "hyper-batch", [{"dropout": fixed["dropout"]}, {}], options)
        of_method = {"single": fixed, "batch": fixed, "hyper-batch": own}
        for seed in range(options.seeds):
            for method in options.methods:
                _run(data, method, of_method[method], seed, options)
    print(report(runs.read(options.results)))


def _options() -> argparse.Namespace:
    parser = runs.parser(__doc__, "quality.jsonl")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="where its cosine starts")
    parser.add_argument("--selection-seeds", type=int, default=1, help="runs of each setting that is chosen from")
    parser.add_argument("--methods", nargs="+", default=methods.METHODS, choices=methods.METHODS)
    return parser.parse_args()


def _select(data: Data, method: str, grid: list[dict[str, float]], options: argparse.Namespace) -> dict[str, float]:
    """The settings of the grid with which a method does best on held-out rows."""
    means = []
    for settings in grid:
        seeds = range(FIRST_SELECTION_SEED, FIRST_SELECTION_SEED + options.selection_seeds)
        nlls = [_run(data, method, settings, seed, options)["held_out_nll"] for seed in seeds]
        means.append(np.mean(nlls))
    return grid[int(np.argmin(means))]


def _run(data: Data, method: str, settings: dict, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    cell = {
        "dataset": data.name,
        "train_rows": len(data.train[1]),
        "learning_rate": options.learning_rate,
        "method": method,
        "ensemble_size": 1 if method == "single" else options.ensemble_size,
        "seed": seed,
        "settings": settings,
    }
    found = runs.find(options.results, cell)
    if found:
        return found
    start = time.monotonic()
    model = methods.build(method, data, options.ensemble_size, settings, seed, options.learning_rate)
    history = methods.train(model, data, [])
    held_out = [methods.score(model, rows).nll for rows in (data.tuning, data.validation)]
    as_trained = asdict(methods.score(model, data.test))
    calibrated = asdict(methods.score(methods.calibrated(model, data), data.test))
    run = {
        **cell,
        **as_trained,
        "calibrated": calibrated,
        "held_out_nll": float(np.mean(held_out)),
        "epochs": len(history["loss"]),
        "seconds": round(time.monotonic() - start, 1),
    }
    keras.backend.clear_session()
    runs.append(options.results, [run])
    return run


def report(done: list[dict[str, Any]]) -> str:
    """A Markdown table per data set and learning rate: means and standard errors over seeds, and who wins how often."""
    done = [run for run in done if run["seed"] < FIRST_SELECTION_SEED]
    kinds = dict.fromkeys((run["dataset"], run["learning_rate"]) for run in done)
    return "\n\n".join(
        _table(*kind, [run for run in done if (run["dataset"], run["learning_rate"]) == kind]) for kind in kinds
    )


def _table(name: str, learning_rate: float, done: list[dict[str, Any]]) -> str:
    seeds = sorted({run["seed"] for run in done})
    lines = [
        f"{name}: {done[0]['train_rows']} training rows, {max(run['ensemble_size'] for run in done)} members, "
        f"{len(seeds)} seeds, learning rate {learning_rate:g}",
        "",
        "| | NLL | accuracy | ECE | / batch ensemble's | lower | calibrated: NLL | ECE | / batch ensemble's | lower |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    ran = [method for method in methods.METHODS if any(run["method"] == method for run in done)]
    by_method = {method: {run["seed"]: run for run in done if run["method"] == method} for method in ran}
    baseline = by_method.get("batch", {})
    for method, of_seed in by_method.items():
        after = {
            of: {seed: run["calibrated"] for seed, run in by_seed.items() if "calibrated" in run}
            for of, by_seed in by_method.items()
        }
        nll, _, ece, ratio, wins = runs.cells(after[method], after.get("batch", {}))
        lines.append("| " + " | ".join([method, *runs.cells(of_seed, baseline), nll, ece, ratio, wins]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
