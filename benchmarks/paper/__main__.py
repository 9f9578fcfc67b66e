"""Eight methods on one dataset and network, over seeds; searches and finished runs are stored.

    python -m benchmarks.paper --dataset digits --network conv --ensemble-size 4       # offline, from scikit-learn
    python -m benchmarks.paper --dataset fashion_mnist --network mlp                   # TFDS_DATA_DIR, or --data-dir
    python -m benchmarks.paper --report                  # writes tables and plots of all runs to README.md

The protocol is in `benchmarks/paper/README.md`. Each run is a line of a file in `benchmarks/paper/results`, and is not
repeated; interrupted searches resume.
"""

import argparse
import pathlib
import time
from dataclasses import replace

import numpy as np
import tensorflow as tf

from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.experiment import Run
from benchmarks.paper import diversity
from benchmarks.paper import methods
from benchmarks.paper import networks
from benchmarks.paper import report
from benchmarks.paper.methods import Cell

FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    options = _options()
    if not options.report:
        data = load(options.dataset, options.data_dir, options.train_rows, options.held_out_rows)
        others = diversity.unfamiliar(data, options.data_dir)
        for seed in range(options.seeds):
            _run(_cell(data, seed, options), others, options)
    report.publish(options.results)


def _options() -> argparse.Namespace:
    parser = experiment.parser(__doc__, FOLDER)
    experiment.add_data(parser, train_rows=10_000, held_out_rows=1_000)
    parser.add_argument("--dataset", default="digits", help="digits, or any TFDS image classification dataset")
    parser.add_argument("--network", default="lenet", choices=networks.NETWORKS, help="conv is for 8x8 images")
    parser.add_argument("--methods", nargs="+", default=list(methods.METHODS), choices=methods.METHODS)
    parser.add_argument("--largest", type=int, help="size of the largest deep ensemble; default: --ensemble-size")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, help="default: as in the other benchmarks on these data")
    parser.add_argument("--directory", default="benchmark_runs/paper", help="directory of the searches")
    parser.add_argument("--mirrored", action="store_true", help="train on all accelerators (MirroredStrategy)")
    return parser.parse_args()


def _cell(data: Data, seed: int, options: argparse.Namespace) -> Cell:
    """All epochs are trained and the best one is kept: groups of candidates cannot stop one by one."""
    schedule = experiment.schedule_of(data)
    epochs = options.epochs or schedule.epochs
    name = f"{data.name}-{options.network}-{len(data.train[1])}-{epochs}-{seed}"
    return Cell(
        data,
        options.network,
        replace(schedule, epochs=epochs, patience=epochs),
        options.ensemble_size,
        options.trials,
        seed,
        pathlib.Path(options.directory) / name,
        options.results,
        tf.distribute.MirroredStrategy() if options.mirrored else None,
    )


def _run(cell: Cell, others: np.ndarray, options: argparse.Namespace) -> None:
    file = cell.results / "results" / f"{cell.data.name}-{cell.network}.jsonl"
    for method in options.methods:
        experiment.once(file, cell.key(method=method), lambda method=method: _measured(method, cell, others))
    if "hyper-deep" in options.methods:
        methods.measure_sizes(cell, options.largest or cell.ensemble_size)


def _measured(method: str, cell: Cell, others: np.ndarray) -> Run:
    epochs, start = methods.network_epochs(method, cell), time.monotonic()
    print(f"{method}, seed {cell.seed}: {epochs} network-epochs", flush=True)
    model = methods.trained(method, cell)
    seconds = round(time.monotonic() - start)
    scores = {**diversity.measured(model, cell.data, others), **experiment.measured(model, cell.data)}
    return {**scores, "network_epochs": epochs, "seconds": seconds}


if __name__ == "__main__":
    main()
