"""A cell of the comparison: data, network and budget; and how a trained model is measured there."""

import pathlib
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from benchmarks.data import Data
from benchmarks.data import Rows
from benchmarks.methods import Schedule
from benchmarks.methods import calibrated
from benchmarks.methods import score
from benchmarks.paper import networks


@dataclass(frozen=True)
class Cell:
    """One seed of one cell of the table: data, network, and the budget that all methods have.

    Attributes:
        directory: Of the searches.
        results: The folder of all that was measured.
        strategy: A `tf.distribute.Strategy` for each training, or `None`.
    """

    data: Data
    network: str
    schedule: Schedule
    ensemble_size: int
    trials: int
    seed: int
    directory: pathlib.Path
    results: pathlib.Path
    strategy: Any = None

    @property
    def hypermodel(self) -> networks.Hypermodel:
        return networks.hypermodel_of(self.network, self.data, self.schedule)

    @property
    def one_hot(self) -> Data:
        """The same rows, but for the test rows with labels in the form of the loss."""
        parts = {name: self._one_hot(getattr(self.data, name)) for name in ("train", "tuning", "validation")}
        return replace(self.data, **parts)

    def key(self, **what: Any) -> dict[str, Any]:
        """What says which run it is, in files of results: `what` was run, with which seed and budget."""
        return {
            "dataset": self.data.name,
            "network": self.network,
            **what,
            "seed": self.seed,
            "train_rows": len(self.data.train[1]),
            "held_out_rows": len(self.data.tuning[1]) + len(self.data.validation[1]),
            "ensemble_size": self.ensemble_size,
            "trials": self.trials,
            "epochs": self.schedule.epochs,
        }

    def _one_hot(self, rows: Rows) -> Rows:
        return rows[0], np.eye(self.data.num_classes, dtype="float32")[rows[1]]


def measured(model: keras.Model, data: Data) -> dict[str, Any]:
    """Scores on the test rows as the model was trained, and with a temperature fitted on the held-out rows."""
    as_trained = asdict(score(model, data.test))
    return {**as_trained, "calibrated": asdict(score(calibrated(model, data), data.test))}
