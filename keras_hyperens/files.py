"""Files on this machine or at an address that TensorFlow reads, such as `gs://bucket/runs`.

Writes are atomic: a file has a temporary name until it is complete. Every failure is an `OSError`.
"""

import contextlib
import fnmatch
import functools
import json
import os
import pathlib
import posixpath
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

Path = str | os.PathLike[str]
gfile = tf.io.gfile
OUTAGES = (  # errors of an address that is temporarily unavailable
    OSError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnauthenticatedError,
    tf.errors.UnavailableError,
)


NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class Damaged(ValueError):
    """Raised for an existing file that cannot be read."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{os.fspath(path)} is damaged: call `search` again to recreate it; if the error remains, "
            f"delete the file or use `overwrite=True`. Received: {type(error).__name__}: {error}"
        )


def checked_name(name: Any) -> str:
    """Checks an external name that becomes part of a path.

    Raises:
        ValueError: If it could refer to a path outside of the directory.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            "The name of a trial or candidate must consist of letters, digits, `_`, `-` and `.`, and not begin with "
            f"`.`. Received: name={name!r}"
        )
    return name


def is_remote(path: Path) -> bool:
    """Whether the path is an address, `scheme://...`, instead of a local path."""
    return "://" in os.fspath(path)


def as_directory(directory: Path) -> Any:
    """Returns a `pathlib.Path`; addresses stay strings, because `pathlib` removes a slash."""
    if not isinstance(directory, str | os.PathLike):
        raise TypeError(f"`directory` must be a path or an address. Received: directory={directory!r}")
    if re.match(r"[a-zA-Z][\w+.-]+:/[^/]", os.fspath(directory)):
        raise ValueError(
            "An address must be a string: `pathlib` removes a slash from `scheme://`. "
            f"Received: directory={os.fspath(directory)!r}"
        )
    return os.fspath(directory) if is_remote(directory) else pathlib.Path(directory)


def join(directory: Path, *names: str) -> str:
    """Returns the path of a file in a directory; a last name that is an absolute path or address is kept."""
    return names[-1] if is_remote(names[-1]) else os.path.join(os.fspath(directory), *names)


def relative(path: Path, directory: Path) -> str:
    """Returns the path for `join` to find a file from a directory: its name in it, or else a relative path."""
    if is_inside(path, directory) or not (is_remote(path) or is_remote(directory)):
        return os.path.relpath(path, directory)
    return os.fspath(path) if is_remote(path) else os.path.abspath(path)


def is_inside(path: Path, directory: Path) -> bool:
    """Whether a file is in a directory or its subdirectories."""
    return pathlib.PurePath(_normal(path)).is_relative_to(_normal(directory))


def _normal(path: Path) -> str:
    return posixpath.normpath(os.fspath(path)) if is_remote(path) else os.path.realpath(path)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Converts TensorFlow errors into `OSError`, so that callers can handle a full disk."""
    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(f"{type(error).__name__}: {error.message}") from error


@_as_os_errors()
def exists(path: Path) -> bool:
    """Whether the file or directory exists."""
    return gfile.exists(path)


@_as_os_errors()
def is_directory(path: Path) -> bool:
    """Whether the directory exists."""
    return gfile.isdir(path)


@_as_os_errors()
def names(directory: Path, pattern: str) -> list[str]:
    """Returns the sorted names in a directory that match a pattern like `*.json`; empty without the directory."""
    found = gfile.listdir(directory) if gfile.isdir(directory) else []
    return sorted(fnmatch.filter((name.rstrip("/") for name in found), pattern))


@_as_os_errors()
def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        Damaged: If it is not valid JSON.
    """
    try:
        with gfile.GFile(path, "r") as file:
            return json.loads(file.read())
    except ValueError as error:  # a UnicodeDecodeError too
        raise Damaged(path, error) from error


def read_array(path: Path) -> np.ndarray:
    """Returns a memory-mapped `.npy` file.

    A file at an address is first copied to this machine, once: a selection reads the predictions of all candidates
    several times, and together they may exceed the memory.

    Raises:
        Damaged: If it is not a valid file.
    """
    local = _local_copy(path) if is_remote(path) else path
    try:
        return np.load(local, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise Damaged(path, error) from error


@_as_os_errors()
def remove(path: Path) -> None:
    """Deletes a file if it exists."""
    with contextlib.suppress(tf.errors.NotFoundError):
        gfile.remove(path)


@_as_os_errors()
def remove_tree(directory: Path) -> None:
    """Deletes a directory with its content if it exists; for a link, only the link."""
    with contextlib.suppress(tf.errors.NotFoundError, FileNotFoundError):
        if is_remote(directory):
            gfile.rmtree(directory)
        elif os.path.islink(directory) or os.path.isfile(directory):
            os.remove(directory)
        else:
            shutil.rmtree(directory)  # TensorFlow's function follows links


@_as_os_errors()
def move(path: Path, to: Path) -> None:
    """Renames a file and replaces an existing one."""
    if is_remote(path) != is_remote(to):
        copy(path, to)
        return gfile.remove(path)
    gfile.makedirs(os.path.dirname(to))
    gfile.rename(path, to, overwrite=True)


@_as_os_errors()
def rename(path: Path, to: Path) -> None:
    """Renames a file or a directory to an unused name."""
    gfile.rename(path, to)


def copy(path: Path, to: Path) -> None:
    """Copies a file and replaces an existing one."""
    with _as_os_errors():
        write_whole(to, lambda temporary: gfile.copy(path, temporary))


@_as_os_errors()
def write_whole(path: Path, write: Callable[[str], Any]) -> None:
    """Calls `write` with a temporary name with the same suffix next to `path`, and renames the file to `path`."""
    directory, name = os.path.split(os.fspath(path))
    gfile.makedirs(directory or ".")
    first, *endings = name.split(".")
    temporary = os.path.join(directory, ".".join([f".{first}-{uuid.uuid4().hex[:8]}", *endings]))
    try:
        write(temporary)
        gfile.rename(temporary, os.fspath(path), overwrite=True)
    finally:
        remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8."""

    def write(temporary: str) -> None:
        with gfile.GFile(temporary, "w") as file:
            file.write(text)

    write_whole(path, write)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON-serializable content."""
    write_text(path, json.dumps(content, indent=1))


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a `.npy` file."""

    def write(temporary: str) -> None:
        with gfile.GFile(temporary, "wb") as file:
            np.save(file, array)

    write_whole(path, write)
    _copies.pop(os.fspath(path), None)


@functools.cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    """Returns a directory on this machine that is deleted when the process ends."""
    return tempfile.TemporaryDirectory(prefix="keras_hyperens-")


_copies: dict[str, tuple[Any, str]] = {}  # of files at addresses: state and local path


@_as_os_errors()
def _local_copy(path: Path) -> str:
    """Returns the local path of the file, which is copied again if it has changed."""
    path, stat = os.fspath(path), gfile.stat(path)
    state = stat.mtime_nsec, stat.length
    if _copies.get(path, (None, ""))[0] != state:
        _copies[path] = state, os.path.join(scratch().name, f"{len(_copies)}-{uuid.uuid4().hex}.npy")
        copy(path, _copies[path][1])
    return _copies[path][1]
