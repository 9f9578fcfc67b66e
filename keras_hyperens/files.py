"""Files wherever TensorFlow reaches: on this machine, or at an address like `gs://bucket/runs`.

What is written is there whole or not at all: it gets another name first. Every failure is an `OSError`.
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
OUTAGES = (  # what says that a place cannot be reached just now
    OSError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnauthenticatedError,
    tf.errors.UnavailableError,
)


NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class Damaged(ValueError):
    """A file that is there and cannot be read."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{os.fspath(path)} is damaged: call `search` again, which makes again what it can; if it says the same, "
            f"delete the file or use `overwrite=True`. Received: {type(error).__name__}: {error}"
        )


def checked_name(name: Any) -> str:
    """A name from outside, which becomes a part of a path.

    Raises:
        ValueError: If it could lead out of the directory.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            "The name of a trial or candidate must consist of letters, digits, `_`, `-` and `.`, and not begin with "
            f"`.`. Received: name={name!r}"
        )
    return name


def is_remote(path: Path) -> bool:
    """Whether it is an address, `scheme://...`, and not a path of this machine."""
    return "://" in os.fspath(path)


def as_directory(directory: Path) -> Any:
    """A `pathlib.Path`; an address stays a string, because `pathlib` takes a slash from it."""
    if not isinstance(directory, str | os.PathLike):
        raise TypeError(f"`directory` must be a path or an address. Received: directory={directory!r}")
    if re.match(r"[a-zA-Z][\w+.-]+:/[^/]", os.fspath(directory)):
        raise ValueError(
            "An address must be a string: `pathlib` takes a slash from `scheme://`. "
            f"Received: directory={os.fspath(directory)!r}"
        )
    return os.fspath(directory) if is_remote(directory) else pathlib.Path(directory)


def join(directory: Path, *names: str) -> str:
    """The path of a file in a directory; a last name that is a whole path or address stays what it is."""
    return names[-1] if is_remote(names[-1]) else os.path.join(os.fspath(directory), *names)


def relative(path: Path, directory: Path) -> str:
    """How `join` finds a file from a directory: by its name in it, else by a path that leads there."""
    if is_inside(path, directory) or not (is_remote(path) or is_remote(directory)):
        return os.path.relpath(path, directory)
    return os.fspath(path) if is_remote(path) else os.path.abspath(path)


def is_inside(path: Path, directory: Path) -> bool:
    """Whether a file is in a directory or below it."""
    return pathlib.PurePath(_normal(path)).is_relative_to(_normal(directory))


def _normal(path: Path) -> str:
    return posixpath.normpath(os.fspath(path)) if is_remote(path) else os.path.realpath(path)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """TensorFlow's errors are none of Python's: what catches a full disk must not have to know them."""
    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(f"{type(error).__name__}: {error.message}") from error


@_as_os_errors()
def exists(path: Path) -> bool:
    """Whether there is a file or directory."""
    return gfile.exists(path)


@_as_os_errors()
def is_directory(path: Path) -> bool:
    """Whether there is a directory."""
    return gfile.isdir(path)


@_as_os_errors()
def names(directory: Path, pattern: str) -> list[str]:
    """Names in a directory that fit a pattern like `*.json`, sorted; none if there is no such directory."""
    found = gfile.listdir(directory) if gfile.isdir(directory) else []
    return sorted(fnmatch.filter((name.rstrip("/") for name in found), pattern))


@_as_os_errors()
def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        Damaged: If it is none.
    """
    try:
        with gfile.GFile(path, "r") as file:
            return json.loads(file.read())
    except ValueError as error:  # a UnicodeDecodeError too
        raise Damaged(path, error) from error


def read_array(path: Path) -> np.ndarray:
    """A `.npy` file, memory-mapped.

    One at an address is copied to this machine first, once: a selection reads the predictions of all candidates several
    times, and together they need not fit into memory.

    Raises:
        Damaged: If it is none.
    """
    local = _local_copy(path) if is_remote(path) else path
    try:
        return np.load(local, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise Damaged(path, error) from error


@_as_os_errors()
def remove(path: Path) -> None:
    """Deletes a file, if it is there."""
    with contextlib.suppress(tf.errors.NotFoundError):
        gfile.remove(path)


@_as_os_errors()
def remove_tree(directory: Path) -> None:
    """Deletes a directory with all that is in it, if it is there; of a link, the link alone."""
    with contextlib.suppress(tf.errors.NotFoundError, FileNotFoundError):
        if is_remote(directory):
            gfile.rmtree(directory)
        elif os.path.islink(directory) or os.path.isfile(directory):
            os.remove(directory)
        else:
            shutil.rmtree(directory)  # TensorFlow's follows links


@_as_os_errors()
def move(path: Path, to: Path) -> None:
    """Renames a file, over another one if there is one."""
    if is_remote(path) != is_remote(to):
        copy(path, to)
        return gfile.remove(path)
    gfile.makedirs(os.path.dirname(to))
    gfile.rename(path, to, overwrite=True)


@_as_os_errors()
def rename(path: Path, to: Path) -> None:
    """Renames a file or a directory, to a name that is free."""
    gfile.rename(path, to)


def copy(path: Path, to: Path) -> None:
    """Copies a file, over another one if there is one."""
    with _as_os_errors():
        write_whole(to, lambda temporary: gfile.copy(path, temporary))


@_as_os_errors()
def write_whole(path: Path, write: Callable[[str], Any]) -> None:
    """Calls `write` with a temporary name beside `path` that has its ending, and renames the file to `path`."""
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
    """Writes what `json` can say."""
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
    """A directory on this machine that is deleted when the process ends."""
    return tempfile.TemporaryDirectory(prefix="keras_hyperens-")


_copies: dict[str, tuple[Any, str]] = {}  # of files at addresses: in which state, and where


@_as_os_errors()
def _local_copy(path: Path) -> str:
    """The file on this machine, copied anew when it has changed."""
    path, stat = os.fspath(path), gfile.stat(path)
    state = stat.mtime_nsec, stat.length
    if _copies.get(path, (None, ""))[0] != state:
        _copies[path] = state, os.path.join(scratch().name, f"{len(_copies)}-{uuid.uuid4().hex}.npy")
        copy(path, _copies[path][1])
    return _copies[path][1]
