"""Many calls of one ensemble: nothing is traced again without need, and memory stays as it is."""

import gc
import pathlib
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from keras_hyperens.models.training.trainer import Trainer
from keras_hyperens.models.training.tuning_rows import TuningRows
from keras_hyperens.models.views import MOST
from tests.models.networks import blobs
from tests.models.networks import compiled

GROWTH = 1.05


def rows_of(number, start=0.0, dtype="float32"):
    x = start + np.arange(2.0 * number).reshape(number, 2)
    return x.astype(dtype), np.arange(number)


def test_a_trace_reads_the_rows_that_took_the_place_of_others():
    first = TuningRows(rows_of(5), None, seed=0)
    traces = []

    @tf.function(autograph=False)
    def batch(number):
        traces.append(number)
        return first.batch(number, 4)

    assert set(batch(tf.constant(0, tf.int64))[0][:, 0].numpy()) <= {0, 2, 4, 6, 8}
    for number, start, size in ((7, 100.0, 4), (3, 200.0, 3), (5, 300.0, 4)):
        later = TuningRows(rows_of(number, start), None, seed=0, before=first)
        assert later.takes_the_place_of(first)
        found = batch(tf.constant(0, tf.int64))
        for ours, same in zip(found[:2], TuningRows(rows_of(number, start), None, seed=0).batch(0, 4)):
            np.testing.assert_array_equal(ours, same)
        assert len(found[1]) == size
    assert len(traces) == 1


@pytest.mark.parametrize(
    "other",
    [rows_of(5, dtype="float64"), (np.zeros((5, 3), "float32"), np.arange(5)), (*rows_of(5), np.ones(5))],
    ids=["integers", "columns", "weights"],
)
def test_rows_of_another_kind_do_not_take_their_place(other):
    first = TuningRows(rows_of(5), None, seed=0)
    if other[0].dtype == "float64":
        other = (other[0].astype("int64"), other[1])
    later = TuningRows(other, None, seed=0, before=first)
    assert not later.takes_the_place_of(first) and not later.takes_the_place_of(None)
    np.testing.assert_array_equal(np.sort(first.batch(0, 5)[1]), np.arange(5))


def test_a_step_is_traced_again_only_for_rows_of_another_kind():
    ensemble = compiled()
    x, y = blobs(12)

    def is_kept(data):
        ensemble.train_function = lambda: None
        ensemble._trainer._set_tuning_rows(data, None)
        return ensemble.train_function is not None

    assert not is_kept((x, y))  # there were none before
    assert is_kept((x[:5], y[:5])) and is_kept((x, y))
    assert not is_kept((x, y, np.ones(12))) and is_kept((x, y, np.ones(12)))
    assert not is_kept((x, y))
    ensemble._trainer._said_untuned = True
    assert is_kept(None) and is_kept((x, y)) and is_kept(None)  # of each kind one
    assert not is_kept((x, y, np.ones(12)))


@pytest.mark.integration
def test_functions_written_on_the_spot_are_not_kept_for_ever():
    ensemble = compiled(run_eagerly=True)
    x, _ = blobs(4)
    for number in range(MOST + 2):
        ensemble.predict_uncertainty(x, verbose=0)  # used all the time
        found = ensemble.predict_uncertainty(x, [lambda members, _, n=number: members[0, :, 0] + n], verbose=0)
        members = ensemble.predict_members(x, verbose=0)
        np.testing.assert_allclose(found["<lambda>"], members[0, :, 0] + number, rtol=1e-6)
    kept = {kind for kind, _, _ in ensemble._views.by_kind}
    assert len(ensemble._views.by_kind) <= MOST and {"members", ("uncertainty", None)} <= kept


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:No tuning data")
def test_fits_with_and_without_tuning_rows_take_turns_with_a_trace_each(monkeypatch):
    def made():
        keras.utils.set_random_seed(0)
        return compiled(member_rows="same", tuning_every=1)

    (ensemble, fresh), (x, y) = (made(), made()), blobs(32)
    traces = []
    step = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda self, data: traces.append(1) or step(self, data))

    def fit(model, tuning_data):
        return model.fit(x, y, batch_size=32, shuffle=False, tuning_data=tuning_data, verbose=0).history

    for number in (20, None, 30, None, 25):
        histories = [fit(each, number and (x[:number] + number, y[:number])) for each in (ensemble, fresh)]
        fresh._trainer.forget_traces()
        assert histories[0].keys() == histories[1].keys() and ("tuning_loss" in histories[0]) == (number is not None)
        for name, values in histories[0].items():
            np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)
    assert len(traces) == 2 + 5


def memory():
    gc.collect()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def graphs():
    """The number of traced functions that are alive."""
    gc.collect()
    return sum(isinstance(each, FuncGraph) for each in gc.get_objects())


@pytest.mark.integration
def test_thirty_fits_and_fifty_predictions_stay_flat(monkeypatch):
    ensemble = compiled(tune_temperature=True)
    x, y = blobs(60)
    traces = []
    step = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda self, data: traces.append(1) or step(self, data))

    def fit(number):
        rows = slice(0, 30 + number)
        ensemble.fit(x, y, batch_size=32, tuning_data=(x[rows] + number, y[rows]), verbose=0)

    def predict(number):
        ensemble.predict_uncertainty(x, [lambda members, _, n=number: members[0, :, 0] + n], verbose=0)

    for call, times, warm in ((fit, 30, 4), (predict, 3 * MOST, 2 * MOST)):
        for number in range(times):
            if number == warm:
                before = memory(), graphs()
            call(number)
        assert memory() < GROWTH * before[0] and graphs() <= before[1]
    assert len(traces) == 1
