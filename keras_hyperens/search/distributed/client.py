"""Client of a worker: reports that it is alive, waits for an unavailable chief, and reads the end from the pool."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import grpc

from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.distributed.processes import address
from keras_hyperens.search.distributed.processes import worker_id
from keras_hyperens.search.distributed.requests import alive_message
from keras_hyperens.search.tuner_hooks import IDLE
from keras_hyperens.search.tuner_hooks import RUNNING

POLL_SECONDS = 0.2
BEAT_SECONDS = 1.0
ANSWER_SECONDS = 20.0  # timeout of a call, which is then repeated: calls are idempotent
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
RECONNECT = [(f"grpc.{name}_reconnect_backoff_ms", ms) for name, ms in (("initial", 200), ("min", 200), ("max", 1000))]


class StageOver(Exception):
    """Raised if the chief has ended the stage and is no longer available."""


class Calls:
    """Calls of KerasTuner's client, each repeated until the chief answers.

    Args:
        stub: KerasTuner's stub.
        is_over: Whether the stage has ended, according to the pool.
        patience: Seconds without an answer after which a call fails.
    """

    def __init__(self, stub: Any, is_over: Callable[[], bool], patience: float) -> None:
        known = stub.stub if isinstance(stub, Calls) else stub
        self.stub: Any = type(known)(grpc.insecure_channel(address(), RECONNECT))  # its own channel reconnects slowly
        self.is_over = is_over
        self.patience = patience

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, getattr(self.stub, name))

    def _call(self, method: Any, request: Any, **waiting: Any) -> Any:
        start = time.monotonic()
        while True:
            try:
                return method(request, timeout=ANSWER_SECONDS)
            except grpc.RpcError as error:
                if error.code() not in AWAY:
                    raise
            if self.is_over():
                raise StageOver
            if time.monotonic() - start > self.patience:
                raise ConnectionError(
                    f"The chief at {address()} did not answer for {self.patience:g} seconds: start or restart it, and "
                    f"then this worker; finished candidates are kept. (The timeout is the `patience` of `search`.)"
                )
            time.sleep(POLL_SECONDS)


class Client:
    """Replacement of a tuner's oracle in a worker.

    Args:
        oracle: KerasTuner's client.
        name_of: Returns the name of a trial's candidate.
        is_over: Whether the stage has ended, according to the pool.
        patience: Seconds to wait for an unavailable chief.
    """

    def __init__(
        self, oracle: Any, name_of: Callable[[Any], str], is_over: Callable[[], bool], patience: float
    ) -> None:
        self.name_of = name_of
        self.candidate = ""
        self.calls = tuner_hooks.replace_calls(oracle, lambda stub: Calls(stub, is_over, patience))
        self.ask, self.report = tuner_hooks.own_trials(oracle)
        oracle.create_trial, oracle.end_trial = self.create_trial, self.end_trial

    def create_trial(self, tuner_id: str) -> Any:
        """Requests a trial; KerasTuner polls an idle chief without a pause."""
        trial = self.ask(tuner_id)
        if trial.status == RUNNING:
            self.candidate = self.name_of(trial)
        elif trial.status == IDLE:
            time.sleep(POLL_SECONDS)
        return trial

    def end_trial(self, trial: Any) -> None:
        """Reports the end of the trial."""
        self.report(trial)
        self.candidate = ""

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Context manager: reports about once a second that this worker is alive."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            request = tuner_hooks.trial_request(alive_message(worker_id(), self.candidate))
            with contextlib.suppress(grpc.RpcError):  # the next call waits for an unavailable chief
                self.calls.stub.CreateTrial(request, timeout=BEAT_SECONDS)
