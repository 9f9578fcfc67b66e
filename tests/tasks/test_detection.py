"""Detection: boxes and classes of the objects in an image, two outputs of one network."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyperens as khe
from tests.tasks.contract import M
from tests.tasks.contract import task_contract

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CELLS, CLASSES = 4, 3  # the network looks at 4 x 4 cells; class 0 is the background


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


@pytest.mark.integration
def test_detection(tmp_path):
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(
        detector,
        ensemble_size=M,
        output_activation={"boxes": None, "classes": "softmax"},  # a box is no probability
    )
    assert set(ensemble.space.names) == {"l2", "box_weight"}
    x, y = scenes()
    task_contract(ensemble, x, y, tmp_path, epochs=12)
    found = ensemble.predict(x, verbose=0)["classes"][..., 1:].sum(-1).reshape(len(x), -1).argmax(1)
    assert (found == y["classes"].reshape(len(x), -1).argmax(1)).mean() > 0.7
