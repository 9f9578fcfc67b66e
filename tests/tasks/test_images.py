"""Images: their class, an embedding of them, the objects in them, the class of every pixel."""

import keras
import numpy as np
from keras import layers
from keras import ops

import keras_hyperens as khe
from tests.tasks.contract import L2
from tests.tasks.contract import M
from tests.tasks.contract import task_contract

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CELLS, CLASSES = 4, 3  # a detector looks at 4 x 4 cells; class 0 is the background


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
    dropout = khe.Hyperparameter("dropout", 0.01, 0.5, scale="linear")
    ensemble = khe.HyperBatchEnsemble.from_model(model, {**L2, "dropout": dropout}, M)
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
    ensemble = khe.HyperBatchEnsemble.from_model(model, L2, M)
    ensemble.compile(keras.optimizers.Adam(0.01), triplet)
    x, labels = stripes()
    task_contract(ensemble, x, labels[:, None], tmp_path, epochs=8)
    embedded = ensemble.predict(x, verbose=0)
    centres = np.stack([embedded[labels == label].mean(0) for label in range(3)])
    assert (np.argmax(embedded @ centres.T, axis=1) == labels).mean() > 0.7


def scenes(rows=192, size=16, seed=0):
    """A bright square or cross in each: for every cell its class, and the box if the middle of the object is there."""
    generator = np.random.default_rng(seed)
    x = 0.2 * generator.normal(size=(rows, size, size, 1)).astype("float32")
    classes, boxes = np.zeros((rows, CELLS, CELLS), int), np.zeros((rows, CELLS, CELLS, 5), "float32")
    for image, of_cells, box in zip(x, classes, boxes, strict=True):
        (top, left), side, kind = generator.integers(0, 11, 2), generator.integers(3, 6), generator.integers(1, CLASSES)
        part = image[top : top + side, left : left + side]
        part += 1.0 if kind == 1 else (np.eye(side) + np.eye(side)[::-1])[..., None]
        middle = np.array([top + side / 2, left + side / 2]) / size * CELLS
        cell = tuple(middle.astype(int))
        of_cells[cell], box[cell] = kind, [*(middle - cell), side / size, side / size, 1]
    return x, {"boxes": boxes, "classes": classes}


@keras.saving.register_keras_serializable("tests")
def box_loss(y_true, y_pred):
    """Only where there is an object, which the fifth number says."""
    return keras.losses.huber(y_true[..., :4], y_pred) * y_true[..., 4]


def detector(hp):
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    options = {"padding": "same", "activation": "relu", "kernel_regularizer": penalty}
    images = keras.Input((16, 16, 1))
    features = layers.Conv2D(8, 3, strides=2, **options)(images)
    features = layers.Conv2D(16, 3, strides=2, **options)(features)
    features = layers.Conv2D(24, 3, **options)(features)
    outputs = {
        "boxes": layers.Conv2D(4, 1, activation="sigmoid", name="boxes")(features),
        "classes": layers.Conv2D(CLASSES, 1, name="classes")(features),
    }
    model = keras.Model(images, outputs)
    weights = {"boxes": hp.Float("box_weight", 0.5, 5.0, sampling="log"), "classes": 1.0}
    model.compile(keras.optimizers.Adam(0.01), {"boxes": box_loss, "classes": LOGITS}, loss_weights=weights)
    return model


def test_detection(tmp_path):
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(detector, M)
    assert set(ensemble.hyperparameters.names) == {"l2", "box_weight"}
    x, y = scenes()
    task_contract(ensemble, x, y, tmp_path, epochs=12)
    found = ensemble.predict(x, verbose=0)["classes"][..., 1:].sum(-1).reshape(len(x), -1).argmax(1)
    assert (found == y["classes"].reshape(len(x), -1).argmax(1)).mean() > 0.7


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
    ensemble = khe.HyperBatchEnsemble.from_model(model, L2, M)
    x, y = shapes()
    task_contract(ensemble, x, y, tmp_path, epochs=8)
    assert ensemble.evaluate(x, y, verbose=0, return_dict=True)["overlap"] > 0.6
