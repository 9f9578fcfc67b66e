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
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.memory import extra_bytes
from benchmarks.speed.aim import Aim
from benchmarks.speed.networks import NETWORKS
from benchmarks.speed.networks import arrays
from benchmarks.speed.networks import compiled
from benchmarks.speed.timing import seconds

M = 4
LIMITS = {1: 1.3, 256: 1.0}  # times as fast, by rows of a batch


def measure(repetitions: int, networks: tuple[str, ...] = tuple(NETWORKS)) -> Iterator[Aim]:
    """A line for each network and size of batch."""
    for name in networks:
        with tempfile.TemporaryDirectory() as directory:
            ours, singles = exported(name, pathlib.Path(directory))
            sizes = [_mebibytes(files) for files in ([ours], singles)]
            functions = _served([ours], name), _served(singles, name)
            for rows, limit in LIMITS.items():
                held = [_peak(files, name, rows) for files in ([ours], singles)]
                yield _line(name, rows, limit, functions, repetitions, sizes, held)


def exported(name: str, directory: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """The file of an ensemble, and those of M single networks."""
    ours, singles = directory / "ensemble", [directory / f"single_{k}" for k in range(M)]
    compiled(name, M).export(str(ours))
    for file in singles:
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the signature, whatever `verbose` is
            compiled(name, 0).export(str(file), verbose=False)
    keras.backend.clear_session()
    return ours, singles


def _served(files: list[pathlib.Path], name: str) -> Callable[[int], Any]:
    """A function of the number of rows, which calls each file in turn."""
    signatures = [tf.saved_model.load(str(file)).signatures["serving_default"] for file in files]
    batches = {rows: tf.constant(arrays(name, rows)[0]) for rows in LIMITS}
    calls = [(each, next(iter(each.structured_input_signature[1]))) for each in signatures]  # and the argument's name

    def call(rows: int) -> Any:
        outputs = [each(**{argument: batches[rows]}) for each, argument in calls]
        return [np.asarray(output) for each in outputs for output in each.values()]

    return call


def _line(
    name: str,
    rows: int,
    limit: float,
    functions: tuple[Callable[[int], Any], Callable[[int], Any]],
    repetitions: int,
    sizes: list[float],
    held: list[float],
) -> Aim:
    ours, singles = (lambda function=function: function(rows) for function in functions)
    medians = seconds({"ours": ours, "singles": singles}, repetitions, calls=20 if rows == 1 else 3)
    note = (
        f"{1e3 * medians['singles']:.2f} / {1e3 * medians['ours']:.2f} ms; files {sizes[1]:.1f} / {sizes[0]:.1f} MiB; "
        f"memory {held[1]:.0f} / {held[0]:.0f} MiB"
    )
    what = f"{name}, batch of {rows}"
    return Aim(f"{M} exports / ours", what, medians["singles"] / medians["ours"], limit, at_most=False, note=note)


def _mebibytes(directories: list[pathlib.Path]) -> float:
    files = (file for directory in directories for file in directory.rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files) / 2**20


def _peak(files: list[pathlib.Path], name: str, rows: int) -> float:
    arguments = [partial(_arguments, each, name, rows) for each in (files, [])]
    return extra_bytes(_load_and_predict, *arguments) / 2**20


def _arguments(*arguments: Any) -> tuple:
    return arguments


def _load_and_predict(files: list[pathlib.Path], name: str, rows: int) -> None:
    call = _served(files, name)
    for _ in range(3):
        call(rows)
