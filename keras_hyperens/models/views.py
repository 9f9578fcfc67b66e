"""Other results of `predict`: one model per kind of result, so that threads share no state."""

import gc
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras

from keras_hyperens.models.temperatures import Temperatures
from keras_hyperens.models.temperatures import temperature_scope
from keras_hyperens.types import TensorTree

MOST = 8  # views of an ensemble, to limit those of functions that are new at every call
_making, _preparing = threading.Lock(), threading.Lock()


class SharedModel(keras.Model):
    """Keras model whose first prediction several threads may request at the same time. Abstract.

    Its function is created once: with the first one TensorFlow prepares the object, attribute by attribute, which must
    not happen concurrently.
    """

    def make_predict_function(self, force: bool = False) -> Any:
        with _preparing:
            return super().make_predict_function(force)


class View(SharedModel):
    """Ensemble whose `predict` returns another result, without variables and with its own traces.

    Args:
        ensemble: The ensemble.
        describe: Function of a batch that returns the result.
        temperatures: Temperatures of its predictions, independent of later changes of the ensemble.
    """

    def __init__(
        self, ensemble: keras.Model, describe: Callable[[Any], Any], temperatures: Temperatures | None
    ) -> None:
        super().__init__()
        # The namespace keeps Keras from tracking the ensemble, which is not part of its view.
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
    """Views of an ensemble, each created once."""

    def __init__(self) -> None:
        self.by_kind: dict[Any, View] = {}

    def of(
        self, ensemble: keras.Model, kind: Any, describe: Callable[[Any], Any], temperatures: Temperatures | None
    ) -> View:
        """Returns the view of this kind."""
        settings = (ensemble.run_eagerly, ensemble.jit_compile, ensemble.steps_per_execution)
        key = (kind, temperatures, settings)
        with _making, ensemble.distribute_strategy.scope():
            view = self.by_kind.pop(key, None) or View(ensemble, describe, temperatures)
            self.by_kind[key] = view  # ordered by last use
            if len(self.by_kind) > MOST:
                self._drop_oldest()
            return view

    def _drop_oldest(self) -> None:
        for key in list(self.by_kind)[: MOST // 2]:
            del self.by_kind[key]
        gc.collect()  # graphs have reference cycles, and hundreds of them could accumulate
