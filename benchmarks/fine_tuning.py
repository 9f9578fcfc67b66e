"""Fine-tuning a trained network as an ensemble: what random rank-1 factors cost at first and are worth at last.

    python -m benchmarks.fine_tuning                 # scikit-learn's digits, no network needed
    python -m benchmarks.fine_tuning --report        # the table of everything run so far

A network is trained to tell the digits 0 to 4 apart; with a new last layer it is fine-tuned on 150 images of 5 to 9,
as a single network and as hyper-batch ensembles whose rank-1 factors start at one (every member predicts what the
network predicts) or around one. Each run is a line of `benchmarks/results/fine_tuning.jsonl`.
"""

import argparse
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import methods
from benchmarks import networks
from benchmarks import runs
from benchmarks.data import Data
from benchmarks.data import Rows
from benchmarks.data import load

PRETRAINING, FINE_TUNING = methods.Schedule(60, 15, 32), methods.Schedule(100, 20, 32)
ROLES = {
    "l2": khe.Hyperparameter("l2", 1e-5, 1e-2, "log"),
    "dropout": khe.Hyperparameter("dropout", 0.0, 0.5, "linear"),
}
METHODS: dict[str, Any] = {
    "single network": None,
    "factors 1": "ones",
    "factors 1 ± 0.1": 0.1,
    "factors 1 ± 0.25": 0.25,
    "factors 1 ± 0.5": 0.5,
    "random signs": "random_sign",
}


def main() -> None:
    parser = runs.parser(__doc__, "fine_tuning.jsonl")
    parser.set_defaults(ensemble_size=4)
    options = parser.parse_args()
    if not options.report:
        old, new = halves(load("digits"), options.train_rows)
        for seed in range(options.seeds):
            _run(old, new, seed, options)
    print(report(runs.read(options.results)))


def halves(data: Data, train_rows: int) -> tuple[Data, Data]:
    """The digits 0 to 4 to train on, and a few images of 5 to 9 to fine-tune with."""

    def part(rows: Rows, first: int, number: int | None = None) -> Rows:
        images, labels = rows
        chosen = (labels >= first) & (labels < first + 5)
        return images[chosen][:number], labels[chosen][:number] - first

    old = Data("digits 0-4", *(part(rows, 0) for rows in (data.train, data.tuning, data.validation, data.test)))
    train = part(data.train, 5, min(train_rows, 150))
    new = Data("digits 5-9", train, *(part(rows, 5) for rows in (data.tuning, data.validation, data.test)))
    return old, new


def pretrained(data: Data, seed: int) -> keras.Model:
    """A network that knows these digits, with a new last layer."""
    keras.utils.set_random_seed(seed)
    model = networks.small_conv(1e-3, 0.2, data.image_shape, data.num_classes)
    compile_for(model, data, PRETRAINING)
    methods.train(model, data, [], schedule=PRETRAINING)
    last = model.layers[-1]
    last.set_weights([keras.initializers.GlorotUniform(seed)(last.kernel.shape), np.zeros(last.bias.shape)])
    return model


def compile_for(model: keras.Model, data: Data, schedule: methods.Schedule) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(schedule.optimizer(len(data.train[1])), loss)


def _run(old: Data, new: Data, seed: int, options: argparse.Namespace) -> None:
    cell = {"train_rows": len(new.train[1]), "ensemble_size": options.ensemble_size, "seed": seed}
    missing = [name for name in METHODS if not runs.find(options.results, {**cell, "method": name})]
    network = pretrained(old, seed) if missing else None
    for name in missing:
        keras.utils.set_random_seed(seed)
        model = fine_tuned(network, METHODS[name], options.ensemble_size, new, seed)
        runs.append(options.results, [{**cell, "method": name, **asdict(methods.score(model, new.test))}])


def fine_tuned(network: keras.Model, factors: Any, ensemble_size: int, data: Data, seed: int) -> keras.Model:
    """The network, or an ensemble made of it with such rank-1 factors, trained on new data."""
    if factors is None:
        model = keras.models.clone_model(network)
        model.set_weights(network.get_weights())
    else:
        initializer = keras.initializers.RandomNormal(1.0, factors, seed) if isinstance(factors, float) else factors
        model = khe.HyperBatchEnsemble.from_model(
            network, roles=ROLES, ensemble_size=ensemble_size, fast_weight_initializer=initializer, seed=seed
        )
    compile_for(model, data, FINE_TUNING)
    methods.train(model, data, [], schedule=FINE_TUNING)
    return model


def report(done: list[dict[str, Any]]) -> str:
    """A Markdown table: means and standard errors over seeds, and how often each has a lower NLL than factors of 1."""
    by_method = {name: {run["seed"]: run for run in done if run["method"] == name} for name in METHODS}
    lines = ["| | NLL | accuracy | ECE | NLL / that with factors 1 | lower NLL |", "|---|---|---|---|---|---|"]
    for name, of_seed in by_method.items():
        lines.append("| " + " | ".join([name, *runs.cells(of_seed, by_method["factors 1"])]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
