"""The chief: gives the trials of a stage to workers, and takes them back from a worker that is no longer heard of.

KerasTuner's chief waits for ever for a worker that was killed. Here every worker says about once a second that it
lives, and which candidate it trains; one that was silent for a lease loses its trial to the next worker that asks. What
a worker trains is known to it, not to the chief alone: so a chief that is started again leaves it its trial.
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
THREADS = 64  # for calls at a time: workers must be heard while others wait for a decision
NOBODY = "keras_hyperens/nobody"


class Chief:
    """An oracle, as workers see it.

    Args:
        oracle: Supervised.
        name_of: The name of a trial's candidate.
        ended: Called when all trials have ended, before a worker learns it, and asks the chief of the next stage.
        is_restart: Whether there may be workers that train what another chief gave them: nothing is given out before
            they were heard.
        lease: Seconds after which the trial of a worker that was silent is another's.
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
        # Looks and not seconds: a chief that itself stood still has not looked, and takes nothing from anybody; and no
        # clock of another machine matters.
        self.looks = round(lease / LOOK_SECONDS)
        self.looks_until_first = self.looks if is_restart else 0
        self.silence: dict[str, int] = {}  # of each worker, in looks
        self.trains: dict[str, str] = {}  # each worker's candidate
        self.told: set[str] = set()  # workers that know that it is over
        self.is_over = threading.Event()
        self.get_space, self.get_best_trials = oracle.get_space, oracle.get_best_trials

    def create_trial(self, tuner_id: str) -> Any:
        """A trial for a worker; or only notes that one lives."""
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
        """One thread at a time, and none after an error: KerasTuner then never opens its own lock again.

        A request that is wrong is refused before the oracle sees it, and nobody else notices.
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
        """Whether every worker that lives knows that it is over."""
        return set(self.silence) <= self.told

    def _trainer(self, trial: Any, tuner_id: str) -> str | None:
        """Another worker that already trains this trial, because a chief before this one gave it out."""
        if trial.status != RUNNING:
            return None
        others = [each for each in self.silence if each != tuner_id and each not in ongoing_trials(self.oracle)]
        return next((each for each in others if self.trains.get(each) == self.name_of(trial)), None)

    def get_trial(self, trial_id: str) -> Any:
        """The trial; one that an earlier chief gave out may be unknown."""
        with self._alone():
            return self.oracle.trials.get(trial_id) or new_trial(RUNNING, trial_id)

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        """Notes what was reported; if the trial is unknown, its candidate is in the pool, and will be found there."""
        with self._alone():
            if trial_id in self.oracle.trials:
                requests.check_metrics(self.oracle, metrics)
                self.oracle.update_trial(trial_id, metrics, step=step)
            return self.get_trial(trial_id)

    def end_trial(self, trial: Any) -> None:
        """Ends the trial once: a worker asks again when it got no answer."""
        with self._alone():
            if trial.trial_id in [each.trial_id for each in ongoing_trials(self.oracle).values()]:
                requests.check_end(self.oracle, trial)
                self.oracle.end_trial(trial)

    def update_space(self, hyperparameters: Any) -> None:
        """Takes hyperparameters that a worker has come upon."""
        with self._alone():
            requests.check_space(self.oracle, hyperparameters)
            self.oracle.update_space(hyperparameters)

    def look(self) -> None:
        """Takes their trials from workers that were silent for a lease."""
        with self._alone():
            self.looks_until_first = max(0, self.looks_until_first - 1)
            lost = [worker for worker, looks in list(self.silence.items()) if looks >= self.looks]
            for worker in list(self.silence):
                self.silence[worker] += 1
            for worker in lost:
                self._take_back(worker)
            if lost and not self.silence:  # nobody is left who would learn that nothing is left
                self.create_trial(NOBODY)
                self._take_back(NOBODY)

    def _take_back(self, worker: str) -> None:
        self.silence.pop(worker, None)
        self.trains.pop(worker, None)
        tuner_hooks.take_back(self.oracle, worker)


def serve(chief: Chief) -> None:
    """Answers workers until all trials have ended and those that live know it.

    Raises:
        RuntimeError: If another process listens at the address, or the oracle fails.
    """
    options = [("grpc.so_reuseport", 0)]  # else two chiefs would share the port, each with half of the calls
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
            f"The chief must listen at its address, one port for each stage: end the other chief, or choose another "
            f"{PORT}. Received: {address()}"
        )
