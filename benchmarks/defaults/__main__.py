"""Hyper-batch with its defaults, with one of them disabled, and from bad starts, compared with baselines.

    python -m benchmarks.defaults --dataset fashion_mnist --network mlp            # TFDS_DATA_DIR, or --data-dir
    python -m benchmarks.defaults --report

Networks and training are those of `benchmarks.paper`: 6,000 training samples, 1,000 tuning samples, 1,000 samples
for the selection of the epoch, 20 epochs, 3 members. Scores use 10,000 further samples of the training set, and no test
samples. Seeds start at 1000. `settings.jsonl` has the best setting of a random search of 24 single networks per
seed: baselines use it, and hyper-batch starts near it or, where the name states so, at weak or strong penalties.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.experiment import Schedule
from benchmarks.paper import networks

FOLDER = pathlib.Path(__file__).parent
FIRST_SEED = 1000
TRAIN, TUNING, VALIDATION, FURTHER = 6_000, 1_000, 1_000, 10_000
SCHEDULE = Schedule(epochs=20, patience=20, batch_size=64)
WEAK, STRONG = 0.05, 0.8  # of the way through the ranges
NEVER = 10**9  # steps
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
    model, _ = experiment.with_values(networks.hypermodel_of(network, data, SCHEDULE), settings)
    return _trained(model, data)


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


def _with_fixed(name: str, data: Data, network: str, settings: dict[str, float], seed: int) -> keras.Model:
    others = {other: value for other, value in settings.items() if other != name}
    return _hyper_batch(data, network, others, seed, fixed={name: settings[name]})


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
    "hyper-batch, no prior": _without(prior_weight=0.0),
    "hyper-batch, no prior, bounds move after 300 steps": _without(prior_weight=0.0, tuning_warmup=300),
    "hyper-batch, bounds stay": _without(tuning_warmup=NEVER),
    "hyper-batch, a third of the tuning rate": lambda *arguments: _hyper_batch(
        *arguments, compiled={"tuning_optimizer": _slower_optimizer()}
    ),
    "hyper-batch, label smoothing stays": lambda *arguments: _with_fixed("label_smoothing", *arguments),
    "hyper-batch as it was": lambda *arguments: _hyper_batch(
        *arguments,
        response="reference",
        compiled={**KNOWN, "prior_weight": 0.0, "tuning_optimizer": _slower_optimizer()},
    ),
}


def _slower_optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.InverseTimeDecay(1e-2, 200, 1.0))


def _trained(model: keras.Model, data: Data) -> keras.Model:
    """The weights of the epoch with the lowest NLL on validation samples."""
    experiment.train(model, data.one_hot, SCHEDULE)
    return model


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


def report() -> str:
    """A Markdown table for each cell: means and standard errors over seeds, and ratios to the batch ensemble's NLL."""
    columns = ["", "NLL", "accuracy", "ECE", "NLL / batch", "lower", "NLL / batch, both calibrated"]
    tables = []
    for file in sorted((FOLDER / "results").glob("*.jsonl")):
        done = experiment.read(file)
        as_trained = experiment.by_seed(done, METHODS)
        after = experiment.by_seed(experiment.after_calibration(done), METHODS)
        baseline, calibrated = as_trained.get("batch", {}), after.get("batch", {})
        rows = []
        for method, of_seed in as_trained.items():
            ratio = experiment.cells(after[method], calibrated)[3]
            rows.append([method, *experiment.cells(of_seed, baseline), ratio])
        title = f"{done[0]['dataset']}, {done[0]['network']}, {len(baseline)} seeds, scores on {FURTHER:,} samples"
        tables.append(f"{title}\n\n{experiment.table(columns, rows)}")
    return "\n\n".join(tables)


def ratios() -> str:
    """A row for each method, a column for each cell: mean NLL over the batch ensemble's, and how often it is lower."""
    found = {}
    for file in sorted((FOLDER / "results").glob("*.jsonl")):
        done = experiment.read(file)
        found[f"{done[0]['dataset']}, {done[0]['network']}"] = experiment.by_seed(done, METHODS)
    rows = []
    for method in METHODS:
        cells = [experiment.cells(each[method], each["batch"])[3:] if method in each else [] for each in found.values()]
        rows += [[method, *(f"{cell[0]} ({cell[1]})" if cell else "" for cell in cells)]] if any(cells) else []
    return experiment.table(["NLL / batch", *found], rows)


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
    print(report())


if __name__ == "__main__":
    main()
