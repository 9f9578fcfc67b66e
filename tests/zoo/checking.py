"""One model of the zoo as an ensemble: what it first predicts, how it trains, what its files give."""

import contextlib
import pathlib
import warnings
from dataclasses import dataclass

import keras
import numpy as np

import keras_hyperens as khe
from keras_hyperens.conversion.summary import share_of_members
from tests.zoo.models import ZOO

M, ROWS, LENGTH = 2, 8, 6
RANDOM = ("variational_autoencoder",)  # draw in inference: no two predictions are equal
LEAST = 0.9  # of the trained parameters are member-specific


@dataclass
class Row:
    """What became of one model; differences are the largest, over those of the largest output."""

    name: str
    difference: float = np.nan
    share: float = np.nan
    loss: float = np.nan
    apart: float = np.nan
    reloaded: float = np.nan
    exported: float = np.nan
    failure: str = ""

    @property
    def is_good(self):
        same = [self.difference, self.reloaded, self.exported]
        exact = self.name in RANDOM or max(same) < 1e-4
        return not self.failure and exact and self.share >= LEAST and self.apart > 0 and np.isfinite(self.loss)


def made(name, penalty=None, rate=0.2):
    """A model with weights that are nothing particular."""
    keras.utils.set_random_seed(0)
    model = ZOO[name](penalty, rate)
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + generator.normal(0, 0.1, weight.shape))
    return model


def rows_for(ensemble):
    """Rows for all inputs of an ensemble's network."""
    generator = np.random.default_rng(2)

    def rows(tensor):
        shape = (ROWS, *(LENGTH if axis is None else axis for axis in tensor.shape[1:]))
        if "int" in tensor.dtype:
            return generator.integers(0, 5, shape).astype(tensor.dtype)
        return generator.normal(size=shape).astype("float32")

    network = ensemble.network
    return keras.tree.map_structure(rows, network.inputs[0] if isinstance(network, keras.Sequential) else network.input)


def loss_and_labels(outputs):
    """A loss for these outputs, and labels."""
    flat = keras.tree.flatten(outputs)
    if len(flat) == 1 and outputs.ndim == 2 and outputs.shape[-1] == 3:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True), np.arange(ROWS) % 3
    labels = keras.tree.map_structure(lambda each: np.full(each.shape, 0.5, "float32"), outputs)
    return keras.tree.map_structure(lambda _: "mse", outputs), labels


def roles_for(model):
    """L2, and dropout where there is one."""
    found = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
    if any(isinstance(each, keras.layers.Dropout) for each in model._flatten_layers()):
        found["dropout"] = khe.Hyperparameter("dropout", 0.05, 0.5, "linear")
    return found


def difference(left, right):
    pairs = [
        (np.asarray(a, "float64"), np.asarray(b, "float64"))
        for a, b in zip(keras.tree.flatten(left), keras.tree.flatten(right), strict=True)
    ]
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-6)) for a, b in pairs)


@contextlib.contextmanager
def quiet():
    """Without what Keras and the conversion say of layers that stay as they are."""
    with warnings.catch_warnings():
        for message in ("All members share", "The ensemble of", ".*does not support masking", "distutils"):
            warnings.filterwarnings("ignore", message=message)
        yield


def converted(name):
    """Model, ensemble, rows, and a row of the table with what is known before training."""
    model = made(name)
    with quiet():
        ensemble = khe.HyperBatchEnsemble.from_model(model, roles=roles_for(model), ensemble_size=M, seed=0)
    x = rows_for(ensemble)
    expected = model(x, training=False)
    members = ensemble._member_outputs(x, training=False)
    row = Row(name, difference(keras.tree.map_structure(lambda each: np.stack([each] * M), expected), members))
    row.share = share_of_members(ensemble._report.records)
    return model, ensemble, x, row


def from_hypermodel(name):
    """The ensemble of a hypermodel with L2 and dropout, and the names that drive something in it."""

    def build_model(hp):
        penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
        model = ZOO[name](penalty, hp.Float("dropout", 0.05, 0.5))
        model.compile("sgd", "mse")
        return model

    with quiet():
        ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=M, seed=0)
    return ensemble, {
        part.split(" = ")[1].split()[-1]
        for each in ensemble._report.records
        if each.driven_by
        for part in each.driven_by.split(", ")
        if " = " in part
    }


def trained(ensemble, x, row, epochs):
    """Two steps an epoch, in which members see different samples; the second one tunes, too."""
    of_one = keras.tree.map_structure(lambda each: np.asarray(each)[0], ensemble._member_outputs(x))
    loss, y = loss_and_labels(of_one)
    ensemble.compile(keras.optimizers.Adam(0.01), loss, tuning_every=2, run_eagerly=True)
    with quiet():
        history = ensemble.fit(x, y, tuning_data=(x, y), batch_size=ROWS // 2, epochs=epochs, verbose=0).history
    row.loss = history["loss"][-1] + history["tuning_loss"][-1]
    members = ensemble.predict_members(x, verbose=0)
    row.apart = max(float(np.ptp(each, axis=0).max()) for each in keras.tree.flatten(members))


def saved(ensemble, x, row, folder):
    """Files: what is read again, and what an export computes."""
    expected = ensemble.predict(x, verbose=0)
    with quiet():
        ensemble.save(pathlib.Path(folder) / "ensemble.keras")
        loaded = keras.models.load_model(pathlib.Path(folder) / "ensemble.keras", custom_objects=custom_classes())
    row.reloaded = difference(expected, loaded.predict(x, verbose=0))
    with quiet():
        ensemble.export(str(pathlib.Path(folder) / "served"))
    return expected


def custom_classes():
    """The zoo's own layers, for models that keep one as it is."""
    from tests.zoo import blocks

    return {name: each for name, each in vars(blocks).items() if isinstance(each, type)}


def as_served(x):
    """Several inputs are a tuple in a prediction, and so in an export."""
    return tuple(x) if isinstance(x, list) else x


def served_here(x, folder):
    layer = keras.layers.TFSMLayer(str(pathlib.Path(folder) / "served"), call_endpoint="serve")
    return layer(as_served(x))
