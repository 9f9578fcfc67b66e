"""What `predict` gives besides the prediction: a model for each such thing, so that threads share nothing."""

import gc
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras

from keras_hyperens.models.temperatures import Temperatures
from keras_hyperens.models.temperatures import temperature_scope
from keras_hyperens.types import TensorTree

MOST = 8  # views of an ensemble; a measure that is a new function at every call needs a new view each time
_making, _preparing = threading.Lock(), threading.Lock()


class SharedModel(keras.Model):
    """A Keras model that several threads may ask for its first prediction at the same time. Abstract.

    Its function is made once: with the first one TensorFlow prepares the object, attribute by attribute, which no other
    thread may find half done.
    """

    def make_predict_function(self, force: bool = False) -> Any:
        with _preparing:
            return super().make_predict_function(force)


class View(SharedModel):
    """An ensemble whose `predict` gives something else; it has no variables, and traces functions of its own.

    Args:
        ensemble: The ensemble.
        describe: What it gives of a batch.
        temperatures: Those of its predictions, whatever the ensemble has later.
    """

    def __init__(
        self, ensemble: keras.Model, describe: Callable[[Any], Any], temperatures: Temperatures | None
    ) -> None:
        super().__init__()
        # In a namespace Keras does not track it: the ensemble is no part of its view.
        self._viewed = SimpleNamespace(ensemble=ensemble, describe=describe, temperatures=temperatures)
        self.run_eagerly = ensemble.run_eagerly
        self.jit_compile = ensemble.jit_compile
        self.steps_per_execution = ensemble.steps_per_execution
        self.built = True

    def predict_step(self, data: TensorTree) -> TensorTree:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with temperature_scope(self._viewed.ensemble, self._viewed.temperatures):
            return self._viewed.describe(x)


class Views:
    """The views of an ensemble, each made once."""

    def __init__(self) -> None:
        self.by_kind: dict[Any, View] = {}

    def of(
        self, ensemble: keras.Model, kind: Any, describe: Callable[[Any], Any], temperatures: Temperatures | None
    ) -> View:
        """The view of this kind, which does the same at every call."""
        settings = (ensemble.run_eagerly, ensemble.jit_compile, ensemble.steps_per_execution)
        key = (kind, temperatures, settings)
        with _making, ensemble.distribute_strategy.scope():
            view = self.by_kind.pop(key, None) or View(ensemble, describe, temperatures)
            self.by_kind[key] = view  # the last one that was used is the last one to go
            if len(self.by_kind) > MOST:
                self._drop_oldest()
            return view

    def _drop_oldest(self) -> None:
        for key in list(self.by_kind)[: MOST // 2]:
            del self.by_kind[key]
        gc.collect()  # a graph refers to itself, and Python would let hundreds of them gather
