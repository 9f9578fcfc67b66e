"""The chief: assigns the trials of a stage to workers, and takes them back from unresponsive workers.

KerasTuner's chief waits forever for a killed worker. Here every worker reports about once a second that it is alive,
and which candidate it trains; a worker that is silent for a lease loses its trial to the next one. Because workers
report their candidate, a restarted chief leaves them their trials.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import keras_tuner

from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.distributed import requests
from keras_hyperens.search.distributed.processes import PORT
from keras_hyperens.search.distributed.processes import address
from keras_hyperens.search.tuner_hooks import IDLE
from keras_hyperens.search.tuner_hooks import RUNNING
from keras_hyperens.search.tuner_hooks import STOPPED
from keras_hyperens.search.tuner_hooks import new_trial
from keras_hyperens.search.tuner_hooks import ongoing_trials

LOOK_SECONDS = 0.5
THREADS = 64  # concurrent calls: workers must be heard while others wait for a decision
NOBODY = "keras_hyperens/nobody"


class Chief:
    """An oracle with the interface for workers.

    Args:
        oracle: A supervised oracle.
        name_of: Returns the name of a trial's candidate.
        ended: Called when all trials have ended, before workers are informed and contact the chief of the next stage.
        is_restart: Whether workers may have trials of an earlier chief: no trial is assigned before they report.
        lease: Seconds after which the trial of a silent worker is assigned to another one.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        name_of: Callable[[Any], str],
        ended: Callable[[], None],
        is_restart: bool,
        lease: float,
    ) -> None:
        self.oracle, self.name_of, self.ended = oracle, name_of, ended
        self.lock = threading.RLock()
        self.failure: Exception | None = None
        # Counts checks instead of seconds: a suspended chief does not check, and so takes no trials back, and clocks of
        # other machines have no effect.
        self.looks = round(lease / LOOK_SECONDS)
        self.looks_until_first = self.looks if is_restart else 0
        self.silence: dict[str, int] = {}  # of each worker, in checks
        self.trains: dict[str, str] = {}  # the candidate of each worker
        self.told: set[str] = set()  # workers that know that the stage is over
        self.is_over = threading.Event()
        self.get_space, self.get_best_trials = oracle.get_space, oracle.get_best_trials

    def create_trial(self, tuner_id: str) -> Any:
        """Returns a trial for a worker, or only records that it is alive."""
        if tuner_id.startswith(requests.ALIVE):
            worker, candidate = requests.worker_and_candidate(tuner_id)
            self.silence[worker], self.trains[worker] = 0, candidate
            return new_trial(IDLE)
        with self._alone():
            self.silence[tuner_id] = 0
            if self.looks_until_first:
                return new_trial(IDLE)
            trial = self.oracle.create_trial(tuner_id)
            while (trainer := self._trainer(trial, tuner_id)) is not None:
                ongoing_trials(self.oracle)[trainer] = ongoing_trials(self.oracle).pop(tuner_id)
                trial = self.oracle.create_trial(tuner_id)
            if trial.status == STOPPED:
                self.told.add(tuner_id)
                self._end()
            return trial

    def _end(self) -> None:
        if not self.is_over.is_set():
            self.ended()
            self.is_over.set()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Context manager: one thread at a time, and none after an error, after which KerasTuner keeps its lock.

        Invalid requests are rejected before the oracle, without effect on others.
        """
        with self.lock:
            if self.failure is not None:
                raise RuntimeError(f"The chief cannot decide: {self.failure}") from self.failure
            try:
                yield
            except requests.Refused:
                raise
            except Exception as error:
                self.failure = error
                raise

    def all_were_told(self) -> bool:
        """Whether every live worker knows that the stage is over."""
        return set(self.silence) <= self.told

    def _trainer(self, trial: Any, tuner_id: str) -> str | None:
        """Returns another worker that already trains this trial, assigned by an earlier chief."""
        if trial.status != RUNNING:
            return None
        others = [each for each in self.silence if each != tuner_id and each not in ongoing_trials(self.oracle)]
        return next((each for each in others if self.trains.get(each) == self.name_of(trial)), None)

    def get_trial(self, trial_id: str) -> Any:
        """Returns the trial, which is unknown if an earlier chief assigned it."""
        with self._alone():
            return self.oracle.trials.get(trial_id) or new_trial(RUNNING, trial_id)

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        """Records a report; the candidate of an unknown trial is in the pool and is found there."""
        with self._alone():
            if trial_id in self.oracle.trials:
                requests.check_metrics(self.oracle, metrics)
                self.oracle.update_trial(trial_id, metrics, step=step)
            return self.get_trial(trial_id)

    def end_trial(self, trial: Any) -> None:
        """Ends the trial once: a worker repeats the call without an answer."""
        with self._alone():
            if trial.trial_id in [each.trial_id for each in ongoing_trials(self.oracle).values()]:
                requests.check_end(self.oracle, trial)
                self.oracle.end_trial(trial)

    def update_space(self, hyperparameters: Any) -> None:
        """Adds hyperparameters that a worker has found."""
        with self._alone():
            requests.check_space(self.oracle, hyperparameters)
            self.oracle.update_space(hyperparameters)

    def look(self) -> None:
        """Takes back the trials of workers that were silent for a lease."""
        with self._alone():
            self.looks_until_first = max(0, self.looks_until_first - 1)
            lost = [worker for worker, looks in list(self.silence.items()) if looks >= self.looks]
            for worker in list(self.silence):
                self.silence[worker] += 1
            for worker in lost:
                self._take_back(worker)
            if lost and not self.silence:  # no worker is left to be informed
                self.create_trial(NOBODY)
                self._take_back(NOBODY)

    def _take_back(self, worker: str) -> None:
        self.silence.pop(worker, None)
        self.trains.pop(worker, None)
        tuner_hooks.take_back(self.oracle, worker)


def serve(chief: Chief) -> None:
    """Answers workers until all trials have ended and live workers know it.

    Raises:
        RuntimeError: If another process listens at the address, or the oracle fails.
    """
    options = [("grpc.so_reuseport", 0)]  # otherwise two chiefs would share the port and the calls
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=options)
    tuner_hooks.add_service(chief, server)
    _listen(server)
    server.start()
    try:
        while not chief.is_over.wait(LOOK_SECONDS):
            chief.look()
        for _ in range(chief.looks):
            if chief.all_were_told():
                break
            time.sleep(LOOK_SECONDS)
    finally:
        server.stop(grace=LOOK_SECONDS).wait()


def _listen(server: Any) -> None:
    try:
        port = server.add_insecure_port(address())
    except RuntimeError:
        port = 0
    if not port:
        raise RuntimeError(
            f"The chief must listen at its address, one port per stage: stop the other chief, or choose another "
            f"{PORT}. Received: {address()}"
        )
