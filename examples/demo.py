"""The main job: a hyper-batch and a hyper-deep ensemble on real images, compared, explained, exported and served.

python -m examples.demo                       # scikit-learn's digits, no network needed
python -m examples.demo --dataset mnist       # of TFDS: from TFDS_DATA_DIR or --data-dir, else downloaded

The networks and how they are trained are those of the benchmarks.
"""

import argparse
import pathlib
import subprocess
import sys
import time
from dataclasses import replace

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_hyperens as khe
from benchmarks import experiment
from benchmarks import networks
from benchmarks import shifts
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.experiment import Schedule

SEARCH_EPOCHS = 50  # at most: fewer than the others', because a search trains many
# The same `build_model(hp)` gives all of them; the single network and the batch ensemble have its defaults, which are
# good ones.
KINDS = {"single network": "single", "batch ensemble": "batch", "hyper-batch ensemble": "hyper-batch"}
ENSEMBLES = ("hyper-batch ensemble", "hyper-deep ensemble")


class Progress(keras.callbacks.Callback):
    """One line that says how far a training is, how long it can still take at most, and its validation loss."""

    def __init__(self, name: str, epochs: int) -> None:
        super().__init__()
        self.name, self.epochs, self.start = name, epochs, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        done = epoch + 1
        left = (time.monotonic() - self.start) / done * (self.epochs - done)
        self.show(f"epoch {done:>3} of at most {self.epochs}, {left:>3.0f} s left, val_loss {logs['val_loss']:.4f}")

    def on_train_end(self, logs: dict | None = None) -> None:
        self.show(f"{time.monotonic() - self.start:.0f} s", end="\n")

    def show(self, text: str, end: str = "") -> None:
        prefix = "\r" if sys.stdout.isatty() else ("\n" if not end else "")
        if sys.stdout.isatty() or end:
            print(f"{prefix}{self.name:<24}{text:<70}", end=end, flush=True)


def main() -> None:
    """Trains, searches, compares, explains, draws, exports, serves and reports."""
    options = _options()
    output = pathlib.Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    data = load(options.dataset, options.data_dir, options.train_rows, options.held_out_rows)
    members, schedule = options.ensemble_size, _schedule(data, options.epochs)
    print(f"{data.name}: {len(data.train[1])} training rows, {len(data.test[1])} test rows, {members} members\n")
    models, history = _train_all(data, schedule, members, options.seed)
    builder = _search(data, schedule, options)
    models |= {
        "single best": builder.build_ensemble(1),
        "deep ensemble": builder.build_deep_ensemble(),
        "hyper-deep ensemble": builder.build_ensemble(),
    }
    print(f"\nOn the test rows:\n{_table(models, data)}\n")
    models = {name: experiment.calibrated(model, data) for name, model in models.items()}
    print(f"And with a temperature for each, fitted on the held-out rows:\n{_table(models, data)}\n")
    ensemble = models["hyper-batch ensemble"]
    print("What became of the layers of the single network:")
    ensemble.conversion_summary()
    print()
    _show_hyperparameters(ensemble)
    print("The search, with the weights of the hyper-deep ensemble's members:")
    builder.results_summary(5)
    print()
    picture = _draw(ensemble, data, history, builder.scores_by_size(), output)
    served = [_export_and_check(models[name], data, output, name) for name in ENSEMBLES]
    page = khe.report(
        ensemble,
        *data.test,
        ood={"test images turned by 90°": shifts.rotated(data.test[0])},
        path=output / f"{data.name}_report.html",
        title=f"What the hyper-batch ensemble knows of {data.name}",
    )
    print(f"picture      {picture}\nreport       {page}\nSavedModels  {', '.join(served)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", help="digits, or any TFDS image classification set")
    parser.add_argument("--data-dir", help="of TFDS data; default: TFDS_DATA_DIR, else TFDS downloads")
    parser.add_argument("--train-rows", type=int, default=10_000)
    parser.add_argument("--held-out-rows", type=int, default=2_000, help="for tuning, and as many for validation")
    parser.add_argument("--ensemble-size", type=int, default=4)
    parser.add_argument("--trials", type=int, default=6, help="of the search for the hyper-deep ensemble")
    parser.add_argument("--epochs", type=int, help="at most so many of each training, for a first look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="demo_output")
    return parser.parse_args()


def _schedule(data: Data, epochs: int | None) -> Schedule:
    schedule = experiment.schedule_of(data)
    return replace(schedule, epochs=min(schedule.epochs, epochs or schedule.epochs))


def _train_all(
    data: Data, schedule: Schedule, members: int, seed: int
) -> tuple[dict[str, keras.Model], khe.HyperparameterHistory]:
    models, history = {}, khe.HyperparameterHistory()
    build_model = networks.hypermodel_of(data, schedule)
    start = experiment.with_values(build_model, {})[1]
    for name, kind in KINDS.items():
        settings = {} if kind == "single" else {"initial_values": start}
        models[name] = experiment.build(kind, build_model, {}, members, seed, **settings)
        callbacks = [Progress(name, schedule.epochs), *([history] if kind == "hyper-batch" else [])]
        experiment.train(models[name], data, schedule, "val_loss", callbacks)
    return models, history


def _search(data: Data, schedule: Schedule, options: argparse.Namespace) -> khe.HyperDeepEnsembleBuilder:
    """KerasTuner's random search, the two best sets of hyperparameters trained again, in two processes."""
    print(
        "\nA search for the hyper-deep ensemble: candidates, then their best hyperparameters from new initializations"
    )
    if data.name == "digits":
        schedule = replace(schedule, epochs=min(SEARCH_EPOCHS, schedule.epochs), patience=15)
    return experiment.search(
        networks.hypermodel_of(data, schedule),
        data,
        schedule,
        workers=2,
        ensemble_size=options.ensemble_size,
        max_trials=options.trials,
        num_hyperparameter_sets=2,
        directory=pathlib.Path(options.output) / "search",
        project_name=data.name,
        overwrite=True,
        seed=options.seed,
    )


def _table(models: dict[str, keras.Model], data: Data) -> str:
    """Scores on the test rows, a line for each model."""
    lines = [f"{'':<24}{'NLL':>8}{'accuracy':>10}{'ECE':>8}"]
    for name, model in models.items():
        scores = experiment.score(model, data.test)
        lines.append(f"{name:<24}{scores.nll:>8.4f}{scores.accuracy:>10.4f}{scores.ece:>8.4f}")
    return "\n".join(lines)


def _show_hyperparameters(ensemble: khe.HyperBatchEnsemble) -> None:
    print("The members' hyperparameters, and the tuned intervals they are means of:")
    values, bounds = ensemble.hyperparameter_values(), ensemble.hyperparameter_bounds()
    for member in range(ensemble.ensemble_size):
        parts = [
            f"{name} {values[name][member]:<9.3g} in [{bounds[name][member, 0]:.2g}, {bounds[name][member, 1]:.2g}]"
            for name in values
        ]
        print(f"  member {member}   " + "   ".join(f"{part:<42}" for part in parts))
    print()


def _draw(
    ensemble: khe.HyperBatchEnsemble,
    data: Data,
    history: khe.HyperparameterHistory,
    scores: dict[str, list[float]],
    output: pathlib.Path,
) -> str:
    """Reliability, the paths of the bounds, scores of the search, and the test images it is least sure of."""
    images, labels = data.test
    said = ensemble.predict_uncertainty(images, batch_size=500, verbose=0)
    predicted, entropy, information = said["prediction"], said["predictive_entropy"], said["mutual_information"]
    figure = plt.figure(figsize=(16, 7.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 2))
    axes = top.subplots(1, 2 + len(ensemble.space))
    khe.plots.reliability_diagram(labels, predicted, ax=axes[0])
    for ax, entry in zip(axes[1:], ensemble.space):
        khe.plots.hyperparameter_path(history.bounds[entry.name], entry.name, entry.sampling, ax=ax)
    khe.plots.scores_by_size(scores, "validation NLL", ax=axes[-1])
    unsure = np.argsort(-entropy)[:8]
    titles = [
        f"is {labels[row]}, says {predicted[row].argmax()} ({predicted[row].max():.0%})\n"
        f"entropy {entropy[row]:.2f}\ndisagreement {information[row]:.2f}"
        for row in unsure
    ]
    bottom.suptitle(
        f"{data.name}: the test images that the ensemble is least sure of (entropy and disagreement in nats)"
    )
    khe.plots.image_grid(images[unsure], titles, columns=8, ax=bottom.subplots())
    path = output / f"{data.name}.png"
    figure.savefig(path, dpi=110)
    return str(path)


SERVE = """
import sys
sys.modules["keras_hyperens"] = None  # the served model must not need this package
import benchmarks
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
batch = np.load(sys.argv[2])
outputs = served.signatures["uncertainty"](inputs=tf.constant(batch["images"]))
difference = np.abs(outputs["prediction"] - batch["prediction"]).max()
print(f"A second process, without this package, serves the same predictions (largest difference {difference:.1e})")
sys.exit(int(difference > 1e-4))
"""


def _export_and_check(ensemble: keras.Model, data: Data, output: pathlib.Path, name: str) -> str:
    path = output / f"{data.name}_{name.partition(' ')[0].replace('-', '_')}_saved_model"
    ensemble.export(path)
    images = data.test[0][:100]
    np.savez(output / "batch.npz", images=images, prediction=ensemble.predict(images, verbose=0))
    subprocess.run([sys.executable, "-c", SERVE, str(path), str(output / "batch.npz")], check=True)
    return str(path)


if __name__ == "__main__":
    main()
