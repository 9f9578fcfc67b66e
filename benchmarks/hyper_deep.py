"""Hyper-deep ensembles on real images: the single best network, a deep ensemble of the same size, and hyper-deep.

    python -m benchmarks.hyper_deep                                          # digits, no network needed
    python -m benchmarks.hyper_deep --dataset mnist --data-dir ../shared/tensorflow_datasets --train-rows 6000
    python -m benchmarks.hyper_deep --report                                 # the tables of everything run so far

One KerasTuner random search over L2, dropout and the learning rate finds the candidates. The deep ensemble is the best
of them, trained from as many initializations as there are members; hyper-deep is the whole procedure on the same pool.
All choices are made on held-out rows; the scores are of the test rows. Each run is a line of
`benchmarks/results/hyper_deep.jsonl`; runs that are there already are not repeated, an interrupted one goes on.
"""

import argparse
import pathlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks import methods
from benchmarks import networks
from benchmarks import runs
from benchmarks.data import Data
from benchmarks.data import load

METHODS = ("single best", "deep ensemble", "hyper-deep ensemble")
OBJECTIVE = keras_tuner.Objective("val_nll", "min")  # without the penalties that `val_loss` has


def searched(
    data: Data,
    schedule: methods.Schedule,
    size: int,
    trials: int,
    directory: Any,
    *,
    build_model: Callable[[keras_tuner.HyperParameters], keras.Model] | None = None,
    workers: int | None = None,
    verbose: int = 1,
    **settings: Any,
) -> khe.HyperDeepEnsembleBuilder:
    """A builder after its search, with all held-out rows as validation rows: here nothing else needs them.

    Where patience is as long as the schedule, nothing stops early and no callback stands in the way of groups.
    """
    build_model = build_model or networks.hypermodel_of(data, schedule)
    stop = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=schedule.patience)
    builder = khe.HyperDeepEnsembleBuilder(
        build_model, ensemble_size=size, objective=OBJECTIVE, max_trials=trials, directory=directory, **settings
    )
    planned = trials + builder.num_hyperparameter_sets * builder.initializations
    builder.search(
        *data.train,
        validation_data=tuple(np.concatenate(parts) for parts in zip(data.tuning, data.validation)),
        epochs=schedule.epochs,
        batch_size=schedule.batch_size,
        callbacks=[stop] if schedule.patience < schedule.epochs else [],
        workers=workers,
        verbose=verbose if len(builder.candidates) < planned else 0,  # what is there already is no news
    )
    return builder


def ensembles(builder: khe.HyperDeepEnsembleBuilder) -> dict[str, keras.Model]:
    """The three to compare, out of one pool."""
    return {
        "single best": builder.build_ensemble(1),
        "deep ensemble": builder.build_deep_ensemble(),
        "hyper-deep ensemble": builder.build_ensemble(),
    }


def main() -> None:
    options = _options()
    if not options.report:
        data = load(options.dataset, options.data_dir, options.train_rows, options.held_out_rows)
        for seed in range(options.first_seed, options.seeds):
            _run(data, seed, options)
    print(report(runs.read(options.results)))


def _options() -> argparse.Namespace:
    parser = runs.parser(__doc__, "hyper_deep.jsonl")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--directory", default="benchmark_runs", help="where the searches are kept")
    return parser.parse_args()


def _run(data: Data, seed: int, options: argparse.Namespace) -> None:
    cell = {
        "dataset": data.name,
        "train_rows": len(data.train[1]),
        "ensemble_size": options.ensemble_size,
        "trials": options.trials,
        "seed": seed,
    }
    if runs.find(options.results, cell):
        return
    directory = pathlib.Path(options.directory) / f"{data.name}-{seed}"
    schedule = methods.schedule_of(data)
    builder = searched(data, schedule, options.ensemble_size, options.trials, directory, seed=seed)
    finished = []
    for name, ensemble in ensembles(builder).items():
        scores = methods.scores(ensemble.predict(data.test[0], batch_size=500, verbose=0), data.test[1])
        finished.append({**cell, "method": name, **asdict(scores), "members": ensemble.ensemble_size})
    builder.results_summary(5)
    runs.append(options.results, finished)
    keras.backend.clear_session()


def report(done: list[dict[str, Any]]) -> str:
    """A Markdown table per data set: means and standard errors over seeds, and how often hyper-deep wins."""
    names = dict.fromkeys(run["dataset"] for run in done)
    return "\n\n".join(_table(name, [run for run in done if run["dataset"] == name]) for name in names)


def _table(name: str, done: list[dict[str, Any]]) -> str:
    by_method = {method: {run["seed"]: run for run in done if run["method"] == method} for method in METHODS}
    baseline = by_method["deep ensemble"]
    lines = [
        f"{name}: {done[0]['train_rows']} training rows, {done[0]['ensemble_size']} members, "
        f"{done[0]['trials']} trials, {len(baseline)} seeds",
        "",
        "| | NLL | accuracy | ECE | NLL / deep ensemble's | lower NLL |",
        "|---|---|---|---|---|---|",
    ]
    for method, of_seed in by_method.items():
        lines.append("| " + " | ".join([method, *runs.cells(of_seed, baseline)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
