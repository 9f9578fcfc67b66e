"""Which part this process plays among several, as KerasTuner's environment variables say."""

import contextlib
import os
from collections.abc import Iterator

from keras_hyperens.search.pool import INITIALIZATIONS
from keras_hyperens.search.pool import RETRAINING
from keras_hyperens.search.pool import SEARCH

ADDRESS, PORT, TUNER_ID = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"
STAGES = (SEARCH, INITIALIZATIONS, RETRAINING)


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
    """Where the chief of the stage listens."""
    return f"{os.environ[ADDRESS]}:{os.environ[PORT]}"


@contextlib.contextmanager
def own_port(stage: str) -> Iterator[None]:
    """Every stage has a chief of its own, on a port of its own: the first, or one or two above it."""
    if not is_distributed():
        yield
        return
    first = os.environ[PORT]
    os.environ[PORT] = str(int(first) + STAGES.index(stage))
    try:
        yield
    finally:
        os.environ[PORT] = first
