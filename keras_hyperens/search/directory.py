"""Directory of a search: exclusive for one process at a time, and for the search that created it."""

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
OF_FIT = ("batch_size", "initial_epoch", "shuffle", "steps_per_epoch", "validation_steps")  # they affect results


class SearchDirectory:
    """Directory of a builder's search.

    Args:
        settings: Settings of the builder.
        pool: Pool of the candidates in it.

    Attributes:
        seed: Random seed; `None` until the directory is opened, if it was not set.
        is_to_be_cleared: Whether the existing content will be deleted.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.seed = settings.seed
        self.is_to_be_cleared = settings.overwrite
        self._facts: ModelFacts | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_facts": None}  # other processes compute them

    @contextlib.contextmanager
    def locked(self) -> Iterator[Any]:
        """Context manager: locks the directory for this process; workers share the lock of their chief."""
        self.pool.refresh()
        if self.is_to_be_cleared and not is_worker():
            self.pool.check_overwritable()
        with contextlib.nullcontext() if is_worker() else DirectoryLock(self.pool.directory) as lock:
            yield lock

    def settled_seed(self) -> int:
        """Returns the seed: the argument, or that of the search in the directory, or a new one."""
        if self.seed is None and is_distributed():
            raise ValueError("Several processes must agree on a seed: set `seed`. Received: seed=None")
        if self.seed is None:
            before = None if self.is_to_be_cleared else self.pool.identity()
            self.seed = int(before["seed"]) if before else random.randrange(2**31)
        return self.seed

    def open(self, identity: dict[str, Any], rows: ValidationRows, score_again: Callable[[], None]) -> None:
        """Initializes or verifies the directory for this search.

        Args:
            identity: Identity of the search.
            rows: The validation data.
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
                self.pool.write_identity(now)  # first, to identify the owner of the directory
            self.pool.write_labels(rows.labels, rows.weights)
            if before is not None and before.get(METRIC, now[METRIC]) != now[METRIC]:
                score_again()
            self.pool.write_identity({**(before or {}), **now})
            self.pool.forget_damaged()

    def facts(self) -> ModelFacts:
        """Properties of the hypermodel, which must be the one that started the search."""
        if self._facts is None:
            facts, _ = facts_and_model(self.settings.hypermodel, self.settings.hyperparameters)
            before = self.pool.identity()
            if before is not None:
                self.pool.check_identity(before, _identity_of_models(self.settings, facts))
            self._facts = facts
        return self._facts

    def look_at_models(self) -> keras.Model:
        """Computes the properties again, and returns the model."""
        self._facts, model = facts_and_model(self.settings.hypermodel, self.settings.hyperparameters)
        return model

    def identity(
        self, x: Any, y: Any, rows: ValidationRows, arguments: dict[str, Any], folds: str | None = None
    ) -> dict[str, Any]:
        """Returns the identity of the search.

        Args:
            x, y: The training data.
            rows: The validation data.
            arguments: Other arguments of `fit`.
            folds: Fingerprint of the folds, with cross-validation.
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
    """Returns the identity without data."""
    return {
        "space": facts.space,
        **facts.digests,
        "tuner": settings.tuner if isinstance(settings.tuner, str) else type(settings.tuner).__name__,
        "objective": _text_of(settings.objective),
        "output_activation": _text_of(settings.output_activation),
    }


def _text_of(setting: Any) -> Any:
    """Returns a JSON setting; functions and objects by name."""
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


# Locks of this process. They are not exclusive between threads, and releasing one releases all of a file.
_held: set[str] = set()
_holding = threading.Lock()


class DirectoryLock:
    """Lock of a directory, which the operating system releases when the process ends.

    Addresses and some file systems do not support locks: there the user must ensure exclusive access.

    Args:
        directory: Directory of a search.

    Raises:
        RuntimeError: If another process, or another search of this process, holds the lock.
    """

    _name = ""  # key among the locks of this process

    def __init__(self, directory: files.Path) -> None:
        self._file: Any = None
        if fcntl is None or files.is_remote(directory):
            return
        os.makedirs(directory, exist_ok=True)
        self._hold(os.path.realpath(directory))
        try:
            self._file = open(files.join(directory, LOCK), "a+")  # "w" would delete the content of the holder
        except OSError:
            self.release()
            raise
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = self._holder()
            self.release()
            raise _in_use(directory, holder) from None
        except OSError:  # locks are not supported
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
        return self._file.read().strip() or "an unidentified process"

    def _write_holder(self) -> None:
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()

    def release(self) -> None:
        """Releases the lock; repeated calls have no effect."""
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
        f"Another process searches in this directory: wait for it, stop it, or choose another `directory` or "
        f"`project_name`. Received: {directory}, used by {holder}"
    )
