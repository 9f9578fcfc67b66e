"""What the hooks into KerasTuner rely on, one by one; and the garbage collector during a stage, and afterwards."""

import configparser
import gc
import inspect
import operator
import os
import pathlib
from types import SimpleNamespace
from unittest import mock

import keras
import keras_tuner
import pytest
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.distribute.oracle_client import OracleClient
from packaging.requirements import Requirement
from tensorflow.python.framework import ops

from keras_hyperens.search import tuner_hooks
from keras_hyperens.search.tuner_hooks import frozen_garbage_collector
from tests.search.problem import eager_model
from tests.search.problem import make_builder
from tests.search.problem import search

SETUP = pathlib.Path(__file__).parents[2] / "setup.cfg"
TRIALS = {"create_trial": "(self, tuner_id)", "end_trial": "(self, trial)"}
ONGOING = {"oracle.ongoing_trials": "dict"}
HOOKS = {  # what each relies on: the signature of a function, the type of an attribute, a name that it uses
    "replace_training": {
        "Tuner.run_trial": "(self, trial, *args, **kwargs)", "Tuner._get_checkpoint_fname": "(self, trial_id)",
    },
    "build_config_file": {"Tuner._get_build_config_fname": "(self, trial_id)"},
    "run_whole_trial": {
        "Tuner.on_trial_begin": "(self, trial)", "Tuner.on_trial_end": "(self, trial)",
        "Tuner._try_run_and_update_trial": "(self, trial, *fit_args, **fit_kwargs)",
    },
    "new_trial": {"Trial": "(hyperparameters, trial_id=None, status='RUNNING', message=None)"},
    "supervise": {
        "oracle.max_consecutive_failed_trials": "int", "oracle.tuner_ids": "set", "oracle.trials": "dict",
        **{f"Oracle.{name}": signature for name, signature in TRIALS.items()}, **ONGOING,
    },
    "own_trials": {
        f"{kind}.{name}": signature for kind in ("Oracle", "Client") for name, signature in TRIALS.items()
    },
    "write_whole_files": {
        "Oracle.save": "(self)", "Oracle.get_state": "(self)", "Oracle._save_trial": "(self, trial)",
        "Oracle._get_oracle_fname": "(self)", "Oracle._get_trial_dir": "(self, trial_id)", "Trial.get_state": "(self)",
    },
    "forget_half_begun": {
        "oracle.start_order": "list", "oracle._retry_queue": "list", "oracle.trials": "dict", **ONGOING,
    },
    "remember": {
        "Oracle.populate_space": "(self, trial_id)",
        "paths.hyperband": "tuner/bracket tuner/epochs tuner/initial_epoch tuner/round",
    },
    "ongoing_trials": ONGOING,
    "take_back": {"oracle._retry_queue": "list", "Oracle.save": "(self)", "trial.metrics": "MetricsTracker", **ONGOING},
    "check_objective": {"Oracle._check_objective_found": "(self, metrics)"},
    "has_hyperparameter": {"HyperParameters._exists": "(self, name, conditions=None)"},
    "add_service": {
        "Servicer": "(oracle)", "service.add_OracleServicer_to_server": "(servicer, server)",
        **{f"Oracle.{name}": signature for name, signature in TRIALS.items()},
    },
    "trial_request": {"request.tuner_id": "str"},
    "replace_calls": {"client.stub": "OracleStub"},
    "forget_decisions": {"paths.oracle": "project/oracle.json", "paths.trial": "trial_0"},
    "forget_worker": {"paths.tuner": "project/worker0.json"},
    "drop_checkpoints": {"paths.checkpoint": "trial_0/checkpoint.weights.h5"},
    "frozen_garbage_collector": {},
    "forgotten_gradients": {"tensorflow.gradient_registry._registry": "dict"},
}  # fmt: skip


@pytest.fixture
def names(tmp_path):
    """The names in `HOOKS`: classes and modules, and an object of each class where attributes are asked for."""
    oracle = keras_tuner.oracles.RandomSearchOracle(objective="val_loss")
    oracle._set_project_dir(tmp_path, "project")
    with mock.patch.dict(os.environ, KERASTUNER_ORACLE_IP="", KERASTUNER_ORACLE_PORT="1", KERASTUNER_TUNER_ID="a"):
        client = OracleClient(oracle)
    standin = SimpleNamespace(get_trial_dir="trial_{}".format, project_dir="project", tuner_id="worker0")
    space = keras_tuner.HyperParameters()
    space.Float("l2", 0, 1)
    hyperband = keras_tuner.oracles.HyperbandOracle(objective="val_loss", max_epochs=2, hyperparameters=space)
    values = hyperband.populate_space("0")["values"]
    paths = SimpleNamespace(
        hyperband=" ".join(sorted({*values} - {"l2"})),
        oracle=os.path.relpath(oracle._get_oracle_fname(), tmp_path),
        trial=pathlib.Path(oracle._get_trial_dir("0")).name,
        tuner=keras_tuner.Tuner._get_tuner_fname(standin),
        checkpoint=keras_tuner.Tuner._get_checkpoint_fname(standin, "0"),
    )
    return SimpleNamespace(
        Tuner=keras_tuner.Tuner, Oracle=keras_tuner.Oracle, Client=OracleClient, Servicer=OracleServicer,
        HyperParameters=keras_tuner.HyperParameters, Trial=keras_tuner.engine.trial.Trial,
        trial=keras_tuner.engine.trial.Trial(keras_tuner.HyperParameters()), oracle=oracle, client=client, paths=paths,
        request=protos.get_service().CreateTrialRequest(), service=protos.get_service_grpc(), tensorflow=ops,
    )  # fmt: skip


def found(names, what):
    """How KerasTuner has it: a signature, a type, or a path."""
    try:
        value = operator.attrgetter(what)(names)
    except AttributeError:
        return "nothing"
    if callable(value):
        value = inspect.getclosurevars(value).nonlocals.get("func", value) if inspect.isfunction(value) else value
        return str(inspect.signature(value))  # of what `keras_tuner.synchronized` wraps
    return value if what.startswith("paths.") else type(value).__name__


def check(hook, names):
    for what, expected in HOOKS[hook].items():
        there = found(names, what)
        assert there == expected, (
            f"The hook `{hook}` of keras_hyperens/search/tuner_hooks.py relies on {what} as {expected}. "
            f"KerasTuner {keras_tuner.__version__} has {there}"
        )


@pytest.mark.parametrize("hook", HOOKS)
def test_keras_tuner_is_as_the_hook_needs_it(hook, names):
    check(hook, names)


def test_every_hook_says_what_it_relies_on():
    ours = inspect.getmembers(tuner_hooks, inspect.isfunction)
    assert {name for name, each in ours if each.__module__ == tuner_hooks.__name__} == set(HOOKS)


def test_a_hook_that_broke_is_named(names, monkeypatch):
    monkeypatch.setattr(keras_tuner.Oracle, "_get_trial_dir", lambda self, trial: "")
    with pytest.raises(AssertionError, match="The hook `write_whole_files` .* relies on Oracle._get_trial_dir as"):
        check("write_whole_files", names)
    del names.oracle._retry_queue
    with pytest.raises(AssertionError, match="`take_back` .* relies on oracle._retry_queue as list. .* has nothing"):
        check("take_back", names)


def test_no_newer_keras_tuner_is_allowed_than_was_tested():
    settings = configparser.ConfigParser(inline_comment_prefixes=("#",))
    settings.read(SETUP)
    lines = settings["options"]["install_requires"].splitlines()
    (versions,) = [Requirement(line).specifier for line in lines if line.startswith("keras-tuner")]
    assert keras_tuner.__version__ in versions and "1.4.999" not in versions and "2.0" not in versions


@pytest.fixture
def nothing_frozen():
    """As in a user's process; `tests/conftest.py` has frozen all that was imported."""
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.freeze()


def test_it_ends_with_the_outermost_scope(nothing_frozen):
    with frozen_garbage_collector():
        with frozen_garbage_collector():
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_it_ends_on_errors(nothing_frozen):
    with pytest.raises(ZeroDivisionError), frozen_garbage_collector():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0


def test_what_the_user_froze_stays_frozen(nothing_frozen):
    gc.freeze()
    most = gc.get_freeze_count() - 1000  # some go when nothing refers to them any more
    with frozen_garbage_collector():
        assert gc.get_freeze_count() > most
    assert gc.get_freeze_count() > most


def test_a_stage_trains_inside_also_if_it_is_cut_off(nothing_frozen, tmp_path):
    seen = []

    class CutOff(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(gc.get_freeze_count())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(make_builder(tmp_path, eager_model), callbacks=[CutOff()])
    assert seen[0] > 0 and gc.get_freeze_count() == 0
