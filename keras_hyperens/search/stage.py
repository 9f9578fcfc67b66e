"""One stage of the procedure: a KerasTuner search in this process, or as chief or worker of many."""

from collections.abc import Callable
from typing import Any

import keras_tuner

from keras_hyperens.search.processes import is_worker
from keras_hyperens.search.processes import own_port
from keras_hyperens.search.recording import TrialRecorder
from keras_hyperens.search.supervision import be_patient
from keras_hyperens.search.supervision import supervise


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
