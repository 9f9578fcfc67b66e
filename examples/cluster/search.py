"""Search for a hyper-deep ensemble, in a single process or on a cluster.

    python search.py                                                  # single process, digits of scikit-learn
    python search.py --dataset mnist --data-dir ~/tensorflow_datasets
    sbatch slurm.sh                                                   # one chief and four workers
    kubectl apply -f kubernetes.yaml

The code does not depend on the cluster: KerasTuner's environment variables (KERASTUNER_TUNER_ID, "chief" or a unique
name of the worker, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the chief) make a process the chief, which
decides and does not train, or a worker. All processes need a shared directory, the same data and `--seed`, and access
to three ports of the chief: the given one (search) and the next two (initializations, retraining). The ports are not
authenticated: restrict them to the cluster. Interrupted searches resume when they are started again with the same
options.
"""

import argparse
import os
import pathlib

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe


def build_model(hp, image_shape, num_classes):
    """An ordinary KerasTuner hypermodel: replace it by your own."""
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
    """Returns training and test data, images in [0, 1]: digits of scikit-learn, or any TFDS classification dataset."""
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
    """Searches; the chief then builds, evaluates and saves the ensemble."""
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
    print("test:", ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
    path = options.directory / options.dataset / "ensemble.keras"
    ensemble.save(path)
    print("ensemble:", path)


def parser():
    """Returns the parser of the options, which must be equal for all processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", help="digits, or any TFDS image classification dataset")
    parser.add_argument("--data-dir", help="directory of TFDS data; by default TFDS downloads")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path("runs"), help="shared by all processes")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--initializations", type=int, default=4, help="per selected hyperparameter set")
    parser.add_argument("--ensemble-size", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
