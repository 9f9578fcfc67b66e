"""All that this package asks of KerasTuner beyond what it promises: a function for each hook, and no other place.

`tests/search/test_tuner_hooks.py` says what each of them relies on, and names the one that another version breaks.
"""

import gc
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from tensorflow.python.framework import ops

from keras_hyperens import files

IDLE, RUNNING, STOPPED = "IDLE", "RUNNING", "STOPPED"  # a trial's status
ENDS = ("COMPLETED", "INVALID", "FAILED")
OF_HYPERBAND = frozenset(f"tuner/{name}" for name in ("epochs", "initial_epoch", "bracket", "round", "trial_id"))
DEFAULT_LIMIT = 3  # of failed trials in a row, unless the user's oracle says otherwise
CUSTOM_GRADIENT = "CustomGradient-"  # how TensorFlow's names of them begin


def replace_training(tuner: keras_tuner.Tuner, run_trial: Callable[..., Any], checkpoint_of: Callable[..., str]) -> Any:
    """Lets a tuner train by another function, and keep weights elsewhere while a trial runs.

    Returns:
        Its own two functions, not those of an earlier replacement.
    """
    own = type(tuner).run_trial.__get__(tuner), type(tuner)._get_checkpoint_fname.__get__(tuner)
    tuner.run_trial, tuner._get_checkpoint_fname = run_trial, checkpoint_of
    return own


def build_config_file(tuner: keras_tuner.Tuner, trial_id: str) -> str:
    """Where a tuner keeps what a model needs to create its weights."""
    return tuner._get_build_config_fname(trial_id)


def run_whole_trial(tuner: keras_tuner.Tuner, trial: Any, arguments: dict[str, Any]) -> None:
    """Runs a trial that was created, and ends it, as one turn of the tuner's own loop."""
    tuner.on_trial_begin(trial)
    tuner._try_run_and_update_trial(trial, **arguments)
    tuner.on_trial_end(trial)


def new_trial(status: str, trial_id: str = "none") -> Any:
    """A trial without hyperparameters."""
    return keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters(), trial_id, status)


def supervise(oracle: keras_tuner.Oracle, ended: Callable[[Any], None]) -> None:
    """For the process that decides: one alone, or the chief. Calls `ended` with every trial that ended.

    A failed trial is recorded and left out, however many there are, unless the user's own oracle has a limit.
    """
    if oracle.max_consecutive_failed_trials == DEFAULT_LIMIT:
        oracle.max_consecutive_failed_trials = None
    write_whole_files(oracle)
    forget_half_begun(oracle)
    create_trial, end_trial = own_trials(oracle)

    def create(tuner_id: str) -> Any:
        trial = create_trial(tuner_id)
        others = [each for each in ongoing_trials(oracle) if each != tuner_id]
        if trial.status == STOPPED and others:  # when it stops, the pool must be complete
            trial.status = IDLE
            oracle.tuner_ids.add(tuner_id)
        return trial

    def end(trial: Any) -> None:
        end_trial(trial)
        ended(oracle.trials[trial.trial_id])

    oracle.create_trial, oracle.end_trial = create, end


def own_trials(oracle: Any) -> tuple[Callable[[str], Any], Callable[[Any], None]]:
    """`create_trial` and `end_trial` of an oracle or a client, not those that an earlier call put in their place."""
    return type(oracle).create_trial.__get__(oracle), type(oracle).end_trial.__get__(oracle)


def write_whole_files(oracle: keras_tuner.Oracle) -> None:
    """KerasTuner writes its files in place: one that is killed while writing cannot be read again."""
    oracle.save = lambda: files.write_json(oracle._get_oracle_fname(), oracle.get_state())
    oracle._save_trial = lambda trial: files.write_json(
        files.join(oracle._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state()
    )


def forget_half_begun(oracle: keras_tuner.Oracle) -> None:
    """Trials whose file was written, but not yet the oracle's: they would never run, and never be given out again."""
    ongoing = (trial.trial_id for trial in ongoing_trials(oracle).values())
    known = {*oracle.start_order, *oracle._retry_queue, *ongoing}
    for trial_id in [t for t, trial in oracle.trials.items() if trial.status == RUNNING and t not in known]:
        del oracle.trials[trial_id]


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
        keeps = response["status"] != RUNNING or before is None or of_its_own
        return response if keeps else response | {"values": before}

    oracle.populate_space = populate_space


def ongoing_trials(oracle: keras_tuner.Oracle) -> dict[str, Any]:
    """The trial of each worker, by its name; to be changed by who must."""
    return oracle.ongoing_trials


def take_back(oracle: keras_tuner.Oracle, worker: str) -> None:
    """Takes the trial of a worker, if it has one: the next who asks gets it."""
    trial = ongoing_trials(oracle).pop(worker, None)
    if trial is not None:
        trial.metrics = type(trial.metrics)()  # it may have reported, and been lost before it could say so
        oracle._retry_queue.append(trial.trial_id)
        oracle.save()


def check_objective(oracle: keras_tuner.Oracle, metrics: Any) -> None:
    """Raises a `ValueError` for a report without the objective."""
    oracle._check_objective_found(metrics)


def has_hyperparameter(oracle: keras_tuner.Oracle, hyperparameter: Any) -> bool:
    """Whether an oracle knows a hyperparameter already."""
    return oracle.hyperparameters._exists(hyperparameter.name, hyperparameter.conditions)


def add_service(oracle: Any, server: Any) -> None:
    """Lets a server answer workers with what an oracle, or what looks like one, decides."""
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)


def trial_request(worker: str) -> Any:
    """The message by which a worker asks for a trial."""
    return protos.get_service().CreateTrialRequest(tuner_id=worker)


def replace_calls(client: Any, calls_on: Callable[[Any], Any]) -> Any:
    """Lets a worker's client call its chief by what `calls_on` makes of its stub, and gives that back."""
    client.stub = calls_on(client.stub)
    return client.stub


def forget_decisions(project: str) -> None:
    """Deletes a tuner's files of what was decided, and none of weights."""
    for name in files.names(project, "*.json"):
        files.remove(files.join(project, name))
    for name in files.names(project, "trial_*"):
        files.remove(files.join(project, name, "trial.json"))


def forget_worker(project: str, worker: str) -> None:
    """Deletes a worker's file: it may have been killed while it wrote that."""
    files.remove(files.join(project, f"{files.checked_name(worker)}.json"))


def drop_checkpoints(project: str) -> None:
    """Deletes the weights that a tuner keeps."""
    for name in files.names(project, "trial_*"):
        files.remove(files.join(project, name, "checkpoint.weights.h5"))


@contextmanager
def frozen_garbage_collector() -> Iterator[None]:
    """Garbage collections inside look at new objects alone; what was there before is looked at again afterwards.

    KerasTuner collects garbage twice before every trial, and each time Python goes through every object of the
    libraries that are loaded: half a million, a quarter of a second.

    Where something is frozen already, by a scope around this one or by the user, it stays so: Python cannot tell what
    was frozen by whom.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def forgotten_gradients() -> Iterator[None]:
    """Takes from TensorFlow what it registers inside. No model that was trained inside must be trained outside.

    Each traced training step registers the gradients of operations like `tf.custom_gradient` under names of their own
    in a table of the process, and with them its whole graph: about 8 MiB a trial for a small network.
    """
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name not in before and name.startswith(CUSTOM_GRADIENT)]:
            del registry[name]
