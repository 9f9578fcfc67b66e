"""Hyper-batch with its defaults, with one of them disabled, and from bad starts, compared with baselines.

    python -m benchmarks.defaults --dataset fashion_mnist --network mlp            # TFDS_DATA_DIR, or --data-dir
    python -m benchmarks.defaults --report

Networks and training are those of `benchmarks.paper`: 6,000 training samples, 1,000 tuning samples, 1,000 samples
for the selection of the epoch, 20 epochs, 3 members. Scores use 10,000 further samples of the training set, and no test
samples. Seeds start at 1000. `settings.jsonl` has the best setting of a random search of 24 single networks per
seed: baselines use it, and hyper-batch starts near it or, where the name states so, at weak or strong penalties.
"""

import pathlib
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.defaults import report
from benchmarks.defaults.methods import FURTHER
from benchmarks.defaults.methods import METHODS
from benchmarks.defaults.methods import TRAIN
from benchmarks.defaults.methods import TUNING
from benchmarks.defaults.methods import VALIDATION

FOLDER = pathlib.Path(__file__).parent
FIRST_SEED = 1000


def data_of(name: str, data_dir: str | None) -> Data:
    """Samples of the training set alone: those to score on are in the place of the test samples."""
    whole = load(name, data_dir, TRAIN + TUNING + VALIDATION + FURTHER, 1)
    ends = np.cumsum([TRAIN, TUNING, VALIDATION, FURTHER])
    parts = [tuple(each[start:end] for each in whole.train) for start, end in zip([0, *ends], ends)]
    return Data(name, *parts)


def _measured(model: keras.Model, data: Data) -> dict[str, Any]:
    values = {}
    if isinstance(model, khe.HyperBatchEnsemble):
        values = {
            name: [float(f"{each:.4g}") for each in found] for name, found in model.hyperparameter_values().items()
        }
        values["temperature"] = round(float(model.temperature_values()[0]), 4)
    return {**experiment.measured(model, data), "values": values}


def _run(data: Data, network: str, seed: int, methods: list[str]) -> None:
    cell = {"dataset": data.name, "network": network, "seed": seed}
    found = experiment.find(FOLDER / "settings.jsonl", cell)

    def measure(method: str) -> experiment.Run:
        keras.utils.set_random_seed(seed)
        return _measured(METHODS[method](data, network, found["values"], seed), data)

    for method in methods if found else ():
        file = FOLDER / "results" / f"{data.name}-{network}.jsonl"
        experiment.once(file, {**cell, "method": method}, lambda method=method: measure(method))


def main() -> None:
    parser = experiment.parser(__doc__, pathlib.Path())
    experiment.add_data(parser)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--network", default="mlp", choices=("mlp", "lenet"))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()
    if not options.report:
        data = data_of(options.dataset, options.data_dir)
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            _run(data, options.network, seed, options.methods)
    runs = report.runs_of(FOLDER)
    report.draw(runs, FOLDER)
    experiment.publish(FOLDER, report.report(runs))


if __name__ == "__main__":
    main()
