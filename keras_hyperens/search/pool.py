"""The pool: what is known of every candidate that was trained, on disk, so that nothing finished is ever lost."""

import csv
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from keras_hyperens.files import write_array
from keras_hyperens.files import write_json
from keras_hyperens.files import write_whole

IDENTITY = "builder.json"
SEARCH, INITIALIZATIONS, RETRAINING = "search", "initializations", "retraining"


@dataclass(frozen=True)
class Candidate:
    """One trained network.

    Attributes:
        name: `"search-0007"`, or `"initializations-0007-2"`: the second initialisation of that one's hyperparameters.
        stage: `"search"`, `"initializations"` or `"retraining"`.
        values: Its hyperparameters.
        seed: From which its weights were initialised and its rows shuffled.
        parent: The candidate of the search that found its hyperparameters, itself if it is one of those.
        score: Of its validation predictions, by the builder's metric; lower is better. `None` if it failed.
        metrics: What the training reported at its best epoch.
        best_epoch: Counted from 0.
        seconds: How long it took.
        weights: Its file of weights, relative to the directory of the pool.
        build_config: What a model needs to create its weights before they are loaded.
        heads: What each output means (see `keras_hyperens.heads`), one for each file of predictions.
        outputs: Names of its outputs, empty if it has one without a name.
        failure: Why it failed, else `None`.
    """

    name: str
    stage: str
    values: dict[str, Any]
    seed: int
    parent: str
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    seconds: float = 0.0
    weights: str = ""
    build_config: dict[str, Any] | None = None
    heads: tuple[str | None, ...] = ()
    outputs: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def reason(self) -> str:
        """The last line of its failure, empty if it did not fail."""
        return (self.failure or "").strip().rpartition("\n")[2]


def rank(candidate: Candidate) -> tuple[float, str]:
    """A key to sort by: the best score first, and of equal ones the first name."""
    return (math.inf if candidate.score is None else candidate.score, candidate.name)


class Pool:
    """The candidates of one directory. A candidate is there from the moment its record is: the file written last."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._read: dict[str, Candidate] = {}  # records never change

    def identity(self) -> dict[str, Any] | None:
        """What the search in this directory is, or `None` if there is none."""
        file = self.directory / IDENTITY
        return json.loads(file.read_text()) if file.exists() else None

    def write_identity(self, identity: dict[str, Any]) -> None:
        write_json(self.directory / IDENTITY, identity)

    def check_identity(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Raises a `ValueError` unless the search in this directory is the one that is asked for."""
        differ = [name for name in now if before.get(name) != now[name]]
        if differ:
            raise ValueError(
                f"{self.directory} belongs to another search, which differs in {differ}: choose another `directory` or "
                f"`project_name`, or `overwrite=True` to delete it. "
                f"Received: { ({name: now[name] for name in differ if name != 'space'}) }, "
                f"there: { ({name: before.get(name) for name in differ if name != 'space'}) }"
            )

    def find(self, name: str) -> Candidate | None:
        if name not in self._read and self._record(name).exists():
            content = json.loads(self._record(name).read_text())
            for key in ("heads", "outputs"):
                content[key] = tuple(content[key])
            self._read[name] = Candidate(**content)
        return self._read.get(name)

    def candidates(self, *stages: str) -> list[Candidate]:
        """All candidates of these stages (default: of all), failed ones too, in the order of their names."""
        names = sorted(path.stem for path in (self.directory / "candidates").glob("[a-z]*.json"))
        found = [self.find(name) for name in names]
        return [each for each in found if each is not None and (not stages or each.stage in stages)]

    def finished(self, *stages: str) -> list[Candidate]:
        """Those that did not fail."""
        return [candidate for candidate in self.candidates(*stages) if candidate.failure is None]

    def add(self, candidate: Candidate, predictions: Iterable[np.ndarray] = ()) -> None:
        """Writes the predictions, one array per output, and then the record."""
        for number, array in enumerate(predictions):
            write_array(self._predictions(candidate.name, number), array)
        write_json(self._record(candidate.name), asdict(candidate))

    def predictions(self, candidate: Candidate) -> list[np.ndarray]:
        """Validation predictions `[N, ..., C]` of each output, memory-mapped."""
        files = [self._predictions(candidate.name, number) for number in range(max(1, len(candidate.outputs)))]
        return [np.load(file, mmap_mode="r") for file in files]

    def write_labels(self, labels: list[np.ndarray]) -> None:
        for number, array in enumerate(labels):
            write_array(self.directory / f"labels.{number}.npy", array)

    def labels(self) -> list[np.ndarray]:
        return [np.load(file) for file in sorted(self.directory.glob("labels.*.npy"))]

    def forget(self, name: str) -> None:
        """Deletes a record, before something else gets its name."""
        self._record(name).unlink(missing_ok=True)
        self._read.pop(name, None)

    def take_weights(self, name: str, file: pathlib.Path, leave: bool) -> str:
        """Keeps a tuner's file of weights under the candidate's name, because tuners use theirs again.

        Returns:
            Where it is, relative to the directory; a file outside of it stays where it is.
        """
        if not file.resolve().is_relative_to(self.directory.resolve()):
            return os.path.relpath(file, self.directory)
        own = self.directory / "candidates" / f"{name}.weights.h5"
        own.parent.mkdir(parents=True, exist_ok=True)
        if leave:
            write_whole(own, lambda temporary: shutil.copyfile(file, temporary))
        else:
            os.replace(file, own)
        return os.path.relpath(own, self.directory)

    def has_weights(self, candidate: Candidate) -> bool:
        return bool(candidate.weights) and self.weights_file(candidate).exists()

    def weights_file(self, candidate: Candidate) -> pathlib.Path:
        return self.directory / candidate.weights

    def drop_weights(self, candidates: Iterable[Candidate]) -> None:
        """Deletes weights, but none outside this directory: those belong to somebody else's search."""
        for candidate in candidates:
            if candidate.weights and not candidate.weights.startswith(os.pardir):
                self.weights_file(candidate).unlink(missing_ok=True)

    def write_csv(self, weights: dict[str, float]) -> pathlib.Path:
        """All candidates with their weights in the ensemble, one a line."""
        candidates = self.candidates()
        hyperparameters = sorted({name for each in candidates for name in each.values})
        columns = ["name", "stage", "parent", "seed", "score", "weight", "best_epoch", "seconds", "failure"]

        def write(path: pathlib.Path) -> None:
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([*columns, *hyperparameters])
                for each in candidates:
                    row = asdict(each) | {"weight": weights.get(each.name, 0.0), "failure": each.reason}
                    writer.writerow([row[c] for c in columns] + [each.values.get(h, "") for h in hyperparameters])

        path = self.directory / "candidates.csv"
        write_whole(path, write)
        return path

    def _record(self, name: str) -> pathlib.Path:
        return self.directory / "candidates" / f"{name}.json"

    def _predictions(self, name: str, number: int) -> pathlib.Path:
        return self.directory / "candidates" / f"{name}.{number}.npy"
