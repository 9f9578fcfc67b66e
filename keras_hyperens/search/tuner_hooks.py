"""What a KerasTuner oracle must do besides deciding: never give up, write whole files, end when all have ended."""

from collections.abc import Callable
from typing import Any

import keras_tuner

from keras_hyperens import files
from keras_hyperens.search.oracle import OF_HYPERBAND
from keras_hyperens.search.pool import DIVERGED
from keras_hyperens.search.pool import Pool

KERAS_TUNERS_LIMIT = 3  # of failed trials in a row, unless the user's oracle says otherwise
SAME_FAILURES = 3  # at the beginning: more would fail as well
IDLE, RUNNING, STOPPED = "IDLE", "RUNNING", "STOPPED"  # a trial's status


def supervise(oracle: keras_tuner.Oracle, ended: Callable[[Any], None]) -> None:
    """For the process that decides: one alone, or the chief. Calls `ended` with every trial that ended.

    A failed trial is recorded and left out, however many there are, unless the user's own oracle has a limit.
    """
    if oracle.max_consecutive_failed_trials == KERAS_TUNERS_LIMIT:
        oracle.max_consecutive_failed_trials = None
    _write_whole_files(oracle)
    _forget_half_begun(oracle)
    create_trial = type(oracle).create_trial.__get__(oracle)  # not those of an earlier supervision
    end_trial = type(oracle).end_trial.__get__(oracle)

    def create(tuner_id: str) -> Any:
        trial = create_trial(tuner_id)
        others = [each for each in oracle.ongoing_trials if each != tuner_id]
        if trial.status == STOPPED and others:  # when it stops, the pool must be complete
            trial.status = IDLE
            oracle.tuner_ids.add(tuner_id)
        return trial

    def end(trial: Any) -> None:
        end_trial(trial)
        ended(oracle.trials[trial.trial_id])

    oracle.create_trial, oracle.end_trial = create, end


def check_first_failures(pool: Pool, stage: str) -> None:
    """Ends a stage whose first candidates failed in the same way: they are forgotten, to be trained when called again.

    Raises:
        RuntimeError: If so. What diverged is no failure of this kind.
    """
    candidates = pool.candidates(stage)
    first = candidates[:SAME_FAILURES]
    reasons = {each.reason for each in first}
    if len(first) < SAME_FAILURES or len(candidates) > SAME_FAILURES or len(reasons) > 1:
        return
    reason = reasons.pop()
    if reason and not reason.startswith(DIVERGED):
        for each in first:
            pool.forget(each.name)
        raise RuntimeError(
            f"The first {SAME_FAILURES} candidates failed in the same way, so the search stops: mend the hypermodel or "
            f"the arguments of `fit`, and call again. Received: {first[0].failure}"
        )


def remember(oracle: keras_tuner.Oracle, decided: Callable[[str], dict[str, Any] | None]) -> None:
    """For a chief that is started again: a tuner that learns may decide otherwise, because it sees other results.

    Args:
        oracle: Supervised.
        decided: The values of a trial, if its candidate is finished.
    """
    populate = type(oracle).populate_space.__get__(oracle)

    def populate_space(trial_id: str) -> dict[str, Any]:
        response, before = populate(trial_id), decided(trial_id)
        of_its_own = bool(OF_HYPERBAND & {*(response.get("values") or {})})  # Hyperband's rounds
        return (
            response if response["status"] != RUNNING or before is None or of_its_own else response | {"values": before}
        )

    oracle.populate_space = populate_space


def _write_whole_files(oracle: keras_tuner.Oracle) -> None:
    """KerasTuner writes its files in place: one that is killed while writing cannot be read again."""
    oracle.save = lambda: files.write_json(oracle._get_oracle_fname(), oracle.get_state())
    oracle._save_trial = lambda trial: files.write_json(
        files.join(oracle._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state()
    )


def _forget_half_begun(oracle: keras_tuner.Oracle) -> None:
    """Trials whose file was written, but not yet the oracle's: they would never run, and never be given out again."""
    known = {*oracle.start_order, *oracle._retry_queue, *(trial.trial_id for trial in oracle.ongoing_trials.values())}
    for trial_id in [t for t, trial in oracle.trials.items() if trial.status == RUNNING and t not in known]:
        del oracle.trials[trial_id]
