"""Images: their class, an embedding of them, the class of every pixel."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_hyperens as khe
from tests.tasks.contract import L2
from tests.tasks.contract import M
from tests.tasks.contract import task_contract

pytestmark = pytest.mark.integration
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def stripes(rows=192, size=12, seed=0):
    """Horizontal, vertical and diagonal stripes in noise, and which they are."""
    generator = np.random.default_rng(seed)
    labels, shift = generator.integers(0, 3, rows), generator.uniform(0, 6, (rows, 1, 1))
    down, across = np.mgrid[:size, :size]
    along = np.stack([down, across, down + across])[labels]
    return (np.sin(along + shift) + 0.5 * generator.normal(size=along.shape))[..., None].astype("float32"), labels


def test_classification(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(3),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), LOGITS, metrics=["accuracy"])
    dropout = khe.Hyperparameter("dropout", 0.01, 0.5, "linear")
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles={**L2, "dropout": dropout}, ensemble_size=M)
    x, y = stripes()
    task_contract(ensemble, x, y, tmp_path, epochs=8)
    assert ensemble.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.8


@keras.saving.register_keras_serializable("tests")
def triplet(y_true, y_pred):
    """For every row its farthest of the same class and its nearest of another: it compares the rows of a batch."""
    same = ops.equal(y_true, ops.transpose(y_true))
    distances = ops.sum(ops.square(y_pred[:, None] - y_pred[None]), axis=-1)
    farthest = ops.max(ops.where(same, distances, 0.0), axis=1)
    nearest = ops.min(ops.where(same, 4.0, distances), axis=1)
    return ops.relu(farthest - nearest + 0.5)


def test_embeddings(tmp_path):
    images = keras.Input((12, 12, 1))
    features = layers.Conv2D(12, 3, activation="relu")(images)
    features = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(12, 3, activation="relu")(features))
    model = keras.Model(images, layers.UnitNormalization()(layers.Dense(4)(features)))
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M, output_activation=None)
    ensemble.compile(keras.optimizers.Adam(0.01), triplet)
    x, labels = stripes()
    task_contract(ensemble, x, labels[:, None], tmp_path, epochs=8)
    embedded = ensemble.predict(x, verbose=0)
    centers = np.stack([embedded[labels == label].mean(0) for label in range(3)])
    assert (np.argmax(embedded @ centers.T, axis=1) == labels).mean() > 0.7


def shapes(rows=96, size=16, seed=0):
    """A bright square and a dark one in each, and the class of every pixel."""
    generator = np.random.default_rng(seed)
    x = 0.3 * generator.normal(size=(rows, size, size, 1)).astype("float32")
    y = np.zeros((rows, size, size), int)
    for image, labels in zip(x, y, strict=True):
        for kind in (1, 2):
            (top, left), side = generator.integers(0, 10, 2), generator.integers(4, 7)
            labels[top : top + side, left : left + side] = kind
        image += np.array([0.0, 1.0, -1.0])[labels][..., None]
    return x, y


def test_segmentation(tmp_path):
    images = keras.Input((16, 16, 1))
    fine = layers.Conv2D(8, 3, padding="same", activation="relu")(images)
    coarse = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(fine))
    up = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(coarse)
    joined = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Concatenate()([fine, up]))
    model = keras.Model(images, layers.Conv2D(3, 1)(joined))
    overlap = keras.metrics.MeanIoU(3, sparse_y_pred=False, name="overlap")
    model.compile(keras.optimizers.Adam(0.01), LOGITS, metrics=[overlap])
    ensemble = khe.HyperBatchEnsemble.from_model(model, roles=L2, ensemble_size=M)
    x, y = shapes()
    task_contract(ensemble, x, y, tmp_path, epochs=8)
    assert ensemble.evaluate(x, y, verbose=0, return_dict=True)["overlap"] > 0.6
