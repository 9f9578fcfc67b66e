import numpy as np
import pytest
import tensorflow as tf

from keras_hyperens.models import data as batches
from keras_hyperens.models.data import split_rows
from keras_hyperens.models.training import tuning_rows
from keras_hyperens.models.training.tuning_rows import TuningRows
from tests.models.networks import blobs
from tests.models.networks import compiled


def test_batches_go_round_and_use_every_row_alike():
    x = np.arange(10, dtype="float32")[:, None]
    rows = TuningRows((x, np.arange(10)), None, seed=0)
    seen = np.concatenate([rows.batch(number, 4)[1] for number in range(5)])
    np.testing.assert_array_equal(np.bincount(seen), 2)
    order = seen[:10]
    assert not np.array_equal(order, np.arange(10))
    np.testing.assert_array_equal(seen[10:], order)
    batch_x, batch_y, weight = rows.batch(1, 4)
    np.testing.assert_array_equal(batch_x[:, 0], batch_y)
    assert weight is None
    assert len(rows.batch(0, 99)[1]) == 10  # never more rows than there are


def test_parts_of_replicas_are_together_the_batch_of_one_device():
    rows = TuningRows((np.arange(12, dtype="float32")[:, None], np.arange(12)), None, seed=0)
    for number in range(4):
        parts = [rows.batch(number, 4, replica, 2)[1] for replica in range(2)]
        np.testing.assert_array_equal(np.concatenate(parts), rows.batch(number, 8)[1])
    assert [len(rows.batch(0, 99, replica, 5)[1]) for replica in range(5)] == [2] * 5  # the same on all, 12 at most
    assert len(rows.batch(0, 0, 1, 2)[1]) == 1  # a replica without training rows tunes too


def test_split_takes_the_last_rows():
    (x, y, weight), (tx, ty, tuning_weight) = split_rows(np.arange(10), np.arange(10), np.ones(10), 0.3)
    np.testing.assert_array_equal(x, np.arange(7))
    np.testing.assert_array_equal(ty, [7, 8, 9])
    assert len(weight) == 7 and len(tuning_weight) == 3


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, 0.01])
def test_bad_splits_are_named(fraction):
    with pytest.raises(ValueError, match=f"tuning_split={fraction}"):
        split_rows(np.arange(10), np.arange(10), None, fraction)


def test_a_dataset_cannot_be_split():
    with pytest.raises(ValueError, match="as arrays"):
        split_rows(tf.data.Dataset.range(3), None, None, 0.5)


X, Y = blobs(20)
BAD_X = X.copy()
BAD_X[1] = np.nan


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((BAD_X, Y), ValueError, "4 NaN or infinite values in x"),
        ((X, np.full(20, np.inf)), ValueError, "in y"),
        ((X[:0], Y[:0]), ValueError, r"lengths \[0, 0\]"),
        ((X, Y[:5]), ValueError, r"lengths \[20, 5\]"),
        ((X,), ValueError, "y=None"),
        ((X, Y, -np.ones(20)), ValueError, "at least 0, and not all 0. Received: sample_weight from -1.0 to -1.0"),
        ((X, Y, np.zeros(20)), ValueError, "not all 0"),
        (iter(()), ValueError, "no batch"),
        ("rows", TypeError, "tuning_data of type str"),
        (tf.data.Dataset.from_tensors((X, Y)).repeat(), ValueError, "must be finite"),
    ],
)
def test_bad_tuning_data_is_named(data, error, message):
    with pytest.raises(error, match=message):
        TuningRows(data, None, 0)


class Endless:
    def __iter__(self):
        while True:
            yield X, Y


@pytest.mark.parametrize(
    "data", [Endless(), iter(Endless()), tf.data.Dataset.from_tensors((X, Y)).repeat().filter(lambda *_: True)]
)
def test_what_does_not_say_how_long_it_is_must_end(data, monkeypatch):
    monkeypatch.setattr(batches, "MOST_BATCHES", 20)
    with pytest.raises(ValueError, match="`tuning_data` must be finite. Received: .* with over 20 batches"):
        TuningRows(data, None, 0)
    assert TuningRows(tf.data.Dataset.from_tensors((X, Y)).repeat(30), None, 0).size == 600


def test_too_many_rows_for_memory_are_refused(monkeypatch):
    monkeypatch.setattr(tuning_rows, "BYTES_LIMIT", 2 * X.nbytes)
    with pytest.raises(ValueError, match=r"dataset.take\(n\)"):
        TuningRows(tf.data.Dataset.from_tensors((X, Y)).repeat(5), None, 0)


def test_class_weights_become_sample_weights():
    for labels in (Y, Y[:, None], np.eye(3)[Y]):
        rows = TuningRows((X, labels, np.full(20, 2.0)), {0: 3.0, 1: 1.0}, seed=0)
        _, y, weight = rows.batch(0, 20)
        classes = np.asarray(y).argmax(-1) if len(y.shape) > 1 and y.shape[-1] > 1 else np.ravel(y)
        np.testing.assert_allclose(weight, 2 * np.array([3.0, 1.0, 1.0])[classes])


@pytest.mark.parametrize(
    ("tuning_data", "message"),
    [
        ((X[:, :3], Y), r"For x, .*\(4,\).*Received: tuning data with .*\(3,\)"),
        (({"a": X}, Y), "For x"),
        ((X, np.eye(3)[Y]), "For y"),
    ],
)
def test_rows_of_another_structure_are_refused_before_any_step(tuning_data, message):
    ensemble = compiled()
    with pytest.raises(ValueError, match=message):
        ensemble.fit(X, Y, tuning_data=tuning_data, verbose=0)
    assert int(ensemble.step) == 0


def test_both_kinds_of_tuning_data_are_refused():
    with pytest.raises(ValueError, match="not both"):
        compiled().fit(X, Y, tuning_data=(X, Y), tuning_split=0.2)
