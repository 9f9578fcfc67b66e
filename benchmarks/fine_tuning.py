"""Fine-tuning of a trained network as an ensemble, with different initializations of the rank-1 factors.

    python -m benchmarks.fine_tuning                 # offline, digits of scikit-learn
    python -m benchmarks.fine_tuning --report        # the table of all runs

A network is trained on the digits 0 to 4; with a new last layer it is fine-tuned on 150 images of the digits 5 to 9, as
a single network and as hyper-batch ensembles whose rank-1 factors start at one (every member initially predicts as the
network) or near one. Each run is a line of `benchmarks/results/fine_tuning.jsonl`.
"""

import argparse
from dataclasses import asdict
from functools import cache
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks import networks
from benchmarks.data import Data
from benchmarks.data import Rows
from benchmarks.data import load
from benchmarks.experiment import Run
from benchmarks.experiment import Schedule

PRETRAINING, FINE_TUNING = Schedule(60, 15, 32), Schedule(100, 20, 32)
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
    parser = experiment.parser(__doc__, experiment.RESULTS / "fine_tuning.jsonl")
    parser.add_argument("--ensemble-size", type=int, default=4)
    options = parser.parse_args()
    if not options.report:
        old, new = halves(load("digits"))
        for seed in range(options.seeds):
            _run(old, new, seed, options)
    print(report(experiment.read(options.results)))


def halves(data: Data) -> tuple[Data, Data]:
    """The digits 0 to 4 to train on, and a few images of 5 to 9 to fine-tune with."""

    def part(rows: Rows, first: int, number: int | None = None) -> Rows:
        images, labels = rows
        chosen = (labels >= first) & (labels < first + 5)
        return images[chosen][:number], labels[chosen][:number] - first

    old = Data("digits 0-4", *(part(rows, 0) for rows in (data.train, data.tuning, data.validation, data.test)))
    others = (part(rows, 5) for rows in (data.tuning, data.validation, data.test))
    new = Data("digits 5-9", part(data.train, 5, 150), *others)
    return old, new


def pretrained(data: Data, seed: int) -> keras.Model:
    """A network that knows these digits, with a new last layer."""
    keras.utils.set_random_seed(seed)
    model = _trained(networks.small_conv(1e-3, 0.2, data.image_shape, data.num_classes), data, PRETRAINING)
    last = model.layers[-1]
    last.set_weights([keras.initializers.GlorotUniform(seed)(last.kernel.shape), np.zeros(last.bias.shape)])
    return model


def _trained(model: keras.Model, data: Data, schedule: Schedule) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(schedule.optimizer(len(data.train[1])), loss)
    experiment.train(model, data, schedule, "val_loss")
    return model


def _run(old: Data, new: Data, seed: int, options: argparse.Namespace) -> None:
    cell = {"train_rows": len(new.train[1]), "ensemble_size": options.ensemble_size, "seed": seed}

    @cache
    def known() -> keras.Model:
        return pretrained(old, seed)

    def measure(method: str) -> Run:
        network = known()
        keras.utils.set_random_seed(seed)
        model = fine_tuned(network, METHODS[method], options.ensemble_size, new, seed)
        return asdict(experiment.score(model, new.test))

    for method in METHODS:
        experiment.once(options.results, {**cell, "method": method}, lambda method=method: measure(method))


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
    return _trained(model, data, FINE_TUNING)


def report(done: list[Run]) -> str:
    """A Markdown table: means and standard errors over seeds, and how often each has a lower NLL than factors of 1."""
    of_methods = experiment.by_seed(done, METHODS)
    rows = [[name, *experiment.cells(of_seed, of_methods["factors 1"])] for name, of_seed in of_methods.items()]
    return experiment.table(["", "NLL", "accuracy", "ECE", "NLL / that with factors 1", "lower NLL"], rows)


if __name__ == "__main__":
    main()
