"""KerasTuner search of one stage: in this process, or as the chief or a worker."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras_tuner

from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.candidate import name_of_trial
from keras_hyperens.search.distributed.chief import Chief
from keras_hyperens.search.distributed.chief import serve
from keras_hyperens.search.distributed.client import Client
from keras_hyperens.search.distributed.client import StageOver
from keras_hyperens.search.distributed.processes import is_distributed
from keras_hyperens.search.distributed.processes import is_worker
from keras_hyperens.search.distributed.processes import own_port
from keras_hyperens.search.trial_recorder import TrialRecorder


@dataclass
class TunerSearch:
    """Search of a stage, until all of its trials are in the pool.

    Args:
        recorder: Recorder of the candidates.
        plan: JSON description of the stage: the same plan in the same directory leads to the same candidates.
        ended: Called with the name of each finished candidate.
        is_new: Whether the existing record of this stage will be deleted, so that workers must ignore it.
        lease, patience: Timeouts in seconds; see `HyperDeepEnsembleBuilder.search`.
    """

    recorder: TrialRecorder
    plan: Any
    ended: Callable[[str], None]
    is_new: bool
    lease: float
    patience: float

    def run(
        self,
        make: Callable[[], keras_tuner.Tuner],
        arguments: dict[str, Any],
        search: Callable[[], None] | None = None,
    ) -> keras_tuner.Tuner:
        """Runs all trials.

        Args:
            make: Creates the tuner.
            arguments: Arguments of `keras_tuner.Tuner.search`.
            search: Optional replacement of it: a loop over the trials of the tuner with the recorder.
        """
        with own_port(self.recorder.stage), tuner_hooks.frozen_garbage_collector():
            tuner = make()
            self.recorder.attach(tuner)
            if is_worker():
                self._work(tuner, arguments)
                return tuner
            tuner_hooks.supervise(tuner.oracle, lambda trial: self.ended(self.recorder.name_of(trial)))
            if is_distributed():
                self._serve(tuner, arguments)
            elif search is None:
                tuner.search(**arguments)
            else:
                search()
        return tuner

    def _work(self, tuner: keras_tuner.Tuner, arguments: dict[str, Any]) -> None:
        client = Client(tuner.oracle, self.recorder.name_of, self._is_over, self.patience)
        with contextlib.suppress(StageOver), client.heard():
            tuner.search(**arguments)

    def _serve(self, tuner: keras_tuner.Tuner, arguments: dict[str, Any]) -> None:
        """Runs the tuner's `search` as a chief, which waits for killed workers."""
        if self._is_over():
            return
        pool, name = self.recorder.pool, self.recorder.stage
        is_restart = pool.stage(name) == {"plan": self.plan, "is_over": False}
        if is_restart and name == SEARCH:
            tuner_hooks.remember(tuner.oracle, self._decided)
        pool.write_stage(name, self.plan, is_over=False)
        tuner.oracle.verbose = arguments["verbose"]
        tuner.save()
        serve(Chief(tuner.oracle, self.recorder.name_of, self._end, is_restart, self.lease))

    def _end(self) -> None:
        self.recorder.pool.write_stage(self.recorder.stage, self.plan, is_over=True)

    def _decided(self, trial_id: str) -> dict[str, Any] | None:
        candidate = self.recorder.pool.find(name_of_trial(trial_id))
        return None if candidate is None else candidate.values

    def _is_over(self) -> bool:
        return not self.is_new and self.recorder.pool.stage(self.recorder.stage) == {"plan": self.plan, "is_over": True}
