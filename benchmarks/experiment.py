"""What the comparisons share: models built, trained and scored alike, runs that a restart does not repeat, tables.

A run is a line of a file. What says which run it is, its cell (data, method, seed, budget), comes first in the line; a
run whose cell is there already is not repeated.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from benchmarks.data import Data
from benchmarks.data import Rows

METHODS = ("single", "batch", "hyper-batch")
RESULTS = pathlib.Path(__file__).parent / "results"
BEGIN, END = "<!-- what --report prints begins here -->", "<!-- and ends here -->"
OBJECTIVE = keras_tuner.Objective("val_nll", "min")  # without the penalties that `val_loss` has
NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar100": "CIFAR-100",
    "mlp": "MLP",
    "lenet": "LeNet",
}
Run = dict[str, Any]
Settings = dict[str, float]
Hypermodel = Callable[[keras_tuner.HyperParameters], keras.Model]


@dataclass(frozen=True)
class Schedule:
    """How to train: the same for every method of a comparison.

    The learning rate falls to 0 over the epochs (a cosine): at a constant one the NLL of every method still jumps by
    more from epoch to epoch than the methods differ.
    """

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float = 1e-3

    def optimizer(self, rows: int) -> keras.optimizers.Optimizer:
        steps = self.epochs * -(-rows // self.batch_size)
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(self.learning_rate, steps))


SCHEDULES = {"digits": Schedule(100, 20, 32), "default": Schedule(20, 5, 64)}


def schedule_of(data: Data) -> Schedule:
    return SCHEDULES.get(data.name, SCHEDULES["default"])


def classifier(model: keras.Model, data: Data, schedule: Schedule) -> keras.Model:
    """The model, compiled for logits."""
    model.compile(
        schedule.optimizer(len(data.train[1])),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
    )
    return model


def with_values(build_model: Hypermodel, values: Settings) -> tuple[keras.Model, Settings]:
    """The plain model of these hyperparameters and the hypermodel's defaults for the others, and all their values."""
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values = dict(values)
    return build_model(hyperparameters), hyperparameters.values


def build(
    method: str, build_model: Hypermodel, settings: Settings, ensemble_size: int, seed: int, **options: Any
) -> keras.Model:
    """The compiled model of a method; `settings` are the hyperparameters that it does not tune."""
    keras.utils.set_random_seed(seed)
    if method == "single":
        return with_values(build_model, settings)[0]
    sharing = {"batch": "batch", "hyper-batch": "hyper"}[method]
    return khe.HyperBatchEnsemble.from_hypermodel(
        build_model, ensemble_size=ensemble_size, fixed=settings, sharing=sharing, seed=seed, **options
    )


def train(
    model: keras.Model, data: Data, schedule: Schedule, monitor: str = "val_nll", callbacks: Sequence[Any] = ()
) -> dict[str, list[float]]:
    """Trains until what is monitored has not fallen for a while, and takes the best epoch's weights.

    Hyper-batch ensembles tune on the tuning rows while they train, batch ensembles their temperature.
    """
    stop = keras.callbacks.EarlyStopping(monitor, mode="min", patience=schedule.patience, restore_best_weights=True)
    tunes = isinstance(model, khe.HyperBatchEnsemble) and model._trainer.tuning.moves
    return model.fit(
        *data.train,
        batch_size=schedule.batch_size,
        epochs=schedule.epochs,
        validation_data=data.validation,
        callbacks=[*callbacks, stop],
        verbose=0,
        **({"tuning_data": data.tuning} if tunes else {}),
    ).history


def search(
    build_model: Hypermodel,
    data: Data,
    schedule: Schedule,
    verbose: int = 1,
    workers: int | None = None,
    **settings: Any,
) -> khe.HyperDeepEnsembleBuilder:
    """A builder after its search, with all held-out rows as validation rows: here nothing else needs them.

    Where patience is as long as the schedule, nothing stops early and no callback stands in the way of groups.
    """
    builder = khe.HyperDeepEnsembleBuilder(build_model, objective=OBJECTIVE, **settings)
    stop = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=schedule.patience)
    known = builder._settings
    planned = settings["max_trials"] + known.num_hyperparameter_sets * known.initializations
    builder.search(
        *data.train,
        validation_data=data.held_out,
        epochs=schedule.epochs,
        batch_size=schedule.batch_size,
        callbacks=[stop] if schedule.patience < schedule.epochs else [],
        workers=workers,
        verbose=verbose if len(builder.candidates) < planned else 0,  # what is there already is no news
    )
    return builder


@dataclass(frozen=True)
class Scores:
    """On rows never trained on; all are better when lower, but accuracy."""

    nll: float
    accuracy: float
    ece: float


def nll(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(np.maximum(predicted[np.arange(len(labels)), labels], 1e-12)).mean())


def scores(predicted: np.ndarray, labels: np.ndarray) -> Scores:
    calibration = khe.metrics.ExpectedCalibrationError()
    calibration.update_state(labels, predicted)
    accuracy = float((predicted.argmax(1) == labels).mean())
    return Scores(nll(predicted, labels), accuracy, float(calibration.result()))


def score(model: keras.Model, rows: Rows) -> Scores:
    outputs = model.predict(rows[0], batch_size=500, verbose=0)
    return scores(outputs if _is_ensemble(model) else np.asarray(keras.ops.softmax(outputs)), rows[1])


def calibrated(model: keras.Model, data: Data) -> keras.Model:
    """The model with a temperature that was fitted on all held-out rows; a single network is wrapped.

    Validation rows alone look better than they are: training stopped where they looked best.
    """
    ensemble = model if _is_ensemble(model) else khe.HyperDeepEnsemble([model])
    ensemble.calibrate(*data.held_out, batch_size=500, verbose=0)
    return ensemble


def measured(model: keras.Model, data: Data) -> Run:
    """Scores on the test samples as the model was trained, and with a temperature fitted on the held-out samples."""
    as_trained = asdict(score(model, data.test))
    after = score(calibrated(model, data), data.test)
    return {**as_trained, "calibrated_nll": after.nll, "calibrated_ece": after.ece}


def after_calibration(done: list[Run]) -> list[Run]:
    """The same runs, with the scores that they have with a temperature in the place of those without."""
    return [{**run, "nll": run["calibrated_nll"], "ece": run["calibrated_ece"]} for run in done]


def _is_ensemble(model: keras.Model) -> bool:
    return isinstance(model, khe.HyperBatchEnsemble | khe.HyperDeepEnsemble)


def parser(description: str | None, results: pathlib.Path, seeds: int = 5) -> argparse.ArgumentParser:
    """The options that every comparison has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--results", type=pathlib.Path, default=results)
    parser.add_argument("--report", action="store_true", help="only print the tables")
    return parser


def add_data(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """The options of image data, and of the ensembles that are trained on them."""
    parser.add_argument("--data-dir", help="directory of TFDS data; default: TFDS_DATA_DIR, or a download")
    parser.add_argument("--train-rows", type=int, default=10_000)
    parser.add_argument(
        "--held-out-rows", type=int, default=2_000, help="samples for tuning, and as many for validation"
    )
    parser.add_argument("--ensemble-size", type=int, default=3)
    parser.set_defaults(**defaults)


def read(results: pathlib.Path) -> list[Run]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def runs_of(folder: pathlib.Path) -> list[Run]:
    """All runs of a folder of results."""
    return [run for file in sorted((folder / "results").glob("*.jsonl")) for run in read(file)]


def find(results: pathlib.Path, cell: Run) -> Run | None:
    """The first run there with these settings, or `None`."""
    return next((run for run in read(results) if cell.items() <= run.items()), None)


def append(results: pathlib.Path, added: list[Run]) -> None:
    """Writes runs, all of them together, and prints them."""
    lines = "".join(json.dumps(run) + "\n" for run in added)
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(lines)
    print(lines, end="", flush=True)


def once(results: pathlib.Path, cell: Run, measure: Callable[[], Run]) -> Run:
    """The run of a cell: as it is in the file, or measured and written."""
    found = find(results, cell)
    if found is None:
        found = {**cell, **measure()}
        append(results, [found])
        keras.backend.clear_session()
    return found


def publish(folder: pathlib.Path, text: str, pictures: Iterable[str] = ()) -> None:
    """Prints a report, and puts it with its pictures between the markers of the folder's README, if it has them."""
    print(text)
    readme = folder / "README.md"
    before, begin, rest = (readme.read_text() if readme.exists() else "").partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        inside = "\n\n".join([text, *pictures])
        readme.write_text(f"{before}{BEGIN}\n\n{inside}\n\n{END}{after}")


def seconds_since(start: float) -> float:
    return round(time.monotonic() - start, 1)


def by_seed(done: list[Run], names: Iterable[str], key: str = "method") -> dict[str, dict[int, Run]]:
    """Runs by method (or another key) and seed, in the order of the names; those without runs are left out."""
    found = {name: {run["seed"]: run for run in done if run[key] == name} for name in names}
    return {name: of_seed for name, of_seed in found.items() if of_seed}


def cells(of_seed: dict[int, Run], baseline: dict[int, Run]) -> list[str]:
    """A row of a table, but for the method's name: scores, the NLL over the baseline's, how often it is lower."""
    means = [mean_and_error([run[name] for run in of_seed.values()]) for name in ("nll", "accuracy", "ece")]
    ratios = [run["nll"] / baseline[seed]["nll"] for seed, run in of_seed.items() if seed in baseline]
    return [*means, f"{np.mean(ratios or [np.nan]):.3f}", f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)}"]


def mean_and_error(values: Sequence[float]) -> str:
    """Mean and standard error, which one value alone has not."""
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{error}"


def label(cell: str) -> str:
    """A dataset and a network as they are usually written."""
    return ", ".join(NAMES.get(part, part) for part in cell.split(", "))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])
