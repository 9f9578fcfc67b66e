"""A small search: blobs in the plane, a network of a few units."""

import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe

NLL = keras_tuner.Objective("val_nll", "min")


def blobs(rows=60, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    return (random.normal(size=(rows, 2)) + 1.5 * np.eye(3)[labels, :2]).astype("float32"), labels


def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-1, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(hp.Int("units", 2, 8), "relu", kernel_regularizer=l2),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll")],
    )
    return model


def eager_model(hp):
    """The same, for tests of what happens around the trainings: to trace one takes longer than all its steps."""
    model = build_model(hp)
    model.run_eagerly = True
    return model


def make_builder(directory, hypermodel=build_model, **changes):
    settings = {
        "ensemble_size": 3,
        "max_trials": 4,
        "num_hyperparameter_sets": 2,
        "initializations": 2,
        "objective": NLL,
        "directory": directory,
        "seed": 0,
        **changes,
    }
    return khe.HyperDeepEnsembleBuilder(hypermodel, **settings)


def search(builder, **changes):
    arguments = {"validation_data": blobs(45, seed=1), "epochs": 2, "batch_size": 30, "verbose": 0, **changes}
    builder.search(*blobs(), **arguments)
    return builder


def essence(candidates):
    """What must be the same in two runs."""
    return [(each.name, each.values, each.seed, each.score, each.metrics, each.failure) for each in candidates]
