"""Directories and files that take the place of older ones: those are lost last, and only if they are of the same kind.

What is written has another name beside until it is whole. A process that is killed, or finds the disk full, leaves what
was there as it was.
"""

import ctypes
import os
import sys
import uuid
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from keras_hyperens import files

VARIABLES = "variables"  # the directory of a SavedModel that holds `variables.index` and shards, and nothing else
HERE, EXCHANGE = -100, 2  # Linux: AT_FDCWD, RENAME_EXCHANGE


class Kind(NamedTuple):
    """What a directory may be.

    Attributes:
        words: Its kind, in words.
        needed: A name that is in each of them.
        others: Names that may be in it too.
    """

    words: str
    needed: str
    others: tuple[str, ...]


SAVED_MODEL = Kind("a SavedModel", "saved_model.pb", ("fingerprint.pb", "keras_metadata.pb", "variables", "assets"))
UNZIPPED = Kind("a model of `zipped=False`", "config.json", ("metadata.json", "model.weights.h5", "assets"))


def resolved(path: files.Path) -> str:
    """The path itself: behind links, and whatever the working directory becomes."""
    path = os.fspath(path)
    return path.rstrip("/") if files.is_remote(path) else os.path.realpath(path)


def check_replaceable(path: files.Path, kind: Kind) -> None:
    """Raises a `ValueError` if something is there that a directory of this kind must not replace."""
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
            f"Only {kind.words} is replaced, because nothing else may be deleted: choose another path, or move away "
            f"what is there. Received: filepath={path!r}, which is {there}"
        )


def write_directory(path: files.Path, kind: Kind, write: Callable[[str], Any]) -> None:
    """Calls `write` with another name beside `path`, and then lets that directory take the place of the old one."""
    path = resolved(path)
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        write(temporary)
        check_replaceable(path, kind)  # once more: writing took a while
        if files.exists(path):
            _replace(temporary, path)
        else:
            files.rename(temporary, path)
    finally:
        files.remove_tree(temporary)


def write_files(path: files.Path, first_suffix: str, write: Callable[[str], Any], others: str) -> None:
    """Files of fixed names, of which one is read first: in a directory of their own until they are whole.

    They cannot take the place of older ones at one instant. These are put aside first, so that a process that is killed
    meanwhile leaves them in `{path}...old`, and never some of both.

    Args:
        path: Where `write` would write.
        first_suffix: Of the file that is read first; it comes last.
        write: Takes a path of the same name in another directory.
        others: Pattern of the other files' names.
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
    """Two directories change their names; what is left under the new one's is the old one."""
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
    """Whether the two could change their names at one instant: Linux can, in most of its file systems."""
    if not sys.platform.startswith("linux") or files.is_remote(first):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(HERE, os.fsencode(first), HERE, os.fsencode(second), EXCHANGE) == 0
