"""Hyper-batch with its defaults, with one of its three cures off, and from bad starts, beside its baselines.

    python -m benchmarks.defaults --dataset fashion_mnist --network mlp --data-dir ../shared/tensorflow_datasets
    python -m benchmarks.defaults --report

Networks and training are those of `benchmarks.paper`: 6,000 samples to train on, 1,000 to tune on, 1,000 to choose the
epoch by, 20 epochs, members of 3. Scores are on 10,000 further samples of the training set; test samples are not looked
at. Seeds begin at 1000. `settings.jsonl` has the best setting of a random search of 24 single networks for each seed:
baselines have it, hyper-batch begins around it or, where its name says so, at weak or strong penalties.
"""

import pathlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks import runs
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.methods import Schedule
from benchmarks.methods import calibrated
from benchmarks.methods import score
from benchmarks.paper import networks

FOLDER = pathlib.Path(__file__).parent
FIRST_SEED = 1000
TRAIN, TUNING, VALIDATION, FURTHER = 6_000, 1_000, 1_000, 10_000
SCHEDULE = Schedule(epochs=20, patience=20, batch_size=64)
WEAK, STRONG = 0.05, 0.8  # of the way through the ranges
KNOWN: dict[str, Any] = {"member_rows": "same", "tune_temperature": False}


def _hyper_batch(data: Data, network: str, settings: dict[str, float], seed: int, **options: Any) -> keras.Model:
    compiled = options.pop("compiled", {})
    build_model = networks.hypermodel_of(network, data, SCHEDULE)
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(
        build_model, ensemble_size=options.pop("ensemble_size", 3), initial_values=settings, seed=seed, **options
    )
    ensemble.compile(
        SCHEDULE.optimizer(TRAIN),
        ensemble.loss,
        metrics=[keras.metrics.CategoricalCrossentropy(name="nll")],
        **compiled,
    )
    return _trained(ensemble, data)


def _batch(data: Data, network: str, settings: dict[str, float], seed: int, **compiled: Any) -> keras.Model:
    return _hyper_batch(data, network, settings, seed, sharing="batch", compiled=compiled)


def _single(data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(settings)
    return _trained(networks.hypermodel_of(network, data, SCHEDULE)(hyperparameters), data)


def _deep(data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    members = []
    for member in range(3):
        keras.utils.set_random_seed(10 * seed + member)
        members.append(_single(data, network, settings, seed))
    return khe.HyperDeepEnsemble(members)


def _from(place: float, data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    ranges = {name: (0.0, 0.5) if name == "dropout" else (0.0, 0.2) for name in ("dropout", "label_smoothing")}
    start = {
        name: float(np.interp(place, (0, 1), ranges[name])) if name in ranges else float(10 ** (-5 + 3 * place))
        for name in settings
    }
    return _hyper_batch(data, network, start, seed)


def _without(**compiled: Any) -> Callable[..., keras.Model]:
    return lambda *arguments: _hyper_batch(*arguments, compiled=compiled)


METHODS: dict[str, Callable[..., keras.Model]] = {
    "single": _single,
    "deep": _deep,
    "batch": lambda *arguments: _batch(*arguments, **KNOWN),
    "batch, distinct samples and temperature": _batch,
    "hyper-batch": _hyper_batch,
    "hyper-batch from weak penalties": lambda *arguments: _from(WEAK, *arguments),
    "hyper-batch from strong penalties": lambda *arguments: _from(STRONG, *arguments),
    "hyper-batch, the same samples": _without(member_rows="same"),
    "hyper-batch, no temperature": _without(tune_temperature=False),
    "hyper-batch, the reference's response": lambda *arguments: _hyper_batch(*arguments, response="reference"),
    "hyper-batch, samples 4 steps apart": _without(member_rows=4),
    "hyper-batch, bounds move after 300 steps": _without(tuning_warmup=300),
    "hyper-batch as it was": lambda *arguments: _hyper_batch(
        *arguments,
        response="reference",
        compiled={**KNOWN, "tuning_optimizer": _former_optimizer()},
    ),
}


def _former_optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.InverseTimeDecay(1e-2, 200, 1.0))


def _trained(model: keras.Model, data: Data) -> keras.Model:
    """The weights of the epoch with the lowest NLL on validation samples."""
    best = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=20, restore_best_weights=True)
    is_ensemble = isinstance(model, khe.HyperBatchEnsemble)
    can_tune = is_ensemble and model._trainer.tuning.moves
    one_hot = {
        name: (rows[0], np.eye(data.num_classes, dtype="float32")[rows[1]])
        for name, rows in (("train", data.train), ("tuning", data.tuning), ("validation", data.validation))
    }
    model.fit(
        *one_hot["train"],
        batch_size=SCHEDULE.batch_size,
        epochs=SCHEDULE.epochs,
        validation_data=one_hot["validation"],
        callbacks=[best],
        verbose=0,
        **({"tuning_data": one_hot["tuning"]} if can_tune else {}),
    )
    return model


def data_of(name: str, data_dir: str | None) -> Data:
    """Samples of the training set alone: those to score on are in the place of the test samples."""
    whole = load(name, data_dir, TRAIN + TUNING + VALIDATION + FURTHER, 1)
    ends = np.cumsum([TRAIN, TUNING, VALIDATION, FURTHER])
    parts = [tuple(each[start:end] for each in whole.train) for start, end in zip([0, *ends], ends)]
    return Data(name, *parts)


def _measured(model: keras.Model, data: Data) -> dict[str, Any]:
    scores = asdict(score(model, data.test))
    values = {}
    if isinstance(model, khe.HyperBatchEnsemble):
        values = {
            name: [float(f"{each:.4g}") for each in found] for name, found in model.hyperparameter_values().items()
        }
        values["temperature"] = round(float(model.temperature_values()[0]), 4)
    return {**scores, "calibrated": asdict(score(calibrated(model, data), data.test)), "values": values}


def _run(data: Data, network: str, seed: int, methods: list[str]) -> None:
    file = FOLDER / "results" / f"{data.name}-{network}.jsonl"
    cell = {"dataset": data.name, "network": network, "seed": seed}
    found = runs.find(FOLDER / "settings.jsonl", cell)
    for method in methods if found else ():
        key = {**cell, "method": method}
        if runs.find(file, key) is None:
            keras.utils.set_random_seed(seed)
            model = METHODS[method](data, network, found["values"], seed)
            runs.append(file, [{**key, **_measured(model, data)}])
            keras.backend.clear_session()


def report() -> str:
    """A Markdown table for each cell: means and standard errors over seeds, and ratios to the batch ensemble's NLL."""
    tables = []
    for file in sorted((FOLDER / "results").glob("*.jsonl")):
        done = runs.read(file)
        by_method = {method: {run["seed"]: run for run in done if run["method"] == method} for method in METHODS}
        baseline = by_method["batch"]
        lines = [
            f"{done[0]['dataset']}, {done[0]['network']}, {len(baseline)} seeds, scores on {FURTHER:,} samples",
            "",
            "| | NLL | accuracy | ECE | NLL / batch | lower | NLL / batch, both calibrated |",
            "|---|---|---|---|---|---|---|",
        ]
        for method, of_seed in by_method.items():
            if of_seed:
                pairs = [
                    (run["calibrated"]["nll"], baseline[s]["calibrated"]["nll"])
                    for s, run in of_seed.items()
                    if s in baseline
                ]
                ratio = f"{np.mean([own / other for own, other in pairs] or [np.nan]):.3f}"
                lines.append("| " + " | ".join([method, *runs.cells(of_seed, baseline), ratio]) + " |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def main() -> None:
    parser = runs.parser(__doc__, "")
    parser.add_argument("--network", default="mlp", choices=networks.SMALL)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()
    if not options.report:
        data = data_of(options.dataset, options.data_dir)
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            _run(data, options.network, seed, options.methods)
    print(report())


if __name__ == "__main__":
    main()
