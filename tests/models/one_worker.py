"""One of several workers that train together: a program for `test_multi_worker.py`, which sets `TF_CONFIG`.

It must create the strategy before anything else touches a device.
"""

import json
import os
import pathlib
import re
import signal
import sys

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import numpy as np
import tensorflow as tf

from tests.models import two_replicas
from tests.models.networks import LOGITS
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import dense_network

X, Y = blobs(64)


def index():
    return json.loads(os.environ["TF_CONFIG"])["task"]["index"]


class Die(keras.callbacks.Callback):
    """Ends the process, as a machine that fails does, in the middle of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch == 2 and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def train(model, directory, *callbacks):
    """Training whose continuation needs every random state: dropout, draws, the order of tuning rows."""
    backup = keras.callbacks.BackupAndRestore(directory / f"backup-{index()}", delete_checkpoint=False)
    callbacks = [*callbacks, backup]
    return model.fit(
        X, Y, batch_size=16, epochs=4, shuffle=False, tuning_split=0.25, callbacks=callbacks, verbose=0
    ).history


def write(path, model, history, **results):
    variables = {str(number): variable.numpy() for number, variable in enumerate(two_replicas.variables_of(model))}
    np.savez(path, **variables, **{f"log_{name}": values for name, values in history.items()}, **results)


def equal_to_one_device(scope, directory):
    """The trainings of `two_replicas`, with the draws that one device would take."""
    two_replicas.draw_by(two_replicas.same_draws)
    keras.utils.set_random_seed(0)
    with scope:
        model, history = two_replicas.train_member()
    rows = two_replicas.X_VALIDATION
    members = model.predict_members(rows, batch_size=16, verbose=0)
    write(directory / f"member-{index()}", model, history, predict=model.predict(rows, verbose=0), members=members)
    two_replicas.draw_by(two_replicas.draw_of_replica)


def multi_worker_model():
    """The class that the guide gives users for their own models."""
    guide = pathlib.Path(__file__).parents[2] / "docs" / "distributed.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    names = {}
    exec(next(block for block in blocks if "class MultiWorkerModel" in block), names)
    return names["MultiWorkerModel"]


def train_plain(make=keras.Model):
    """A plain Keras model with a penalty, uneven batches of validation included."""
    inputs = keras.Input((4,))
    model = make(inputs, keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01))(inputs))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), LOGITS, metrics=["accuracy"])
    validation = (two_replicas.X_VALIDATION, two_replicas.Y_VALIDATION)
    return model, model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, validation_data=validation, verbose=0).history


def main():
    phase, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if phase == "undisturbed":
        equal_to_one_device(strategy.scope(), directory)
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model, history = train_plain(multi_worker_model())
        write(directory / f"plain-{index()}", model, history)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = compiled(dense_network(), optimizer="adam", tuning_every=2, tuning_warmup=1, member_rows="same")
    dies = [Die()] if phase == "killed" and index() == 1 else []
    if phase == "apart":
        model.step.assign(index())
    history = train(model, directory, *dies)
    write(directory / f"{phase}-{index()}", model, history)


if __name__ == "__main__":
    main()
