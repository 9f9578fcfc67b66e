"""Segmentation: which digit, or none, each pixel of a scene of handwritten digits belongs to, by a small U-Net."""

from collections.abc import Sequence
from dataclasses import asdict

import keras
import keras_tuner
import numpy as np

from benchmarks import data
from benchmarks import experiment
from benchmarks.data import Data
from benchmarks.data import Rows
from benchmarks.experiment import Hypermodel
from benchmarks.experiment import Schedule
from benchmarks.experiment import classifier
from benchmarks.tasks.task import Task
from benchmarks.tasks.task import tuned

CANVAS = 24  # pixels to a side; a digit has 8
INK = 0.25  # of full ink: from there on a pixel is the digit's
NOISE = 0.1
BACKGROUND = 10
SCENES = (800, 200, 200, 400)  # to train, tune, validate and test


def load(seed: int) -> Data:
    """Scenes of digits that were divided first: no part has a digit of another. Test scenes are always the same."""
    digits = data.load("digits")
    parts = _divided([digits.train, digits.tuning, digits.validation], seed)
    seeds = np.random.SeedSequence(seed).spawn(len(parts))
    scenes = [_scenes(part, count, np.random.default_rng(of)) for part, count, of in zip(parts, SCENES, seeds)]
    return Data("digit scenes", *scenes, _scenes(digits.test, SCENES[-1], np.random.default_rng(0)))


def _divided(parts: Sequence[Rows], seed: int) -> list[Rows]:
    """The rows of all parts, divided anew into parts of the same sizes."""
    images, labels = (np.concatenate(each) for each in zip(*parts))
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = np.split(order, np.cumsum([len(labels) for _, labels in parts])[:-1])
    return [(images[rows], labels[rows]) for rows in chosen]


def _scenes(digits: Rows, count: int, generator: np.random.Generator) -> Rows:
    scenes, labels = zip(*(_scene(digits, generator) for _ in range(count)))
    return np.stack(scenes), np.stack(labels)


def _scene(digits: Rows, generator: np.random.Generator) -> Rows:
    """One to three digits anywhere, a later one over an earlier one; noise."""
    scene = np.zeros((CANVAS, CANVAS, 1), "float32")
    label = np.full((CANVAS, CANVAS), BACKGROUND)
    for row in generator.integers(len(digits[1]), size=generator.integers(1, 4)):
        image = digits[0][row]
        top, left = generator.integers(CANVAS - len(image) + 1, size=2)
        window = slice(top, top + len(image)), slice(left, left + len(image))
        ink = image > INK
        scene[window] = np.where(ink, image, scene[window])
        label[window] = np.where(ink[..., 0], digits[1][row], label[window])
    return scene + generator.normal(0, NOISE, scene.shape).astype("float32"), label


def hypermodel(data: Data, schedule: Schedule) -> Hypermodel:
    def build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
        l2, dropout = tuned(hp, (1e-7, 1e-4), (0.0, 0.3))

        def conv(rows: keras.KerasTensor, filters: int, size: int) -> keras.KerasTensor:
            settings = {"padding": "same", "activation": "silu", "kernel_initializer": "he_normal"}
            return keras.layers.Conv2D(filters, size, kernel_regularizer=l2, **settings)(rows)

        def up(rows: keras.KerasTensor, filters: int, beside: keras.KerasTensor) -> keras.KerasTensor:
            rows = keras.layers.Dropout(dropout)(rows)
            rows = keras.layers.Conv2DTranspose(filters, 2, strides=2, kernel_regularizer=l2)(rows)
            return conv(keras.layers.Concatenate()([rows, beside]), filters, 1)

        inputs = keras.Input(data.image_shape)
        fine = conv(conv(inputs, 8, 3), 8, 3)
        middle = conv(conv(keras.layers.MaxPooling2D()(fine), 16, 3), 16, 3)
        coarse = conv(conv(keras.layers.MaxPooling2D()(middle), 48, 3), 48, 3)
        # More filters than classes all the way up: with 8 there, some seeds never tell one digit from another.
        rows = up(up(coarse, 32, middle), 24, fine)
        outputs = keras.layers.Conv2D(data.num_classes, 1, kernel_regularizer=l2)(rows)
        return classifier(keras.Model(inputs, outputs), data, schedule)

    return build_model


def measures(members: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    predicted = members.mean(0).reshape(-1, members.shape[-1])  # [B * pixels, classes]
    scores = asdict(experiment.scores(predicted, labels.ravel()))
    return {"nll": scores["nll"], "mean IoU": mean_iou(predicted.argmax(-1), labels.ravel()), "ece": scores["ece"]}


def mean_iou(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean over digits of intersection over union; the background does not count."""
    ious = [
        ((predicted == digit) & (labels == digit)).sum() / max(((predicted == digit) | (labels == digit)).sum(), 1)
        for digit in range(BACKGROUND)
    ]
    return float(np.mean(ious))


TASK = Task(
    "segmentation",
    load,
    hypermodel,
    measures,
    Schedule(epochs=40, patience=5, batch_size=10, learning_rate=7e-3),
    ({"l2": 1e-6, "dropout": 0.0}, {"l2": 1e-6, "dropout": 0.1}),
)
