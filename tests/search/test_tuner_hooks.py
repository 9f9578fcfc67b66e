"""The garbage collector during a stage, and afterwards."""

import gc

import keras
import pytest

from keras_hyperens.search.memory import frozen_garbage_collector
from tests.search.problem import eager_model
from tests.search.problem import make_builder
from tests.search.problem import search


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
