"""Several processes on this machine: KerasTuner's chief and workers, started here, watched, and ended together."""

import os
import pathlib
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import cloudpickle
import keras_tuner

from keras_hyperens.search.processes import ADDRESS
from keras_hyperens.search.processes import PORT
from keras_hyperens.search.processes import STAGES
from keras_hyperens.search.processes import TUNER_ID

CHIEF = "chief"
TAIL = 4000  # characters of a log that an error shows


def check_workers(builder: Any, workers: Any) -> None:
    """Raises a `ValueError` unless so many workers can serve the builder."""
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"`workers` must be an integer of at least 1. Received: workers={workers!r}")
    if builder.candidates_at_once > 1:
        raise ValueError(
            "Workers train one candidate at a time each: choose `workers` or `candidates_at_once`. "
            f"Received: workers={workers}, candidates_at_once={builder.candidates_at_once}"
        )
    if isinstance(builder.tuner, keras_tuner.Tuner):
        raise ValueError(
            "A tuner object belongs to one process: give `tuner` by name, or an oracle. "
            f"Received: tuner={builder.tuner!r}, workers={workers}"
        )


def run_workers(builder: Any, workers: int, x: Any, y: Any, arguments: dict[str, Any]) -> None:
    """Runs `builder.search(x, y, **arguments)` in a chief and so many workers, and waits for them.

    Raises:
        ValueError: If the builder or the data cannot be sent to other processes.
        RuntimeError: If one of them fails; all are ended, and the same call again goes on from there.
    """
    with tempfile.TemporaryDirectory() as directory:
        job = pathlib.Path(directory) / "job.pickle"
        job.write_bytes(_pickled(builder, x, y, arguments))
        _run(job, workers)


def _pickled(builder: Any, x: Any, y: Any, arguments: dict[str, Any]) -> bytes:
    try:
        call = cloudpickle.dumps((builder, x, y, arguments))
    except Exception as error:
        raise ValueError(
            "`workers` sends the hypermodel, data and callbacks to other processes: pass arrays or a "
            f"`keras.utils.PyDataset`, not open files or `tf.data` datasets. Received: {error}"
        ) from error
    return pickle.dumps((sys.path, call))


def _run(job: pathlib.Path, workers: int) -> None:
    port = _free_ports(len(STAGES))
    names = [CHIEF, *(f"worker{number}" for number in range(workers))]
    started = {name: _start(name, port, job) for name in names}
    running = dict(started)
    try:
        while running:
            for name, process in list(running.items()):
                code = process.poll()
                if code:
                    raise RuntimeError(f"{name} ended with code {code}:\n{_log(job, name)[-TAIL:]}")
                if code == 0:
                    del running[name]
            time.sleep(0.1)
    finally:
        for process in started.values():
            process.kill()
            process.communicate()


def _start(name: str, port: int, job: pathlib.Path) -> subprocess.Popen:
    environment = {**os.environ, ADDRESS: "127.0.0.1", PORT: str(port), TUNER_ID: name}
    with job.with_name(f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main()", str(job)],
            env=environment,
            stdin=subprocess.PIPE,  # closed when we are gone: see `_end_with_parent`
            stdout=None if name == CHIEF else log,  # the chief shows the progress
            stderr=log,
        )


def _log(job: pathlib.Path, name: str) -> str:
    return job.with_name(f"{name}.log").read_text()


def _free_ports(number: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        if first + number < 2**16 and all(_is_free(first + offset) for offset in range(number)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however that ended."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing is ever written there: it returns at the end
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """A process that `run_workers` started."""
    _end_with_parent()
    paths, call = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
    sys.path[:] = paths
    builder, x, y, arguments = cloudpickle.loads(call)
    builder.search(x, y, **arguments)
