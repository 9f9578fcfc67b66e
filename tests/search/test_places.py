"""A directory that is an address: TensorFlow's `ram://` stands for every scheme that it reads."""

import pathlib

import keras
import numpy as np
import pytest

from keras_hyperens import files
from tests.search.problem import blobs
from tests.search.problem import eager_model
from tests.search.problem import essence
from tests.search.problem import make_builder
from tests.search.problem import search

ADDRESS = "ram://bucket/runs"
SMALL = {"max_trials": 2, "num_hyperparameter_sets": 1, "initializations": 1, "ensemble_size": 2}


@pytest.fixture
def places(tmp_path):
    """A local directory, whose name would be a pattern, and an address."""
    yield tmp_path / "runs[1]", ADDRESS
    files.remove_tree("ram://bucket")


def untrainable(*args, **kwargs):
    raise AssertionError("a model was trained")


def built(directory):
    """Everything that is known after a search, an ensemble and its retraining."""
    builder = search(make_builder(directory, eager_model, **SMALL))
    ensemble = builder.build_ensemble()
    chosen = [each.name for each in builder.members], list(ensemble.member_weights)
    data = {"validation_data": blobs(45, seed=1), "batch_size": 30, "epochs": 2, "verbose": 0}
    retrained = builder.retrain(*blobs(), **data)
    x = blobs(45, seed=1)[0]
    predictions = [model.predict_members(x, verbose=0) for model in (ensemble, retrained)]
    return essence(builder.candidates), chosen, predictions


@pytest.mark.integration
def test_the_whole_procedure_is_the_same_at_an_address(places, monkeypatch):
    (local, chosen, predictions), remote = (built(place) for place in places)
    assert remote[:2] == (local, chosen)
    np.testing.assert_array_equal(remote[2], predictions)
    assert not pathlib.Path("ram:").exists()
    monkeypatch.setattr(keras.Model, "fit", untrainable)
    assert built(ADDRESS)[:2] == (local, chosen)  # all was found again
    assert len(files.names(f"{ADDRESS}/hyper_deep_ensemble/candidates", "*.weights.h5")) == len(local)
    monkeypatch.undo()
    smaller = {"max_trials": 1, "initializations": 0, "ensemble_size": 1}
    assert len(search(make_builder(ADDRESS, eager_model, overwrite=True, **smaller)).candidates) == 1


@pytest.mark.integration
def test_what_is_not_kept_is_deleted_at_an_address(places):
    builder = search(make_builder(ADDRESS, eager_model, max_trials=3, initializations=0, keep=2))
    assert sum(builder.pool.has_weights(each) for each in builder.candidates) == 2
    builder.build_ensemble(1)
    assert "candidates.csv" in files.names(builder.pool.directory, "*")


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Skipping variable loading")  # KerasTuner's own way to load
def test_hyperband_goes_on_from_weights_at_an_address(places):
    results = []
    for place in places:
        settings = {"tuner": "hyperband", "max_trials": None, "initializations": 0, "ensemble_size": 2}
        results.append(essence(search(make_builder(place, eager_model, **settings), epochs=3).candidates))
    assert results[0] == results[1]


def test_files_are_the_same_everywhere(places):
    for place in places:
        array, record = files.join(place, "a", "b.0.npy"), files.join(place, "a", "c.json")
        for content in (np.arange(6.0), np.ones((2, 3))):  # the second time another one, in place of the first
            files.write_array(array, content)
            found = files.read_array(array)
            assert isinstance(found, np.memmap)
            np.testing.assert_array_equal(found, content)
        files.write_json(record, {"é": [1, None]})
        assert files.read_json(record) == {"é": [1, None]}
        assert files.names(files.join(place, "a"), "*") == ["b.0.npy", "c.json"]
        assert files.names(files.join(place, "none"), "*") == []
        files.copy(record, files.join(place, "d", "e.json"))
        files.move(record, files.join(place, "d", "f.json"))
        assert files.names(files.join(place, "d"), "*.json") == ["e.json", "f.json"] and not files.exists(record)
        files.remove(record)
        with pytest.raises(FileNotFoundError):
            files.read_json(record)


def test_files_inside_and_outside_of_a_directory_are_found_again(places, tmp_path):
    for place in places:
        inside, outside = files.join(place, "a.h5"), files.join(place, "..", "theirs", "b.h5")
        assert files.relative(inside, place) == "a.h5" and files.is_inside(inside, place)
        assert not files.is_inside(outside, place)
        files.write_text(files.join(files.join(place, ".."), "theirs", "b.h5"), "")
        assert files.exists(files.join(place, files.relative(outside, place)))
    assert files.join(ADDRESS, files.relative(tmp_path / "c.h5", ADDRESS)) == str(tmp_path / "c.h5")
    assert files.join(tmp_path, files.relative(f"{ADDRESS}/c.h5", tmp_path)) == f"{ADDRESS}/c.h5"


def test_a_failed_write_leaves_what_was_there(places):
    for place in places:
        file = files.join(place, "a.json")
        files.write_json(file, 1)
        with pytest.raises(ZeroDivisionError):
            files.write_whole(file, lambda temporary: 1 / 0)
        assert files.read_json(file) == 1 and files.names(place, "*") == ["a.json"]
    with pytest.raises(OSError):
        files.write_json("/proc/nothing/a.json", 1)


def test_an_address_that_lost_its_slash_is_refused():
    with pytest.raises(ValueError, match="must be a string.*Received: directory='gs:/bucket/runs'"):
        make_builder(pathlib.Path("gs://bucket/runs"))
