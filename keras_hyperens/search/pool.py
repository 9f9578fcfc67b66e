"""The pool of trained candidates on disk, which preserves all finished ones."""

import csv
import io
import itertools
import re
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from dataclasses import replace
from typing import Any

import h5py
import numpy as np

from keras_hyperens import files
from keras_hyperens.likelihoods import named
from keras_hyperens.search.candidate import Candidate

IDENTITY, CANDIDATES, FOLDS = "builder.json", "candidates", "folds"
VERSION = "format_version"  # part of an identity: the format of the directory
METRIC = "metric"  # part of an identity that may change: scores are then recomputed
LOCK = ".lock"  # file of `directory.DirectoryLock`
OURS = re.compile(
    r"(labels|weights)\.\d+\.npy|candidates|folds|candidates\.csv|stage-\w+\.json|ensemble\.json|search|initializations|retraining"
    r"|\.(builder|labels|weights|candidates|stage-\w+|ensemble)-[0-9a-f]{8}\..+"  # incomplete files
)
KINDS: dict[Any, tuple[str, ...]] = {  # types of the fields of a record
    str: ("stage", "parent", "weights"),
    dict: ("values", "metrics"),
    list: ("likelihoods", "outputs", "fold_weights"),
    int: ("seed", "best_epoch"),
    int | float: ("seconds",),
    int | float | None: ("score",),
    dict | None: ("build_config",),
    str | None: ("failure",),
}


class Pool:
    """Candidates of one directory. A candidate exists once its record exists, which is written last.

    Attributes:
        directory: A `pathlib.Path`, or an address (`gs://...`) as a string.
        theirs: Directory of a tuner object, which may also contain weights.
    """

    def __init__(self, directory: files.Path, theirs: files.Path | None = None) -> None:
        self.directory = files.as_directory(directory)
        self.theirs = theirs
        self._read: dict[str, Candidate] = {}  # records only change with the metric

    def refresh(self) -> None:
        """Reads records again, which another process may have changed."""
        self._read.clear()

    def identity(self) -> dict[str, Any] | None:
        """Returns the identity of the search in this directory, or `None`.

        Raises:
            files.Damaged: If it cannot be read.
        """
        file = files.join(self.directory, IDENTITY)
        identity = files.read_json(file) if files.exists(file) else None
        if identity is not None and not (isinstance(identity, dict) and VERSION in identity):
            raise files.Damaged(file, ValueError(f"it has no {VERSION!r}"))
        return identity

    def write_identity(self, identity: dict[str, Any]) -> None:
        files.write_json(files.join(self.directory, IDENTITY), identity)

    def check_overwritable(self) -> None:
        """Raises a `ValueError` if this directory contains other data than a search of this package."""
        there = [name for name in files.names(self.directory, "*") if name != LOCK]
        if there and not self._is_search(there):
            raise ValueError(
                "`overwrite=True` only deletes a search of this package: choose another `directory` or "
                f"`project_name`. Received: {self.directory}, which contains {there[:3]}"
            )

    def clear(self) -> None:
        """Deletes only the search in this directory."""
        self.check_overwritable()
        for name in filter(OURS.fullmatch, files.names(self.directory, "*")):
            files.remove_tree(files.join(self.directory, name))
        files.remove(files.join(self.directory, IDENTITY))  # last, because it identifies the owner of the directory
        self._read.clear()

    def _is_search(self, there: list[str]) -> bool:
        try:
            return self.identity() is not None
        except files.Damaged:
            return CANDIDATES in there

    def check_identity(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Raises a `ValueError` unless the search in this directory is the requested one."""
        differ = [name for name in now if name in before and name != METRIC and before[name] != now[name]]
        if differ:
            raise ValueError(
                f"{self.directory} belongs to another search, which differs in {differ}: choose another `directory` or "
                f"`project_name`, use the original values, or set `overwrite=True` to delete it. "
                f"Received: { ({name: now[name] for name in differ if name != 'space'}) }, "
                f"existing: { ({name: before.get(name) for name in differ if name != 'space'}) }"
            )

    def stage(self, name: str) -> dict[str, Any]:
        """Returns the record of a stage by the chief: its plan, and whether it is finished. Empty without one."""
        file = files.join(self.directory, f"stage-{name}.json")
        return files.read_json(file) if files.exists(file) else {}

    def write_stage(self, name: str, plan: Any, is_over: bool) -> None:
        files.write_json(files.join(self.directory, f"stage-{name}.json"), {"plan": plan, "is_over": is_over})

    def find(self, name: str) -> Candidate | None:
        """Returns the candidate of this name, or `None`.

        Raises:
            files.Damaged: If its record cannot be read.
        """
        if name not in self._read and files.exists(self._record(name)):
            content = files.read_json(self._record(name))
            try:
                self._read[name] = _candidate(name, content)
            except (KeyError, TypeError, ValueError) as error:
                raise files.Damaged(self._record(name), error) from error
        return self._read.get(name)

    def forget_damaged(self) -> None:
        """Deletes the records of candidates with unreadable files, so that they are trained again."""
        for name in self._names():
            try:
                self._check_files(name)
            except (ValueError, FileNotFoundError) as error:
                warnings.warn(f"The candidate {name} will be trained again: {error}", stacklevel=2)
                self.forget(name)

    def _check_files(self, name: str) -> None:
        candidate = self.find(name)
        if candidate is None or candidate.failure is not None:
            return
        if candidate.likelihoods:  # retrained candidates have no predictions
            self.check_predictions(candidate, self.predictions(candidate), self._number_of_labels())
        if self.has_weights(candidate):
            for file in itertools.filterfalse(files.is_remote, self.weights_files(candidate)):
                check_weights(file)

    def _number_of_labels(self) -> int | None:
        """Returns the number of samples, `None` in a pool of folds, which have different ones."""
        file = files.join(self.directory, "labels.0.npy")
        return len(files.read_array(file)) if files.exists(file) else None

    def check_predictions(self, candidate: Candidate, predictions: list[np.ndarray], rows: int | None) -> None:
        """Raises `files.Damaged` unless a candidate's predictions are numbers, for this many samples if given."""
        for number, array in enumerate(predictions):
            if array.dtype.kind != "f" or (rows is not None and array.shape[:1] != (rows,)):
                wrong = f"an array of {array.dtype}, shape {array.shape}, for {rows} validation samples"
                raise files.Damaged(self._predictions(candidate.name, number), ValueError(wrong))

    def candidates(self, *stages: str) -> list[Candidate]:
        """Returns all candidates of these stages (by default all), including failed ones, in the order of names."""
        found = map(self.find, self._names())
        return [each for each in found if each is not None and (not stages or each.stage in stages)]

    def _names(self) -> list[str]:
        names = files.names(files.join(self.directory, CANDIDATES), "[a-z]*.json")
        return [name.removesuffix(".json") for name in names]

    def finished(self, *stages: str) -> list[Candidate]:
        """Returns the candidates that did not fail."""
        return [candidate for candidate in self.candidates(*stages) if candidate.failure is None]

    def why_none(self, *stages: str) -> str:
        """Returns the reason why there may be no finished candidate of these stages."""
        failures = [each for each in self.candidates(*stages) if each.failure is not None]
        if not failures:
            return "no candidate has failed: call `search` first, or search more trials"
        first = failures[0]
        return f"{len(failures)} candidates failed or diverged, the first one ({first.name}) with: {first.reason}"

    def add(self, candidate: Candidate, predictions: Iterable[np.ndarray] = ()) -> None:
        """Writes the predictions, one array per output, and then the record."""
        for number, array in enumerate(predictions):
            files.write_array(self._predictions(candidate.name, number), array)
        files.write_json(self._record(candidate.name), asdict(candidate))

    def predictions(self, candidate: Candidate) -> list[np.ndarray]:
        """Returns the validation predictions `[N, ..., C]` of each output, memory-mapped."""
        numbers = range(max(1, len(candidate.outputs)))
        return [files.read_array(self._predictions(candidate.name, number)) for number in numbers]

    def write_labels(self, labels: list[np.ndarray], weights: list[np.ndarray | None]) -> None:
        """Writes the labels of each output, and its sample weights, if any."""
        for kind, arrays in (("labels", labels), ("weights", weights)):
            for number, array in enumerate(arrays):
                file = files.join(self.directory, f"{kind}.{number}.npy")
                files.remove(file) if array is None else files.write_array(file, array)

    def labels(self) -> list[np.ndarray]:
        """Returns the labels of each output in numerical order, in which 2 precedes 10."""
        number = len(files.names(self.directory, "labels.*.npy"))
        return [np.array(files.read_array(files.join(self.directory, f"labels.{n}.npy"))) for n in range(number)]

    def weights(self) -> list[np.ndarray | None]:
        """Returns the sample weights of each output, or `None`."""
        there = set(files.names(self.directory, "weights.*.npy"))
        names = [f"weights.{n}.npy" for n in range(len(files.names(self.directory, "labels.*.npy")))]
        return [
            np.array(files.read_array(files.join(self.directory, name))) if name in there else None for name in names
        ]

    def change_score(self, candidate: Candidate, score: float) -> None:
        """Changes the score in a candidate's record."""
        files.write_json(self._record(candidate.name), asdict(replace(candidate, score=score)))
        self._read.pop(candidate.name, None)

    def forget(self, name: str) -> None:
        """Deletes a record, before its name is used again."""
        files.remove(self._record(name))
        self._read.pop(name, None)

    def discard(self, candidate: Candidate) -> None:
        """Deletes a record and its predictions, but not its weights."""
        self.forget(candidate.name)
        for number in range(max(1, len(candidate.outputs))):
            files.remove(self._predictions(candidate.name, number))

    def take_weights(self, name: str, file: str, leave: bool) -> str:
        """Keeps a tuner's file of weights under the candidate's name, because tuners overwrite theirs.

        Returns:
            Its path, relative to the directory.
        """
        own = self.place_of_weights(name)
        (files.copy if leave else files.move)(file, files.join(self.directory, own))
        return own

    def place_of_weights(self, name: str) -> str:
        """Returns the path of the weights of a candidate of this name, relative to the directory."""
        return f"{CANDIDATES}/{files.checked_name(name)}.weights.h5"

    def has_weights(self, candidate: Candidate) -> bool:
        there = self.weights_files(candidate)
        return bool(there) and all(map(files.exists, there))

    def weights_files(self, candidate: Candidate) -> list[str]:
        """Returns the paths of the weights of a candidate's networks: one, or one per fold.

        Raises:
            ValueError: If its record has a path outside of the directories of weights.
        """
        written = candidate.fold_weights or ((candidate.weights,) if candidate.weights else ())
        return [self._weights_file(candidate, weights) for weights in written]

    def _weights_file(self, candidate: Candidate, weights: str) -> str:
        path = files.join(self.directory, weights)
        places = [place for place in (self.directory, self.theirs) if place is not None]
        if not any(files.is_inside(path, place) for place in places):
            raise ValueError(
                f"Weights must be in {' or '.join(map(str, places))}; those of a tuner object require a builder with "
                f"that tuner. Received: weights={weights!r} of {candidate.name}"
            )
        return path

    def drop_weights(self, candidates: Iterable[Candidate]) -> None:
        """Deletes weights, except those outside of this directory, which belong to another search."""
        for file in itertools.chain.from_iterable(map(self.weights_files, candidates)):
            if files.is_inside(file, self.directory):
                files.remove(file)

    def write_csv(self, weights: dict[str, float]) -> None:
        """Writes all candidates with their weights in the ensemble to `candidates.csv`."""
        candidates = self.candidates()
        hyperparameters = sorted({name for each in candidates for name in each.values})
        columns = ["name", "stage", "parent", "seed", "score", "weight", "best_epoch", "seconds", "failure"]
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow([*columns, *hyperparameters])
        for each in candidates:
            row = asdict(each) | {"weight": weights.get(each.name, 0.0), "failure": each.reason}
            writer.writerow([row[c] for c in columns] + [each.values.get(h, "") for h in hyperparameters])
        files.write_text(files.join(self.directory, "candidates.csv"), text.getvalue())

    def _record(self, name: str) -> str:
        return files.join(self.directory, CANDIDATES, f"{files.checked_name(name)}.json")

    def _predictions(self, name: str, number: int) -> str:
        return files.join(self.directory, CANDIDATES, f"{files.checked_name(name)}.{number}.npy")


def _candidate(name: str, content: dict[str, Any]) -> Candidate:
    content = {"fold_weights": [], **content}  # missing in older records
    if content["name"] != name:
        raise ValueError(f"it is the record of {content['name']!r}")
    for kind, fields in KINDS.items():
        wrong = [field for field in fields if not isinstance(content[field], kind)]
        if wrong:
            raise ValueError(f"{wrong[0]} must not be {content[wrong[0]]!r}")
    named(content["likelihoods"])  # raises a `KeyError` for unknown names
    return Candidate(**content | {field: tuple(content[field]) for field in KINDS[list]})


def check_weights(path: files.Path) -> None:
    """Raises `files.Damaged` unless the file of weights is complete."""
    try:
        h5py.File(path, "r").close()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise files.Damaged(path, error) from error
