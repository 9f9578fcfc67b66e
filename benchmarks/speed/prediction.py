"""An exported ensemble against M exported single networks, called one after the other: time, memory, size of files.

What is timed is a call of `serving_default` of a loaded SavedModel and nothing else: the ensemble's gives the combined
probabilities, the single networks' raw outputs are not even averaged. Memory is the peak of the resident set of a
process that loads the file or files and predicts, beyond what it held before it loaded them.
"""

import contextlib
import io
import pathlib
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.memory import extra_bytes
from benchmarks.speed.aim import Aim
from benchmarks.speed.aim import seconds
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled

M = 4
LIMITS = {1: 1.3, 256: 1.0}  # times as fast, by rows of a batch
Files = list[pathlib.Path]


def measure(repetitions: int, networks: tuple[str, ...] = tuple(NETWORKS)) -> Iterator[Aim]:
    """A line for each network and size of batch."""
    for name in networks:
        with tempfile.TemporaryDirectory() as directory:
            files = exported(name, pathlib.Path(directory))
            served = {case: _served(each, name) for case, each in files.items()}
            sizes = " / ".join(f"{_mebibytes(files[case]):.1f}" for case in ("singles", "ours"))
            for rows, limit in LIMITS.items():
                held = " / ".join(f"{_peak(files[case], name, rows):.0f}" for case in ("singles", "ours"))
                calls = {case: lambda call=call, rows=rows: call(rows) for case, call in served.items()}
                medians = seconds(calls, repetitions, calls=20 if rows == 1 else 3)
                ours, singles = medians["ours"], medians["singles"]
                note = f"{1e3 * singles:.2f} / {1e3 * ours:.2f} ms; files {sizes} MiB; memory {held} MiB"
                yield Aim(f"{M} exports / ours", f"{name}, batch of {rows}", singles / ours, limit, False, note)


def exported(name: str, directory: pathlib.Path) -> dict[str, Files]:
    """The file of an ensemble, and those of M single networks."""
    files = {"ours": [directory / "ensemble"], "singles": [directory / f"single_{k}" for k in range(M)]}
    compiled(name, M).export(str(*files["ours"]))
    for file in files["singles"]:
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the signature, whatever `verbose` is
            compiled(name, 0).export(str(file), verbose=False)
    keras.backend.clear_session()
    return files


def _served(files: Files, name: str) -> Callable[[int], Any]:
    """A function of the number of rows, which calls each file in turn."""
    signatures = [tf.saved_model.load(str(file)).signatures["serving_default"] for file in files]
    batches = {rows: tf.constant(arrays(name, rows)[0]) for rows in LIMITS}
    calls = [(each, next(iter(each.structured_input_signature[1]))) for each in signatures]  # and the argument's name

    def call(rows: int) -> Any:
        outputs = [each(**{argument: batches[rows]}) for each, argument in calls]
        return [np.asarray(output) for each in outputs for output in each.values()]

    return call


def _mebibytes(directories: Files) -> float:
    files = (file for directory in directories for file in directory.rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files) / 2**20


def _peak(files: Files, name: str, rows: int) -> float:
    return extra_bytes(_load_and_predict, (files, name, rows), ([], name, rows)) / 2**20


def _load_and_predict(files: Files, name: str, rows: int) -> None:
    call = _served(files, name)
    for _ in range(3):
        call(rows)
