"""The directory of a search: one process at a time uses it, and no other search than the one that it was made for."""

import contextlib
import os
import random
import socket
import threading
import types
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

from keras_hyperens import files
from keras_hyperens.checks import is_integer
from keras_hyperens.search.candidate_models import ModelFacts
from keras_hyperens.search.candidate_models import facts_and_model
from keras_hyperens.search.digests import digest_of
from keras_hyperens.search.distributed.processes import is_distributed
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.pool import LOCK
from keras_hyperens.search.pool import METRIC
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.settings import Settings
from keras_hyperens.search.validation_rows import ValidationRows

fcntl: Any = None
try:
    import fcntl
except ImportError:  # Windows
    pass

FORMAT_VERSION = 2
OF_FIT = ("batch_size", "initial_epoch", "shuffle", "steps_per_epoch", "validation_steps")  # that change results


class SearchDirectory:
    """The directory of a builder's search.

    Args:
        settings: Of the builder.
        pool: The candidates in it.

    Attributes:
        seed: Of everything; `None` until the directory is opened, if none was given.
        is_to_be_cleared: Whether what is there will be deleted.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.seed = settings.seed
        self.is_to_be_cleared = settings.overwrite
        self._facts: ModelFacts | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_facts": None}  # other processes find them themselves

    @contextlib.contextmanager
    def locked(self) -> Iterator[Any]:
        """That of this process alone; workers share that of their chief."""
        self.pool.refresh()
        if self.is_to_be_cleared and not is_worker():
            self.pool.check_overwritable()
        with contextlib.nullcontext() if is_worker() else DirectoryLock(self.pool.directory) as lock:
            yield lock

    def settled_seed(self) -> int:
        """The seed that was given, or that of the search in the directory, or another one."""
        if self.seed is None and is_distributed():
            raise ValueError("Several processes must agree on a seed: set `seed`. Received: seed=None")
        if self.seed is None:
            before = None if self.is_to_be_cleared else self.pool.identity()
            self.seed = int(before["seed"]) if before else random.randrange(2**31)
        return self.seed

    def open(self, identity: dict[str, Any], rows: ValidationRows, score_again: Callable[[], None]) -> None:
        """Makes it the directory of this search, if it is not.

        Args:
            identity: Of the search.
            rows: The validation rows.
            score_again: Called if candidates were scored by another metric.

        Raises:
            ValueError: If it belongs to another search.
        """
        seed = self.settled_seed()
        if self.is_to_be_cleared and not is_worker():
            self.pool.clear()
            self.is_to_be_cleared = False
        before = self.pool.identity()
        now = {"seed": seed, **identity}
        if before is not None:
            self.pool.check_identity(before, now)
        if not is_worker():
            if before is None:
                self.pool.write_identity(now)  # first: it tells whose directory this is
            self.pool.write_labels(rows.labels, rows.weights)
            if before is not None and before.get(METRIC, now[METRIC]) != now[METRIC]:
                score_again()
            self.pool.write_identity({**(before or {}), **now})
            self.pool.forget_damaged()

    def facts(self) -> ModelFacts:
        """Those of the hypermodel, which must be the one that the search was begun with."""
        if self._facts is None:
            facts, _ = facts_and_model(self.settings.hypermodel, self.settings.hyperparameters)
            before = self.pool.identity()
            if before is not None:
                self.pool.check_identity(before, _identity_of_models(self.settings, facts))
            self._facts = facts
        return self._facts

    def look_at_models(self) -> keras.Model:
        """Finds the facts anew, and returns the model that they are of."""
        self._facts, model = facts_and_model(self.settings.hypermodel, self.settings.hyperparameters)
        return model

    def identity(
        self, x: Any, y: Any, rows: ValidationRows, arguments: dict[str, Any], folds: str | None = None
    ) -> dict[str, Any]:
        """What makes a search another one.

        Args:
            x, y: The training data.
            rows: The validation rows.
            arguments: Others of `fit`.
            folds: Their fingerprint, if candidates are cross-validated.
        """
        of_data = {} if x is None else {"training data": digest_of((x, y, arguments.get("sample_weight")))}
        class_weight = arguments.get("class_weight")
        return {
            "format_version": FORMAT_VERSION,
            **_identity_of_models(self.settings, self.facts()),
            **of_data,
            "class_weight": class_weight and {str(label): float(weight) for label, weight in class_weight.items()},
            "validation inputs": rows.inputs,
            "validation labels": rows.digest(),
            "same_initialization": self.settings.same_initialization,
            "training_subset": self.settings.training_subset,
            "folds": folds,
            "refit": folds is not None and self.settings.refit,
            "checkpoints": self.settings.checkpoints,
            "epochs": arguments.get("epochs", 1),
            **{name: _text_of(arguments.get(name)) for name in OF_FIT},
            METRIC: _text_of(self.settings.metric),
        }


def _identity_of_models(settings: Settings, facts: ModelFacts) -> dict[str, Any]:
    """What is known of it without any data."""
    return {
        "space": facts.space,
        **facts.digests,
        "tuner": settings.tuner if isinstance(settings.tuner, str) else type(settings.tuner).__name__,
        "objective": _text_of(settings.objective),
        "output_activation": _text_of(settings.output_activation),
    }


def _text_of(setting: Any) -> Any:
    """A setting as JSON can say it; of a function or an object its name."""
    if isinstance(setting, dict):
        return {str(key): _text_of(value) for key, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [_text_of(each) for each in setting]
    if setting is None or isinstance(setting, str | int | float):
        return setting
    if is_integer(setting):  # of NumPy
        return int(setting)
    if hasattr(setting, "direction"):  # KerasTuner's objective
        return f"{setting.direction} {setting.name}"
    return getattr(setting, "__qualname__", type(setting).__qualname__)


# Held by this process. For the system its threads are one, and one that leaves takes all locks along.
_held: set[str] = set()
_holding = threading.Lock()


class DirectoryLock:
    """A lock of a directory, which the system takes back from a process however that ends.

    An address has none, and neither has a file system that knows no locks: there it is the user who must see to it.

    Args:
        directory: Of a search.

    Raises:
        RuntimeError: If another process holds it, or another search of this one.
    """

    _name = ""  # among those that this process holds

    def __init__(self, directory: files.Path) -> None:
        self._file: Any = None
        if fcntl is None or files.is_remote(directory):
            return
        os.makedirs(directory, exist_ok=True)
        self._hold(os.path.realpath(directory))
        try:
            self._file = open(files.join(directory, LOCK), "a+")  # not "w": that would delete what the holder wrote
        except OSError:
            self.release()
            raise
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = self._holder()
            self.release()
            raise _in_use(directory, holder) from None
        except OSError:  # no locks here
            return self.release()
        self._write_holder()

    def _hold(self, name: str) -> None:
        with _holding:
            if name in _held:
                raise _in_use(name, "another search of this process")
            _held.add(name)
        self._name = name

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read().strip() or "a process that has not said its name yet"

    def _write_holder(self) -> None:
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()

    def release(self) -> None:
        """Gives it back; another time does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with _holding:
            _held.discard(self._name)
        self._name = ""

    def __enter__(self) -> "DirectoryLock":
        return self

    def __exit__(self, *error: types.TracebackType | Any) -> None:
        self.release()


def _in_use(directory: files.Path, holder: str) -> RuntimeError:
    return RuntimeError(
        f"Another process searches in this directory: wait for it, end it, or choose another `directory` or "
        f"`project_name`. Received: {directory}, used by {holder}"
    )
