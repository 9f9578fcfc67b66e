"""A search as a program of its own, to be killed, or to be the chief or a worker.

python -m tests.search.program DIRECTORY [WORKERS] [retrain] [paced] [mirrored] [small]

It trains eagerly: what is tested here happens around the trainings. Replicas need a graph.
"""

import json
import os
import pathlib
import sys
import time

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import keras_tuner

from tests.limit import LIMIT
from tests.search.problem import blobs
from tests.search.problem import build_model
from tests.search.problem import eager_model
from tests.search.problem import make_builder
from tests.search.problem import search

SMALL = {"max_trials": 2, "num_hyperparameter_sets": 1, "initializations": 1, "ensemble_size": 2}
SECONDS = 0.7  # of a paced epoch


class Paced(keras_tuner.HyperModel):
    """Trains slowly, and writes down who began to train what."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def build(self, hp):
        return eager_model(hp)

    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        what = hp.values.get("keras_hyperens/run", f"search {hp.get('l2')}")
        with self.log.open("a") as log:
            log.write(f"{os.environ.get('KERASTUNER_TUNER_ID')}: {what}\n")
        wait = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(SECONDS))
        return model.fit(*args, callbacks=[*callbacks, wait], **kwargs)


def two_devices():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def main():
    directory, *options = sys.argv[1:]
    workers = [int(option) for option in options if option.isdigit()]
    hypermodel = Paced(pathlib.Path(directory) / "trainings.txt") if "paced" in options else eager_model
    strategy = None
    if "mirrored" in options:
        hypermodel, strategy = build_model, two_devices()
    small = SMALL if "small" in options else {}
    builder = make_builder(directory, hypermodel, distribution_strategy=strategy, **small)
    search(builder, verbose=1, workers=workers[0] if workers else None, patience=LIMIT)
    ensemble = builder.build_ensemble()
    if "retrain" in options:
        data = {"validation_data": blobs(45, seed=1), "epochs": 2, "batch_size": 30, "patience": LIMIT}
        ensemble = builder.retrain(*blobs(), **data)
    print("RESULT " + json.dumps([[each.name for each in builder.members], list(ensemble.member_weights)]))


if __name__ == "__main__":
    main()
