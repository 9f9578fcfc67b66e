"""One stage of the procedure: a KerasTuner search in this process, or as chief or worker of many."""

import contextlib
import os
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras_tuner

from keras_hyperens.search.pool import INITIALIZATIONS
from keras_hyperens.search.pool import RETRAINING
from keras_hyperens.search.pool import SEARCH
from keras_hyperens.search.recording import TrialRecorder
from keras_hyperens.search.supervision import be_patient
from keras_hyperens.search.supervision import supervise

ADDRESS, PORT, TUNER_ID = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"
STAGES = (SEARCH, INITIALIZATIONS, RETRAINING)


def is_distributed() -> bool:
    """Whether KerasTuner's environment variables make this process the chief or a worker."""
    return ADDRESS in os.environ


def is_worker() -> bool:
    """Whether another process, the chief, decides."""
    return is_distributed() and "chief" not in os.environ.get(TUNER_ID, "")


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


def run_stage(
    make: Callable[[], keras_tuner.Tuner],
    recorder: TrialRecorder,
    ended: Callable[[str], None],
    arguments: dict[str, Any],
    search: Callable[[], None] | None = None,
) -> keras_tuner.Tuner:
    """Runs all trials of a stage; when it returns, every one of them is in the pool.

    Args:
        make: Makes the tuner.
        recorder: Makes candidates of its trials.
        ended: Called with the name of each candidate that ended.
        arguments: Of `keras_tuner.Tuner.search`.
        search: Instead of that: another loop over the trials of the tuner to which the recorder is attached.
    """
    with own_port(recorder.stage):
        tuner = make()
        recorder.attach(tuner)
        if is_worker():
            be_patient(tuner.oracle)
        else:
            supervise(tuner.oracle, lambda trial: ended(recorder.name_of(trial)))
        if search is None:
            tuner.search(**arguments)
        else:
            search()
    return tuner
