"""Segmentation, text and regression: batch and hyper-batch ensembles compared with a single network, over seeds.

    python -m benchmarks.tasks --task segmentation --seeds 3
    python -m benchmarks.tasks                                          # all three tasks
    python -m benchmarks.tasks --report                                 # the tables of all runs

L2 and dropout of the single network and of the batch ensemble are, for each, the best of a small grid on tuning and
validation data, with a seed that is not reported. Each run is a line of `benchmarks/results/tasks.jsonl`; existing runs
are not repeated.
"""

import pathlib
import time

import numpy as np

from benchmarks import experiment
from benchmarks.experiment import METHODS
from benchmarks.experiment import Run
from benchmarks.experiment import Settings
from benchmarks.experiment import mean_and_error
from benchmarks.tasks import regression
from benchmarks.tasks import segmentation
from benchmarks.tasks import text
from benchmarks.tasks.task import Task

TASKS = {task.name: task for task in (segmentation.TASK, text.TASK, regression.TASK)}
ENSEMBLE_SIZE = 4
SELECTION_SEED = 1000


def main() -> None:
    parser = experiment.parser(__doc__, experiment.RESULTS / "tasks.jsonl", seeds=3)
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options = parser.parse_args()
    for task in () if options.report else map(TASKS.get, options.task):
        for method in options.methods:
            settings = {} if method == "hyper-batch" else _select(task, method, options.results)
            for seed in range(options.seeds):
                _run(task, method, settings, seed, options.results)
    print(report(experiment.read(options.results)))


def _select(task: Task, method: str, results: pathlib.Path) -> Settings:
    """The settings of the grid with which a method does best on held-out rows."""
    tried = [_run(task, method, settings, SELECTION_SEED, results) for settings in task.grid]
    return task.grid[int(np.argmin([run["held_out_nll"] for run in tried]))]


def _run(task: Task, method: str, settings: Settings, seed: int, results: pathlib.Path) -> Run:
    cell = {"task": task.name, "method": method, "seed": seed, "settings": settings}
    return experiment.once(results, cell, lambda: _measured(task, method, settings, seed))


def _measured(task: Task, method: str, settings: Settings, seed: int) -> Run:
    data, start = task.load(seed), time.monotonic()
    model = experiment.build(method, task.hypermodel(data, task.schedule), settings, ENSEMBLE_SIZE, seed)
    history = experiment.train(model, data, task.schedule)
    return {
        "ensemble_size": 1 if method == "single" else ENSEMBLE_SIZE,
        "measures": task.score(model, data.test),
        "held_out_nll": float(np.mean([task.score(model, rows)["nll"] for rows in (data.tuning, data.validation)])),
        "epochs": len(history["loss"]),
        "seconds": experiment.seconds_since(start),
    }


def report(done: list[Run]) -> str:
    """A Markdown table per task: means and standard errors over seeds, and how often the single network is beaten."""
    done = [run for run in done if run["seed"] != SELECTION_SEED]
    names = dict.fromkeys(run["task"] for run in done)
    return "\n\n".join(_table(name, [run for run in done if run["task"] == name]) for name in names)


def _table(name: str, done: list[Run]) -> str:
    measures = list(done[0]["measures"])
    of_methods = experiment.by_seed(done, METHODS)
    rows = []
    for method, of_seed in of_methods.items():
        cells = [mean_and_error([run["measures"][each] for run in of_seed.values()]) for each in measures]
        gaps = [] if method == "single" else _gaps(of_seed, of_methods.get("single", {}))
        cells += [mean_and_error(gaps), f"{sum(gap < 0 for gap in gaps)} of {len(gaps)}"] if gaps else ["", ""]
        cells += [f"{np.mean([run[each] for run in of_seed.values()]):.0f}" for each in ("epochs", "seconds")]
        rows.append([method, *cells])
    columns = ["", *measures, "nll - single network's", "lower nll", "epochs", "seconds"]
    title = f"{name}: {ENSEMBLE_SIZE} members, {len({run['seed'] for run in done})} seeds"
    return f"{title}\n\n{experiment.table(columns, rows)}"


def _gaps(of_seed: dict[int, Run], baseline: dict[int, Run]) -> list[float]:
    nll = {seed: run["measures"]["nll"] for seed, run in baseline.items()}
    return [run["measures"]["nll"] - nll[seed] for seed, run in of_seed.items() if seed in nll]


if __name__ == "__main__":
    main()
