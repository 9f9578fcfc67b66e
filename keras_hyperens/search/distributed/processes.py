"""Role of this process according to KerasTuner's environment variables, and local worker processes.

`run_workers` starts KerasTuner's chief and workers on this machine, monitors them, and stops them together.
"""

import contextlib
import os
import pathlib
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator

import cloudpickle

from keras_hyperens.search.candidate import STAGES

ADDRESS, PORT, TUNER_ID = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"
CHIEF = "chief"
TAIL = 4000  # characters of a log in an error


def is_distributed() -> bool:
    """Whether this process is the chief or a worker."""
    return ADDRESS in os.environ


def is_worker() -> bool:
    """Whether another process, the chief, decides."""
    return is_distributed() and "chief" not in worker_id()


def worker_id() -> str:
    """The name of this process."""
    return os.environ.get(TUNER_ID, "")


def address() -> str:
    """Returns the address of the chief of the stage."""
    return f"{os.environ[ADDRESS]}:{os.environ[PORT]}"


@contextlib.contextmanager
def own_port(stage: str) -> Iterator[None]:
    """Context manager: every stage has its own chief and port: the first one, or one or two above it."""
    if not is_distributed():
        yield
        return
    first = os.environ[PORT]
    os.environ[PORT] = str(int(first) + STAGES.index(stage))
    try:
        yield
    finally:
        os.environ[PORT] = first


def run_workers(call: Callable[[], None], workers: int) -> None:
    """Runs a call, a complete search, in a chief and workers, and waits for them.

    Raises:
        ValueError: If it cannot be sent to other processes.
        RuntimeError: If one of them fails; all are stopped, and the same call resumes.
    """
    with tempfile.TemporaryDirectory() as directory:
        job = pathlib.Path(directory) / "job.pickle"
        job.write_bytes(_pickled(call))
        _run(job, workers)


def _pickled(call: Callable[[], None]) -> bytes:
    try:
        pickled = cloudpickle.dumps(call)
    except Exception as error:
        raise ValueError(
            "`workers` sends the hypermodel, data and callbacks to other processes: pass arrays or a "
            f"`keras.utils.PyDataset`, not open files or `tf.data` datasets. Received: {error}"
        ) from error
    return pickle.dumps((sys.path, pickled))


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


def _start(name: str, port: int, job: pathlib.Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, ADDRESS: "127.0.0.1", PORT: str(port), TUNER_ID: name}
    with job.with_name(f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main()", str(job)],
            env=environment,
            stdin=subprocess.PIPE,  # closed with this process: see `_end_with_parent`
            stdout=None if name == CHIEF else log,  # the chief prints the progress
            stderr=log,
        )


def _log(job: pathlib.Path, name: str) -> str:
    return job.with_name(f"{name}.log").read_text()


def _free_ports(number: int) -> int:
    """Returns the first of consecutive free ports."""
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
    """Stops this process when its parent process ends."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # there is no input: it returns at the end
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Entry point of a process started by `run_workers`."""
    _end_with_parent()
    paths, call = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
    sys.path[:] = paths
    cloudpickle.loads(call)()
