"""How many candidates a minute a search trains with n workers, where a training is a pause: the rest is our share."""

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import keras
import keras_tuner
import numpy as np

from benchmarks.scale import costs
from benchmarks.scale.point import Point
from keras_hyperens import HyperDeepEnsembleBuilder

PAUSE = 2.0  # seconds


class Pausing(keras_tuner.HyperModel):
    """Trains nothing, for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def build(self, hp: Any) -> keras.Model:
        hp.Float("l2", 1e-6, 1e-2, sampling="log")
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def fit(self, hp: Any, model: keras.Model, *args: Any, **kwargs: Any) -> dict[str, float]:
        time.sleep(self.seconds)
        return {"val_loss": 1.0}


def measure(trials: int = 12, workers: int = 2, seconds: float = PAUSE) -> Iterator[Point]:
    """The pause between two candidates of one worker predicts that of several."""
    alone, together = (interval(trials, number, seconds) for number in (1, workers))
    predicted = costs.search_seconds(workers, seconds, workers, overhead=alone - seconds) / workers
    what = f"from one candidate to the next, {workers} workers"
    formula = f"(t + o) / n, t = {seconds:g} s, o = {1e3 * (alone - seconds):.0f} ms from one worker"
    yield Point(what, formula, predicted, together, "s", is_counted=False)


def interval(trials: int, workers: int, seconds: float) -> float:
    """Seconds from one finished candidate to the next, once all workers have finished one."""
    with tempfile.TemporaryDirectory() as directory:
        builder = HyperDeepEnsembleBuilder(
            Pausing(seconds), ensemble_size=1, max_trials=trials, initializations=0, directory=directory, seed=0
        )
        rows = np.zeros((4, 3), "float32"), np.arange(4) % 2
        builder.search(*rows, validation_data=rows, workers=workers, verbose=0)
        records = (builder.pool.directory / "candidates").glob("*.json")
        ends = sorted(record.stat().st_mtime for record in records)
    counted = ends[workers - 1 :]
    return (counted[-1] - counted[0]) / (len(counted) - 1)
