"""Files that are there whole or not at all: written under another name, then renamed."""

import json
import os
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np


def write_whole(path: pathlib.Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Calls `write` with a temporary name beside `path` that has its ending, and renames the file to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *endings = path.name.split(".")
    temporary = path.with_name(".".join([f".{first}-{uuid.uuid4().hex[:8]}", *endings]))
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes what `json` can say."""
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1)))


def write_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a `.npy` file."""
    write_whole(path, lambda temporary: np.save(temporary, array))
