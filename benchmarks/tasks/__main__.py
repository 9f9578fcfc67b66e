"""Segmentation, text and regression: a batch ensemble and a hyper-batch ensemble against a single network, over seeds.

    python -m benchmarks.tasks --task segmentation --seeds 3
    python -m benchmarks.tasks                                          # all three tasks
    python -m benchmarks.tasks --report                                 # the tables of everything run so far

The fixed L2 and dropout of the single network and of the batch ensemble are, for each, the best of a small grid on
tuning and validation rows, with a seed that is not reported. Each run is a line of `benchmarks/results/tasks.jsonl`;
runs that are there already are not repeated.
"""

import argparse
import pathlib
import time
from typing import Any

import keras
import numpy as np

from benchmarks import methods
from benchmarks import runs
from benchmarks.tasks import regression
from benchmarks.tasks import segmentation
from benchmarks.tasks import text
from benchmarks.tasks.task import ENSEMBLE_SIZE
from benchmarks.tasks.task import Settings
from benchmarks.tasks.task import Task
from benchmarks.tasks.task import build
from benchmarks.tasks.task import score
from benchmarks.tasks.task import train

TASKS = {task.name: task for task in (segmentation.TASK, text.TASK, regression.TASK)}
SELECTION_SEED = 1000


def main() -> None:
    options = _options()
    for name in [] if options.report else options.task:
        task = TASKS[name]
        for method in options.methods:
            settings = {} if method == "hyper-batch" else _select(task, method, options.results)
            for seed in range(options.seeds):
                _run(task, method, settings, seed, options.results)
    print(report(runs.read(options.results)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=methods.METHODS, choices=methods.METHODS)
    parser.add_argument("--results", type=pathlib.Path, default=runs.RESULTS / "tasks.jsonl")
    parser.add_argument("--report", action="store_true", help="only print the tables")
    return parser.parse_args()


def _select(task: Task, method: str, results: pathlib.Path) -> Settings:
    """The settings of the grid with which a method does best on held-out rows."""
    tried = [_run(task, method, settings, SELECTION_SEED, results) for settings in task.grid]
    return task.grid[int(np.argmin([run["held_out_nll"] for run in tried]))]


def _run(task: Task, method: str, settings: Settings, seed: int, results: pathlib.Path) -> dict[str, Any]:
    cell = {"task": task.name, "method": method, "seed": seed, "settings": settings}
    found = runs.find(results, cell)
    if found:
        return found
    data = task.load(seed)
    start = time.monotonic()
    model = build(task, method, data, settings, seed)
    history = train(task, model, data)
    held_out = [score(task, model, rows)["nll"] for rows in (data.tuning, data.validation)]
    run = {
        **cell,
        "ensemble_size": 1 if method == "single" else ENSEMBLE_SIZE,
        "measures": score(task, model, data.test),
        "held_out_nll": float(np.mean(held_out)),
        "epochs": len(history["loss"]),
        "seconds": round(time.monotonic() - start, 1),
    }
    keras.backend.clear_session()
    runs.append(results, [run])
    return run


def report(done: list[runs.Run]) -> str:
    """A Markdown table per task: means and standard errors over seeds, and how often the single network is beaten."""
    done = [run for run in done if run["seed"] != SELECTION_SEED]
    names = dict.fromkeys(run["task"] for run in done)
    return "\n\n".join(_table(name, [run for run in done if run["task"] == name]) for name in names)


def _table(name: str, done: list[runs.Run]) -> str:
    measures = list(done[0]["measures"])
    seeds = {run["seed"] for run in done}
    titles = ["", *measures, "nll - single network's", "lower nll", "epochs", "seconds"]
    lines = [f"{name}: {ENSEMBLE_SIZE} members, {len(seeds)} seeds", ""]
    lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    ran = [method for method in methods.METHODS if any(run["method"] == method for run in done)]
    by_method = {method: {run["seed"]: run for run in done if run["method"] == method} for method in ran}
    baseline = by_method.get("single", {})
    for method, of_seed in by_method.items():
        cells = [runs.mean_and_error([run["measures"][each] for run in of_seed.values()]) for each in measures]
        gaps = [
            run["measures"]["nll"] - baseline[seed]["measures"]["nll"]
            for seed, run in of_seed.items()
            if seed in baseline and method != "single"
        ]
        cells += [runs.mean_and_error(gaps), f"{sum(gap < 0 for gap in gaps)} of {len(gaps)}"] if gaps else ["", ""]
        cells += [f"{np.mean([run[each] for run in of_seed.values()]):.0f}" for each in ("epochs", "seconds")]
        lines.append("| " + " | ".join([method, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
