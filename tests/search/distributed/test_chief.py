"""What the chief does with trials of workers that are lost, come again, or were never its own."""

import socket

import keras_tuner
import pytest
from keras_tuner.src import protos  # as in keras_hyperens/search/tuner_hooks.py
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from keras_hyperens.search.candidate import name_of_trial
from keras_hyperens.search.distributed.chief import Chief
from keras_hyperens.search.distributed.chief import serve
from keras_hyperens.search.distributed.client import Calls
from keras_hyperens.search.distributed.client import StageOver
from keras_hyperens.search.distributed.requests import ALIVE
from keras_hyperens.search.distributed.requests import Refused
from keras_hyperens.search.tuner_hooks import forget_half_begun
from keras_hyperens.search.tuner_hooks import remember
from keras_hyperens.search.tuner_hooks import supervise
from keras_hyperens.search.tuners import RUN
from keras_hyperens.search.tuners import EnumeratingOracle
from tests.search.problem import NLL
from tests.search.problem import make_builder
from tests.search.problem import search


@pytest.fixture
def ended():
    return []


@pytest.fixture
def make(tmp_path, ended):
    """Chiefs of three trainings."""

    def make(is_restart=False, trials=3):
        oracle = EnumeratingOracle(NLL, [{"l2": float(number)} for number in range(trials)])
        oracle._set_project_dir(tmp_path, "stage")
        oracle.verbose = 0
        supervise(oracle, lambda trial: ended.append(trial.trial_id))
        return Chief(
            oracle, lambda trial: name_of_trial(trial.trial_id), lambda: ended.append("all"), is_restart, lease=3.0
        )

    return make


def alive(chief, worker, candidate=""):
    assert chief.create_trial("\n".join([ALIVE, worker, candidate])).status == "IDLE"


def finish(chief, trial):
    chief.update_trial(trial.trial_id, {"val_nll": 1.0})
    trial.status = "COMPLETED"
    chief.end_trial(trial)


def a_lease_passes(chief, *heard):
    for _ in range(chief.looks + 1):
        for worker in heard:
            alive(chief, worker)
        chief.look()


def test_only_the_trial_of_a_silent_worker_is_given_to_another(make, ended):
    chief = make()
    first, second = chief.create_trial("a"), chief.create_trial("b")
    chief.update_trial(first.trial_id, {"val_nll": 1.0})  # lost between its last two words
    a_lease_passes(chief, "b")
    assert list(chief.oracle.ongoing_trials) == ["b"]
    again = chief.create_trial("b2")
    assert again.trial_id == first.trial_id and not again.metrics.exists("val_nll")
    assert chief.create_trial("c").trial_id not in (first.trial_id, second.trial_id)
    assert chief.create_trial("d").status == "IDLE" and not chief.is_over.is_set()


def test_a_worker_that_comes_again_gets_its_trial_at_once(make):
    chief = make()
    assert chief.create_trial("a").trial_id == chief.create_trial("a").trial_id


def test_one_that_was_taken_for_dead_does_no_harm(make, ended):
    chief = make(trials=1)
    trial = chief.create_trial("a")
    a_lease_passes(chief, "b")
    assert chief.create_trial("b").trial_id == trial.trial_id
    for _ in range(2):  # both end it
        finish(chief, trial)
    assert ended == [trial.trial_id]
    assert chief.create_trial("a").status == chief.create_trial("b").status == "STOPPED"
    assert ended == [trial.trial_id, "all"]
    assert chief.is_over.is_set() and chief.all_were_told()


def test_a_trial_that_was_half_begun_is_begun_anew(make):
    oracle = make().oracle
    first = oracle.create_trial("a")
    oracle.start_order.clear()  # of the two files, the second was not written
    oracle.ongoing_trials.clear()
    forget_half_begun(oracle)
    assert oracle.create_trial("b").trial_id == first.trial_id


def test_a_restarted_chief_leaves_trainings_to_those_who_train(make, ended):
    chief = make(is_restart=True)
    alive(chief, "a", name_of_trial("0"))
    assert chief.create_trial("b").status == "IDLE"  # others may not have been heard yet
    for _ in range(chief.looks):
        alive(chief, "a", name_of_trial("0"))
        chief.look()
    assert chief.create_trial("b").trial_id == "1"
    assert chief.oracle.ongoing_trials["a"].trial_id == "0"
    finish(chief, chief.get_trial("0"))
    assert ended == ["0"]


def test_a_restarted_chief_bears_reports_of_trials_that_it_does_not_know(make, ended):
    chief = make(is_restart=True)
    trial = chief.get_trial("2")
    assert trial.status == "RUNNING" and not trial.metrics.exists("val_nll")
    finish(chief, trial)
    assert not ended and chief.failure is None


def test_when_the_last_worker_is_lost_the_chief_finds_out_by_itself(make):
    chief = make(trials=1)
    finish(chief, chief.create_trial("a"))
    a_lease_passes(chief)
    assert chief.is_over.is_set() and chief.all_were_told()
    chief = make(trials=2)
    finish(chief, chief.create_trial("a"))
    a_lease_passes(chief)  # something is left to do: it waits for a worker
    assert not chief.is_over.is_set() and chief.create_trial("b").trial_id == "1"


def test_an_oracle_that_fails_ends_the_chief(make, monkeypatch):
    chief = make()
    monkeypatch.setattr(chief.oracle, "populate_space", lambda trial_id: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        chief.create_trial("a")
    with pytest.raises(RuntimeError, match="The chief cannot decide: division by zero"):
        chief.look()


@pytest.fixture
def ask(make):
    """A chief, and a function that sends it requests as a worker does."""
    chief = make(trials=2)
    service, messages = OracleServicer(chief), protos.get_service()

    def ask(name, **fields):
        return getattr(service, name)(getattr(messages, f"{name}Request")(**fields), None)

    return chief, ask


def space(*names):
    hyperparameters = keras_tuner.HyperParameters()
    for name in names:
        hyperparameters.Float(name, 0, 1)
    return hyperparameters


def trial_like(trial, status="COMPLETED", **values):
    hyperparameters = space()
    hyperparameters.values = {**trial.hyperparameters.values, **values}
    return keras_tuner.engine.trial.Trial(hyperparameters, trial.trial_id, status).to_proto()


def test_a_wrong_request_is_refused_by_itself(ask, ended):
    chief, ask = ask
    trial = chief.create_trial("a")
    wrong = [
        (
            "UpdateTrial",
            {"trial_id": "0", "metrics": {"val_accuracy": 1.0}},
            "must contain the objective.*val_accuracy",
        ),
        ("UpdateTrial", {"trial_id": "0", "metrics": {}}, "must contain the objective.*Received: {}"),
        ("EndTrial", {"trial": trial_like(trial)}, "must have reported 'val_nll'. Received: .. of trial 0"),
        ("EndTrial", {"trial": trial_like(trial, "RUNNING")}, "must end as one of.*Received: status='RUNNING'"),
        ("EndTrial", {"trial": trial_like(trial, **{RUN: "../x"})}, "must not differ from those of the chief.*/run"),
        (
            "EndTrial",
            {"trial": trial_like(trial, **{"tuner/trial_id": "../x"})},
            "must not differ from those of the chief.*tuner/trial",
        ),
        (
            "UpdateSpace",
            {"hyperparameters": space("l2", RUN).to_proto()},
            "must not be reserved by tuners.*Received: .*/run",
        ),
        (
            "UpdateSpace",
            {"hyperparameters": space("tuner/epochs").to_proto()},
            "must not be reserved by tuners.*tuner/epochs",
        ),
        ("CreateTrial", {"tuner_id": ALIVE}, "must have 3 lines"),
    ]
    for name, fields, message in wrong:
        with pytest.raises(Refused, match=message):
            ask(name, **fields)
    ask("EndTrial", trial=keras_tuner.engine.trial.Trial(space(), "unknown", "COMPLETED").to_proto())
    ask("UpdateTrial", trial_id="unknown", metrics={"val_nll": 1.0})
    assert chief.failure is None and not ended and chief.get_space().space == []
    ask("UpdateTrial", trial_id="0", metrics={"val_nll": 1.0})
    ask("EndTrial", trial=trial_like(trial, "COMPLETED", momentum=0.5))  # the worker came upon one more
    assert ended == ["0"] and chief.create_trial("a").trial_id == "1"


def test_a_space_that_must_stay_is_not_changed(make):
    chief = make()
    chief.oracle.hyperparameters, chief.oracle.allow_new_entries = space("l2"), False
    with pytest.raises(Refused, match="must not change.*Received: .'momentum'"):
        chief.update_space(space("l2", "momentum"))
    chief.update_space(space("l2"))
    assert chief.failure is None


def test_metrics_and_spaces_pass_through(make):
    chief = make()
    assert chief.get_space().values == {} and chief.get_best_trials(1) == []
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Float("l2", 0, 1)
    chief.update_space(hyperparameters)
    assert [each.name for each in chief.get_space().space] == ["l2"]


def test_what_is_finished_stays_decided(make):
    chief = make(is_restart=True)
    remember(chief.oracle, {"0": {"l2": 0.5}}.get)
    a_lease_passes(chief)
    assert [chief.create_trial(worker).hyperparameters.values for worker in "ab"] == [{"l2": 0.5}, {"l2": 1.0}]


@pytest.fixture
def port(monkeypatch):
    """That of a chief, on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        yield port


def test_two_chiefs_do_not_share_an_address(make, port):
    with pytest.raises(RuntimeError, match=f"stop the other chief, or choose another KERASTUNER_ORACLE_PORT.*:{port}"):
        serve(make())


def test_a_worker_waits_for_its_chief_and_no_longer(port):
    import grpc

    class Away(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

    def method(request, timeout):
        raise Away

    class Stub:
        def __init__(self, channel=None):
            self.GetTrial = method

    with pytest.raises(ConnectionError, match=f"The chief at 127.0.0.1:{port} did not answer for 0.5 seconds: start"):
        Calls(Stub(), lambda: False, 0.5).GetTrial(None, wait_for_ready=True, timeout=1)
    with pytest.raises(StageOver):
        Calls(Stub(), lambda: True, 0.5).GetTrial(None)


@pytest.mark.parametrize(
    "wrong", [{"lease": 1}, {"lease": float("inf")}, {"patience": -1}, {"patience": "long"}], ids=str
)
def test_bad_waiting(wrong, tmp_path):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        search(make_builder(tmp_path), **wrong)
