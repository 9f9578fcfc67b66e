"""What `save` and `export` replace: their own kind alone, and only by something whole."""

import os
import pathlib
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens import files
from keras_hyperens import replacing
from keras_hyperens.models.export import export_file
from keras_hyperens.replacing import SAVED_MODEL
from keras_hyperens.replacing import check_replaceable
from tests.forked import Forked
from tests.limit import LIMIT

KILLS = 25


def ensemble_of(value):
    """The smallest: one number, which is all its predictions."""
    member = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "linear", False, kernel_initializer="ones")])
    member.set_weights([np.full((1, 1), value)])
    return khe.HyperDeepEnsemble([member])


def save_variable(value):
    return lambda path: tf.saved_model.save(_module(value), path)


def _module(value):
    module = tf.Module()
    module.value = tf.Variable(value)
    return module


def value_of(path):
    return float(tf.saved_model.load(str(path)).value)


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def way(request, monkeypatch):
    """As Linux can do it, and as others must."""
    if not request.param:
        monkeypatch.setattr(replacing, "_exchange", lambda first, second: False)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def everything(directory):
    return {str(path.relative_to(directory)): path.is_file() and path.read_bytes() for path in directory.rglob("*")}


@pytest.mark.parametrize(
    "there, message",
    [
        (["work/notes.txt"], r"is a directory with \['notes.txt'\]"),
        (["work"], "is a file"),
        (["work/saved_model.pb", "work/thesis.tex"], r"a directory with \['thesis.tex'\]"),
        (["work/variables/mine"], r"a directory with \['variables'\]"),
        (["work/.git/config", "work/saved_model.pb"], r"a directory with \['.git'\]"),
    ],
)
def test_export_refuses_whatever_is_no_saved_model(there, message, tmp_path, monkeypatch):
    for name in there:
        written(tmp_path / name, "precious")
    before = everything(tmp_path)
    with pytest.raises(ValueError, match=f"Only a SavedModel can be replaced.*choose another path.*{message}"):
        ensemble_of(1.0).export(tmp_path / "work")
    if (tmp_path / "work").is_dir():
        monkeypatch.chdir(tmp_path / "work")
        with pytest.raises(ValueError, match="Only a SavedModel can be replaced"):
            ensemble_of(1.0).export(".")
    assert everything(tmp_path) == before


def test_a_saved_model_an_empty_directory_and_a_link_are_replaced(way, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for value in (1.0, 2.0):
        replacing.write_directory(tmp_path / "link", SAVED_MODEL, save_variable(value))
        assert value_of(tmp_path / "real") == value
        assert sorted(os.listdir(tmp_path)) == ["link", "real"] and (tmp_path / "link").is_symlink()


def test_a_directory_that_cannot_be_written_leaves_the_old_one(way, tmp_path):
    replacing.write_directory(tmp_path / "a", SAVED_MODEL, save_variable(1.0))

    def full_disk(path):
        save_variable(2.0)(path)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replacing.write_directory(tmp_path / "a", SAVED_MODEL, full_disk)
    assert value_of(tmp_path / "a") == 1.0 and os.listdir(tmp_path) == ["a"]


def test_a_directory_that_cannot_be_renamed_leaves_the_old_one(tmp_path, monkeypatch):
    replacing.write_directory(tmp_path / "a", SAVED_MODEL, save_variable(1.0))
    rename = files.rename

    def failing(path, to):
        if to == str(tmp_path / "a") and not path.endswith(".old"):
            raise OSError("no")
        rename(path, to)

    monkeypatch.setattr(replacing, "_exchange", lambda first, second: False)
    monkeypatch.setattr(files, "rename", failing)
    with pytest.raises(OSError, match="no"):
        replacing.write_directory(tmp_path / "a", SAVED_MODEL, save_variable(2.0))
    assert value_of(tmp_path / "a") == 1.0 and os.listdir(tmp_path) == ["a"]


FILES = {"a.keras": "save", "a.h5": "save", "a.weights.h5": "save_weights"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_written_leaves_the_old_one(name, tmp_path, monkeypatch):
    ensemble = ensemble_of(1.0)
    getattr(ensemble, FILES[name])(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    import h5py

    def full_disk(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(OSError, match="No space left"):
        getattr(ensemble, FILES[name])(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before and os.listdir(tmp_path) == [name]


def network_of(value):
    member = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(16)])
    member.set_weights([np.full(weight.shape, value, "float32") for weight in member.weights])
    return khe.HyperDeepEnsemble([member])


def value_of_shards(path):
    ensemble = network_of(-1.0)
    ensemble.load_weights(path)
    (value,) = {float(each) for weight in ensemble.get_weights() for each in weight.ravel()}
    return value


@pytest.mark.parametrize("fails", ["never", "writing", "renaming"])
def test_weights_in_several_files_are_the_old_or_the_new_ones(fails, tmp_path, monkeypatch):
    path, size = tmp_path / "a.weights.json", 1.2e-6  # GB: two files
    network_of(1.0).save_weights(path, max_shard_size=size)
    written(tmp_path / "a_b_00000.weights.h5", "of others")
    before = everything(tmp_path)
    assert len(before) == 4
    if fails == "writing":
        import h5py

        monkeypatch.setattr(h5py.Group, "create_dataset", lambda *a, **k: (_ for _ in ()).throw(OSError("no space")))
    move, moves = files.move, []

    def failing(path, to):
        moves.append(to)
        if fails == "renaming" and len(moves) == 5:  # three were put aside, and one has come
            raise OSError("no rename")
        move(path, to)

    monkeypatch.setattr(files, "move", failing)
    if fails == "never":
        network_of(2.0).save_weights(path, max_shard_size=2 * size)
        assert set(everything(tmp_path)) == {"a.weights.json", "a_00000.weights.h5", "a_b_00000.weights.h5"}
        assert value_of_shards(path) == 2.0
        return
    with pytest.raises(OSError, match="no"):
        network_of(2.0).save_weights(path, max_shard_size=size)
    assert everything(tmp_path) == before and value_of_shards(path) == 1.0


def test_saving_asks_and_refuses_as_keras_does(tmp_path, monkeypatch):
    path = tmp_path / "a.keras"
    written(path, "old")
    monkeypatch.setattr("builtins.input", lambda prompt: "n")
    ensemble_of(1.0).save(path, overwrite=False)
    assert path.read_text() == "old"
    answers = iter(["what?", "y"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    ensemble_of(1.0).save(path, overwrite=False)
    assert path.read_bytes()[:2] == b"PK"
    with pytest.raises(ValueError, match=f"extension.*filepath={tmp_path}/b"):
        ensemble_of(1.0).save(tmp_path / "b")
    assert os.listdir(tmp_path) == ["a.keras"]


def test_a_model_of_several_files_replaces_its_kind_alone(tmp_path):
    for value in (1.0, 2.0):
        ensemble_of(value).save(tmp_path / "a", zipped=False)
    assert os.listdir(tmp_path) == ["a"]
    assert keras.saving.load_model(tmp_path / "a").members[0].get_weights()[0] == 2.0
    written(tmp_path / "a" / "notes.txt", "precious")
    with pytest.raises(ValueError, match=r"Only a model of `zipped=False` can be replaced.*\['notes.txt'\]"):
        ensemble_of(3.0).save(tmp_path / "a", zipped=False)


def stopped(process):
    """Stops all threads of it: what is on the disk then, a kill would leave."""
    os.kill(process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + LIMIT
    while pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] != "T":
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)


def check_whole(file, directory):
    """Both can be read, and are of the same write, or the file is of the next. Returns the value."""
    x = np.ones((1, 1), "float32")
    ensemble = keras.saving.load_model(file)
    ensemble.run_eagerly = True  # once
    of_file = float(ensemble.predict_on_batch(x)[0, 0])
    loaded = tf.saved_model.load(str(directory))  # its functions do not keep its variables
    assert of_file.is_integer() and of_file - float(loaded.serve(x)[0, 0]) in (0, 1)
    return of_file


@pytest.mark.integration
def test_a_kill_at_any_moment_leaves_whole_files(tmp_path):
    """Each process begins with what a killed one left, and is killed some way into one of its writes."""
    file, directory, value = tmp_path / "a.keras", tmp_path / "served", 0
    for number in range(KILLS):
        running = Forked("tests.models.one_writer", [file, directory, value], os.environ)
        try:
            assert running.stdout.readline(), f"it ended by itself: {running.communicate()}"
            time.sleep(0.5 * number / KILLS)
        finally:
            running.kill()
            running.communicate()
        value = check_whole(file, directory)
    assert value > 0


def test_an_export_of_two_files_takes_the_place_of_both(tmp_path):
    def export(value):
        def write(path):
            written(pathlib.Path(path), value)
            written(pathlib.Path(path).with_suffix(".bin"), value)

        return write

    written(tmp_path / "other.bin", "precious")
    for value in ("old", "new"):
        export_file(str(tmp_path / "a.xml"), export(value))
    assert everything(tmp_path) == {"a.xml": b"new", "a.bin": b"new", "other.bin": b"precious"}


def test_what_somebody_laid_beside_variables_is_kept(tmp_path):
    (tmp_path / "variables").mkdir()
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (tmp_path / name).touch()
    check_replaceable(tmp_path, SAVED_MODEL)
    (tmp_path / "variables" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"Only a SavedModel can be replaced.*a directory with \['notes.txt'\]"):
        check_replaceable(tmp_path, SAVED_MODEL)
