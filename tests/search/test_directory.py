"""The directory of a search: what is damaged, hostile, read-only, somebody else's, or in use."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import keras_tuner
import numpy as np
import pytest

from keras_hyperens import files
from keras_hyperens.search import directory as module
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.directory import DirectoryLock
from keras_hyperens.search.pool import LOCK
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.trial_recorder import TrialRecorder
from tests.search import problem
from tests.search.problem import eager_model
from tests.search.problem import essence
from tests.search.problem import search

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {"max_trials": 3, "num_hyperparameter_sets": 1, "initializations": 1, "ensemble_size": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a search that has ended, as it left it."""
    directory = tmp_path_factory.mktemp("search")
    search(make_builder(directory))
    return directory


@pytest.fixture
def directory(finished, tmp_path):
    """A copy of it."""
    return pathlib.Path(shutil.copytree(finished, tmp_path / "copy"))


def make_builder(directory, **changes):
    return problem.make_builder(directory, eager_model, **{**SMALL, **changes})


def pool_of(directory):
    return directory / "hyper_deep_ensemble"


def write(path, content=b"precious"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def everything(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "a record that ends early": ("search-0001.json", cut),
    "a record of zeros": ("search-0001.json", lambda path: path.write_bytes(b"\0" * 100)),
    "a record that is no record": ("search-0001.json", lambda path: path.write_text('{"name": "search-0001"}')),
    "a record with a field too many": ("search-0001.json", lambda path: changed(path, more=1)),
    "a record with a score in words": ("search-0001.json", lambda path: changed(path, score="low")),
    "a record with weights that are a number": ("search-0001.json", lambda path: changed(path, weights=3)),
    "a record of an unknown likelihood": ("search-0001.json", lambda path: changed(path, likelihoods=["evil"])),
    "predictions of other rows": ("search-0001.0.npy", lambda path: np.save(path, np.zeros((3, 3), "float32"))),
    "predictions in words": ("search-0001.0.npy", lambda path: np.save(path, np.array(["a"] * 45))),
    "predictions that end early": ("search-0001.0.npy", cut),
    "predictions that are text": ("search-0001.0.npy", lambda path: path.write_text("hello")),
    "no predictions": ("search-0001.0.npy", pathlib.Path.unlink),
    "weights that end early": ("search-0001.weights.h5", cut),
    "weights that are text": ("search-0001.weights.h5", lambda path: path.write_text("hello")),
    "weights at an address": ("search-0001.json", lambda path: changed(path, weights="gs://evil/x.weights.h5")),
    "weights elsewhere": ("search-0001.json", lambda path: changed(path, weights="../../../x.weights.h5")),
    "another candidate's record": ("search-0001.json", lambda path: changed(path, name="search-0002")),
}


def changed(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


QUICK = ("weights that are text",)


@pytest.mark.parametrize(
    "damage", [name if name in QUICK else pytest.param(name, marks=pytest.mark.integration) for name in DAMAGES]
)
def test_a_damaged_candidate_is_named_and_trained_again(damage, directory, finished):
    name, do = DAMAGES[damage]
    candidates = pool_of(directory) / "candidates"
    do(candidates / name)
    builder = make_builder(directory)
    with pytest.raises((ValueError, OSError), match="search-0001|x.weights.h5"):  # what is needed is read, and named
        for candidate in builder.candidates:
            builder.pool.predictions(candidate)
            builder.build_ensemble(4, replacement=False)
    with pytest.warns(UserWarning, match="search-0001 will be trained again: .*"):
        search(builder)
    assert essence(builder.candidates) == essence(make_builder(finished).candidates)
    assert builder.build_ensemble(4, replacement=False).ensemble_size == 4


@pytest.mark.parametrize("name", ["builder.json", "labels.0.npy"])
def test_another_damaged_file_is_named_with_what_to_do(name, directory):
    cut(pool_of(directory) / name)
    builder = make_builder(directory)
    with pytest.raises(ValueError, match=rf"{name} is damaged: call `search` again.*delete the file.*Received: "):
        builder.build_ensemble() if name.startswith("labels") else search(builder)
    if name.startswith("labels"):
        search(builder).build_ensemble()


@pytest.mark.parametrize("content", ["[]", "{}", '"builder"'])
def test_an_identity_that_is_none_is_damaged(content, tmp_path):
    write(tmp_path / "builder.json", content.encode())
    with pytest.raises(files.Damaged, match="builder.json is damaged.*it has no 'format_version'"):
        Pool(tmp_path).identity()


def test_labels_of_other_rows_are_refused(directory):
    np.save(pool_of(directory) / "labels.0.npy", np.zeros(3, "int64"))
    with pytest.raises(ValueError, match=r"one label for each of 45 samples. Received: labels of shape \(3,\)"):
        make_builder(directory).build_ensemble()


def test_a_finished_search_on_read_only_storage_can_be_built(directory, monkeypatch):
    def read_only(path, write):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(files, "write_whole", read_only)
    with pytest.warns(UserWarning, match="is not changed, because it is not writable: .*Read-only file system"):
        assert make_builder(directory).build_ensemble().ensemble_size == 2
    with pytest.warns(UserWarning, match="is not writable"):
        make_builder(directory, keep="selected").build_ensemble()
    monkeypatch.undo()
    make_builder(directory).build_ensemble(4, replacement=False)  # all weights are still there


@pytest.mark.integration
def test_overwrite_deletes_a_search_and_nothing_else(directory, tmp_path):
    pool = pool_of(directory)
    write(pool / "notes.txt")
    write(tmp_path / "elsewhere" / "data.npy")
    (pool / "search" / "link").symlink_to(tmp_path / "elsewhere")
    (pool / "candidates" / "search-0000.json").unlink()
    builder = search(make_builder(directory, overwrite=True, seed=5))
    assert {each.seed for each in builder.candidates} and len(builder.candidates) == 4
    assert (pool / "notes.txt").read_bytes() == (tmp_path / "elsewhere" / "data.npy").read_bytes() == b"precious"
    assert not (pool / "search" / "link").exists()
    cut(pool / "builder.json")  # a damaged search can be overwritten too
    search(make_builder(directory, overwrite=True, max_trials=1, initializations=0, ensemble_size=1))


@pytest.mark.parametrize("there", [["thesis.tex"], ["search/data"], ["builder.json"], ["candidates/a.json"]])
def test_overwrite_leaves_what_is_no_search(there, tmp_path):
    for name in there:
        write(tmp_path / "hyper_deep_ensemble" / name, b"{}")
    before = everything(tmp_path)
    with pytest.raises(ValueError, match="only deletes a search of this package: choose another"):
        search(make_builder(tmp_path, overwrite=True))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/../..", "/etc", "a//b", "gs://bucket", None, 3])
def test_a_project_name_stays_below_the_directory(name, tmp_path):
    with pytest.raises(
        ValueError, match="`project_name` must be the name of a directory below `directory`.*Received: "
    ):
        make_builder(tmp_path, project_name=name)
    make_builder(tmp_path, project_name="a/my search.2")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "gs://bucket/x", "a\n", ".hidden", 3])
def test_names_from_outside_never_become_paths(name, tmp_path):
    pool = Pool(tmp_path)
    for use in (pool.find, pool.forget, lambda name: pool.take_weights(name, str(tmp_path / "a"), leave=True)):
        with pytest.raises(ValueError, match="must consist of letters, digits"):
            use(name)
    recorder = TrialRecorder(pool, "initializations", None, None, 0, False, "float32", None, None)
    for trial_id, run in ((name, "fine"), ("0", name or "/")):
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values["keras_hyperens/run"] = run
        with pytest.raises(ValueError, match="must consist of letters, digits"):
            recorder.name_of(keras_tuner.engine.trial.Trial(hyperparameters, trial_id))


def test_hyperparameters_called_like_ours_are_refused(tmp_path):
    def build_model(hp):
        hp.Float("keras_hyperens/run", 0, 1)
        return eager_model(hp)

    with pytest.raises(ValueError, match="not begin with 'keras_hyperens/'. Received: .'keras_hyperens/run'"):
        search(problem.make_builder(tmp_path, build_model, **SMALL))


def test_weights_of_a_tuner_of_ones_own_are_found_with_it_alone(tmp_path):
    pool, theirs = Pool(tmp_path / "ours", tmp_path / "theirs"), Pool(tmp_path / "ours")
    candidate = Candidate("search-0000", "search", {}, 0, "search-0000", weights="../theirs/trial_0/a.weights.h5")
    assert pool.weights_files(candidate)[0].endswith("theirs/trial_0/a.weights.h5")
    with pytest.raises(ValueError, match="builder with that tuner. Received: weights='../theirs.*search-0000"):
        theirs.weights_files(candidate)


HOLDER = """
import sys
from keras_hyperens.search.directory import DirectoryLock
lock = DirectoryLock(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""


def test_who_comes_second_is_told_at_once(directory, monkeypatch):
    def held(file, how):
        raise BlockingIOError

    (pool_of(directory) / LOCK).write_text("process 77 on host\n")
    monkeypatch.setattr(module.fcntl, "lockf", held)
    with pytest.raises(RuntimeError, match="Another process searches.*choose another.*used by process 77 on host"):
        search(make_builder(directory))
    assert (pool_of(directory) / LOCK).read_text() == "process 77 on host\n"
    make_builder(directory).build_ensemble()  # reading is no harm


@pytest.mark.integration
def test_a_second_process_is_told_at_once_and_a_killed_one_holds_nothing(directory, monkeypatch):
    command = [sys.executable, "-c", HOLDER, str(pool_of(directory))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        monkeypatch.setattr(keras.Model, "fit", None)
        with pytest.raises(
            RuntimeError, match=f"Another process searches.*choose another.*used by process {other.pid}"
        ):
            search(make_builder(directory))
        make_builder(directory).build_ensemble()  # reading is no harm
        other.kill()
        other.wait()
    search(make_builder(directory))
    search(make_builder(directory))  # one after the other in one process
    assert str(os.getpid()) in (pool_of(directory) / LOCK).read_text()


def test_two_searches_of_one_process_are_two(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with DirectoryLock(tmp_path) as first:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="used by another search of this process"):
                DirectoryLock(tmp_path / "link")
        first.release()
        with DirectoryLock(tmp_path):
            first.release()  # another time does nothing
            with pytest.raises(RuntimeError, match="used by another search of this process"):
                DirectoryLock(tmp_path)
    (tmp_path / "other" / LOCK).mkdir(parents=True)
    for _ in range(2):  # what could not be opened is not held
        with pytest.raises(IsADirectoryError):
            DirectoryLock(tmp_path / "other")


def test_an_address_and_a_file_system_without_locks_have_none(tmp_path, monkeypatch):
    DirectoryLock("ram://bucket/runs").release()
    monkeypatch.setattr(module.fcntl, "lockf", lambda *arguments: (_ for _ in ()).throw(OSError(95, "not supported")))
    DirectoryLock(tmp_path).release()
    monkeypatch.setattr(module, "fcntl", None)
    with DirectoryLock(tmp_path / "windows"):
        assert not (tmp_path / "windows").exists()


def test_a_lock_alone_is_nothing_foreign(tmp_path):
    """`overwrite=True` in a directory that was not there before."""
    pool = Pool(tmp_path / "new")
    with DirectoryLock(tmp_path / "new"):
        pool.clear()
        write(tmp_path / "new" / "notes.txt")
        with pytest.raises(ValueError, match="only deletes a search of this package.*notes.txt"):
            pool.clear()
    assert everything(tmp_path) == {"new", f"new/{LOCK}", "new/notes.txt"}


def test_weights_of_rows_end_with_their_search(tmp_path):
    pool, labels = Pool(tmp_path), [np.arange(4), np.arange(4)]
    pool.write_identity({"format_version": 2})
    pool.write_labels(labels, [np.ones(4), None])
    pool.write_labels(labels, [None, np.ones(4)])
    assert [each is None for each in pool.weights()] == [True, False]
    pool.clear()
    assert not list(tmp_path.iterdir())
