"""All uses of KerasTuner beyond its public interface, one function per hook.

`tests/search/test_tuner_hooks.py` tests the requirements of each hook, and identifies those that a new version breaks.
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

IDLE, RUNNING, STOPPED = "IDLE", "RUNNING", "STOPPED"  # status of a trial
ENDS = ("COMPLETED", "INVALID", "FAILED")
OF_HYPERBAND = frozenset(f"tuner/{name}" for name in ("epochs", "initial_epoch", "bracket", "round", "trial_id"))
DEFAULT_LIMIT = 3  # consecutive failed trials, unless an oracle defines another limit
CUSTOM_GRADIENT = "CustomGradient-"  # prefix of TensorFlow's names


def replace_training(tuner: keras_tuner.Tuner, run_trial: Callable[..., Any], checkpoint_of: Callable[..., str]) -> Any:
    """Replaces the training function of a tuner, and the path of weights while a trial runs.

    Returns:
        The two original functions, not those of an earlier replacement.
    """
    own = type(tuner).run_trial.__get__(tuner), type(tuner)._get_checkpoint_fname.__get__(tuner)
    tuner.run_trial, tuner._get_checkpoint_fname = run_trial, checkpoint_of
    return own


def build_config_file(tuner: keras_tuner.Tuner, trial_id: str) -> str:
    """Returns the path of a tuner's build configuration of a model."""
    return tuner._get_build_config_fname(trial_id)


def run_whole_trial(tuner: keras_tuner.Tuner, trial: Any, arguments: dict[str, Any]) -> None:
    """Runs and ends a created trial, as one iteration of the tuner's loop."""
    tuner.on_trial_begin(trial)
    tuner._try_run_and_update_trial(trial, **arguments)
    tuner.on_trial_end(trial)


def new_trial(status: str, trial_id: str = "none") -> Any:
    """Returns a trial without hyperparameters."""
    return keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters(), trial_id, status)


def supervise(oracle: keras_tuner.Oracle, ended: Callable[[Any], None]) -> None:
    """Calls `ended` with every finished trial, in the deciding process: a single process, or the chief.

    Failed trials are recorded and excluded without limit, unless the user's oracle defines one.
    """
    if oracle.max_consecutive_failed_trials == DEFAULT_LIMIT:
        oracle.max_consecutive_failed_trials = None
    write_whole_files(oracle)
    forget_half_begun(oracle)
    create_trial, end_trial = own_trials(oracle)

    def create(tuner_id: str) -> Any:
        trial = create_trial(tuner_id)
        others = [each for each in ongoing_trials(oracle) if each != tuner_id]
        if trial.status == STOPPED and others:  # the pool must be complete when it stops
            trial.status = IDLE
            oracle.tuner_ids.add(tuner_id)
        return trial

    def end(trial: Any) -> None:
        end_trial(trial)
        ended(oracle.trials[trial.trial_id])

    oracle.create_trial, oracle.end_trial = create, end


def own_trials(oracle: Any) -> tuple[Callable[[str], Any], Callable[[Any], None]]:
    """Returns the original `create_trial` and `end_trial` of an oracle or a client."""
    return type(oracle).create_trial.__get__(oracle), type(oracle).end_trial.__get__(oracle)


def write_whole_files(oracle: keras_tuner.Oracle) -> None:
    """Makes KerasTuner write files atomically, so that they are readable after an interruption."""
    oracle.save = lambda: files.write_json(oracle._get_oracle_fname(), oracle.get_state())
    oracle._save_trial = lambda trial: files.write_json(
        files.join(oracle._get_trial_dir(trial.trial_id), "trial.json"), trial.get_state()
    )


def forget_half_begun(oracle: keras_tuner.Oracle) -> None:
    """Removes trials with a file that the oracle's file does not include: they would never run."""
    ongoing = (trial.trial_id for trial in ongoing_trials(oracle).values())
    known = {*oracle.start_order, *oracle._retry_queue, *ongoing}
    for trial_id in [t for t, trial in oracle.trials.items() if trial.status == RUNNING and t not in known]:
        del oracle.trials[trial_id]


def remember(oracle: keras_tuner.Oracle, decided: Callable[[str], dict[str, Any] | None]) -> None:
    """Restores decisions of a restarted chief: a tuner that learns may decide differently with other results.

    Args:
        oracle: A supervised oracle.
        decided: Returns the values of a trial, if its candidate is finished.
    """
    populate = type(oracle).populate_space.__get__(oracle)

    def populate_space(trial_id: str) -> dict[str, Any]:
        response, before = populate(trial_id), decided(trial_id)
        of_its_own = bool(OF_HYPERBAND & {*(response.get("values") or {})})  # rounds of Hyperband
        keeps = response["status"] != RUNNING or before is None or of_its_own
        return response if keeps else response | {"values": before}

    oracle.populate_space = populate_space


def ongoing_trials(oracle: keras_tuner.Oracle) -> dict[str, Any]:
    """Returns the trial of each worker, by name, for modification."""
    return oracle.ongoing_trials


def take_back(oracle: keras_tuner.Oracle, worker: str) -> None:
    """Takes back the trial of a worker, if any, and assigns it to the next one."""
    trial = ongoing_trials(oracle).pop(worker, None)
    if trial is not None:
        trial.metrics = type(trial.metrics)()  # a lost worker may have reported some
        oracle._retry_queue.append(trial.trial_id)
        oracle.save()


def check_objective(oracle: keras_tuner.Oracle, metrics: Any) -> None:
    """Raises a `ValueError` for a report without the objective."""
    oracle._check_objective_found(metrics)


def has_hyperparameter(oracle: keras_tuner.Oracle, hyperparameter: Any) -> bool:
    """Whether an oracle already has a hyperparameter."""
    return oracle.hyperparameters._exists(hyperparameter.name, hyperparameter.conditions)


def add_service(oracle: Any, server: Any) -> None:
    """Adds a service to a server that answers workers with the decisions of an oracle or a similar object."""
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)


def trial_request(worker: str) -> Any:
    """Returns the message with which a worker requests a trial."""
    return protos.get_service().CreateTrialRequest(tuner_id=worker)


def replace_calls(client: Any, calls_on: Callable[[Any], Any]) -> Any:
    """Wraps the stub of a worker's client with `calls_on`, and returns the original."""
    client.stub = calls_on(client.stub)
    return client.stub


def forget_decisions(project: str) -> None:
    """Deletes a tuner's files of decisions, but not those of weights."""
    for name in files.names(project, "*.json"):
        files.remove(files.join(project, name))
    for name in files.names(project, "trial_*"):
        files.remove(files.join(project, name, "trial.json"))


def forget_worker(project: str, worker: str) -> None:
    """Deletes a worker's file, which may be incomplete."""
    files.remove(files.join(project, f"{files.checked_name(worker)}.json"))


def drop_checkpoints(project: str) -> None:
    """Deletes the weights that a tuner keeps."""
    for name in files.names(project, "trial_*"):
        files.remove(files.join(project, name, "checkpoint.weights.h5"))


@contextmanager
def frozen_garbage_collector() -> Iterator[None]:
    """Context manager: garbage collections only process new objects.

    KerasTuner collects garbage twice before every trial, and each time Python processes all objects of the loaded
    libraries: half a million, a quarter of a second.

    Objects that an enclosing scope or the user has frozen stay frozen, because Python does not distinguish them.
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
    """Context manager: removes TensorFlow's registrations. Models trained inside must not be trained outside.

    Each traced training step registers the gradients of operations like `tf.custom_gradient` under unique names in a
    table of the process, including the complete graph: about 8 MiB per trial of a small network.
    """
    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name not in before and name.startswith(CUSTOM_GRADIENT)]:
            del registry[name]
