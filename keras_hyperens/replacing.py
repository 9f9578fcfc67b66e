"""Atomic replacement of files and directories by new ones of the same kind.

New content has a temporary name until it is complete. If a process is killed or the disk is full, the old content
remains.
"""

import ctypes
import os
import sys
import uuid
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from keras_hyperens import files

VARIABLES = "variables"  # directory of a SavedModel that only contains `variables.index` and shards
HERE, EXCHANGE = -100, 2  # Linux: AT_FDCWD, RENAME_EXCHANGE


class Kind(NamedTuple):
    """Kind of a directory.

    Attributes:
        words: Name of the kind in messages.
        needed: Name of a required file.
        others: Names of optional files.
    """

    words: str
    needed: str
    others: tuple[str, ...]


SAVED_MODEL = Kind("a SavedModel", "saved_model.pb", ("fingerprint.pb", "keras_metadata.pb", "variables", "assets"))
UNZIPPED = Kind("a model of `zipped=False`", "config.json", ("metadata.json", "model.weights.h5", "assets"))


def resolved(path: files.Path) -> str:
    """Returns the absolute path with links resolved."""
    path = os.fspath(path)
    return path.rstrip("/") if files.is_remote(path) else os.path.realpath(path)


def check_replaceable(path: files.Path, kind: Kind) -> None:
    """Raises a `ValueError` if the path exists and must not be replaced by a directory of this kind."""
    path = resolved(path)
    found = files.names(path, "*")
    if not files.exists(path) or (files.is_directory(path) and not found):
        return
    others = [name for name in found if name not in (kind.needed, *kind.others)]
    if not others and kind.needed in found:
        inside = files.names(os.path.join(path, VARIABLES), "*")
        others = [name for name in inside if not name.startswith(VARIABLES)]
    if others or kind.needed not in found:
        there = f"a directory with {(others or found)[:3]}" if found else "a file"
        raise ValueError(
            f"Only {kind.words} can be replaced, to avoid deleting other data: choose another path, or move "
            f"the existing one. Received: filepath={path!r}, which is {there}"
        )


def write_directory(path: files.Path, kind: Kind, write: Callable[[str], Any]) -> None:
    """Calls `write` with a temporary name next to `path`, and then replaces the old directory."""
    path = resolved(path)
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        write(temporary)
        check_replaceable(path, kind)  # again, because writing takes time
        if files.exists(path):
            _replace(temporary, path)
        else:
            files.rename(temporary, path)
    finally:
        files.remove_tree(temporary)


def write_files(path: files.Path, first_suffix: str, write: Callable[[str], Any], others: str) -> None:
    """Writes files with fixed names, of which one is read first, in a separate directory until they are complete.

    Several files cannot be replaced at once. The old ones are moved aside first, so that a process that is killed
    leaves them in `{path}...old`, and never a mixture of both.

    Args:
        path: Target path of `write`.
        first_suffix: Suffix of the file that is read first; it is moved last.
        write: Takes a path with the same name in another directory.
        others: Pattern of the names of the other files.
    """
    path = resolved(path)
    directory, name = os.path.split(path)
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    aside, first = f"{temporary}.old", os.path.splitext(name)[0] + first_suffix
    os.makedirs(temporary)
    try:
        write(os.path.join(temporary, name))
        old = [each for each in [first, *files.names(directory, others)] if files.exists(os.path.join(directory, each))]
        new = sorted(os.listdir(temporary), key=lambda each: each == first)
        try:
            _move_all(old, directory, aside)
            _move_all(new, temporary, directory)
        except BaseException:
            for each in set(new) - set(os.listdir(temporary)):
                files.remove(os.path.join(directory, each))
            _move_all(sorted(files.names(aside, "*"), key=lambda each: each == first), aside, directory)
            files.remove_tree(aside)
            raise
        files.remove_tree(aside)
    finally:
        files.remove_tree(temporary)


def _move_all(names: list[str], directory: str, to: str) -> None:
    for name in names:
        files.move(os.path.join(directory, name), os.path.join(to, name))


def _replace(new: str, old: str) -> None:
    """Exchanges two directories; the old one then has the name of the new one."""
    if _exchange(new, old):
        return
    aside = f"{new}.old"
    files.rename(old, aside)
    try:
        files.rename(new, old)
    except BaseException:
        files.rename(aside, old)
        raise
    files.remove_tree(aside)


def _exchange(first: str, second: str) -> bool:
    """Exchanges two names atomically and returns whether this is supported (on Linux by most file systems)."""
    if not sys.platform.startswith("linux") or files.is_remote(first):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(HERE, os.fsencode(first), HERE, os.fsencode(second), EXCHANGE) == 0
