"""A search for a hyper-deep ensemble: alone on a laptop, or as one of the many processes of a cluster.

    python search.py                                                  # alone, on scikit-learn's digits
    python search.py --dataset mnist --data-dir ~/tensorflow_datasets
    sbatch slurm.sh                                                   # one chief and four workers
    kubectl apply -f kubernetes.yaml

Nothing here knows of clusters: KerasTuner's environment variables (KERASTUNER_TUNER_ID, "chief" or a name of the
worker's own, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT, the chief's) make a process the chief, which decides and
trains nothing, or a worker. All must see one directory and the same data, have the same `--seed`, and reach three ports
of the chief: the one given (search) and the next two (initializations, retraining). They are open to whoever reaches
them: keep them inside the cluster. What is interrupted goes on when it is started again, with the same options.
"""

import argparse
import os
import pathlib

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe


def build_model(hp, image_shape, num_classes):
    """An ordinary KerasTuner hypermodel: put your own in its place."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(16, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(num_classes, kernel_regularizer=l2),
        ]
    )
    model.compile(
        keras.optimizers.Adam(hp.Float("learning_rate", 3e-4, 3e-2, sampling="log")),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
    )
    return model


def load(name, data_dir):
    """Images in [0, 1] and labels, to train and to test on: scikit-learn's digits, or any TFDS classification set."""
    if name != "digits":
        import tensorflow_datasets as tfds

        sets = tfds.load(name, data_dir=data_dir, download=data_dir is None, batch_size=-1, as_supervised=True)
        return [((x / 255).astype("float32"), y) for x, y in map(tfds.as_numpy, (sets["train"], sets["test"]))]
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype("float32"), digits.target
    order = np.random.default_rng(0).permutation(len(y))
    return [(x[rows], y[rows]) for rows in (order[:1200], order[1200:])]


def main(arguments=None):
    """Searches; then whoever is no worker builds the ensemble, tests and saves it."""
    options = parser().parse_args(arguments)
    (x, y), (x_test, y_test) = load(options.dataset, options.data_dir)
    builder = khe.HyperDeepEnsembleBuilder(
        lambda hp: build_model(hp, x.shape[1:], int(y.max()) + 1),
        ensemble_size=options.ensemble_size,
        objective=keras_tuner.Objective("val_nll", "min"),
        max_trials=options.trials,
        initializations=options.initializations,
        directory=options.directory,
        project_name=options.dataset,
        seed=options.seed,
    )
    stop = keras.callbacks.EarlyStopping("val_nll", mode="min", patience=5, restore_best_weights=True)
    builder.search(x, y, validation_split=0.2, epochs=options.epochs, batch_size=64, callbacks=[stop])
    if "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "chief"):
        return
    ensemble = builder.build_ensemble()
    builder.results_summary()
    scores = ensemble.evaluate(x_test, y_test, batch_size=500, verbose=0, return_dict=True)
    print("test rows:", ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    path = options.directory / options.dataset / "ensemble.keras"
    ensemble.save(path)
    print("ensemble:", path)


def parser():
    """The options, the same for all processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", help="digits, or any TFDS image classification set")
    parser.add_argument("--data-dir", help="directory of TFDS data; without it TFDS downloads")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path("runs"), help="seen by all processes")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--initializations", type=int, default=4, help="of each of the best sets of hyperparameters")
    parser.add_argument("--ensemble-size", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
