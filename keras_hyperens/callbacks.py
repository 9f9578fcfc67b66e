"""Callbacks for `HyperBatchEnsemble.fit`."""

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["HyperparameterHistory", "StopOnNaN"]


class HyperparameterHistory(keras.callbacks.Callback):
    """Records each member's bounds, per epoch, and writes them to TensorBoard when asked.

    Args:
        log_dir: Directory of a TensorBoard run, or `None`.

    Attributes:
        bounds: Hyperparameter name to an array `[epochs + 1, M, 2]` in natural scale; the first entry is the start.

    Example:
    >>> history = HyperparameterHistory()
    >>> # ensemble.fit(..., callbacks=[history]); khe.plots.hyperparameter_path(history.bounds)
    """

    def __init__(self, log_dir: str | None = None) -> None:
        super().__init__()
        self.log_dir = log_dir
        self.bounds: dict[str, np.ndarray] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.bounds = {name: bounds[None] for name, bounds in self.model.hyperparameter_bounds().items()}
        self._writer: Any = None if self.log_dir is None else tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, bounds in self.model.hyperparameter_bounds().items():
            self.bounds[name] = np.concatenate([self.bounds[name], bounds[None]])
            if self._writer is not None:
                self._write(name, bounds, epoch)

    def _write(self, name: str, bounds: np.ndarray, epoch: int) -> None:
        with self._writer.as_default():
            for member, (lower, upper) in enumerate(bounds):
                tf.summary.scalar(f"hyperparameters/{name}/member_{member}/lower", lower, epoch)
                tf.summary.scalar(f"hyperparameters/{name}/member_{member}/upper", upper, epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()


class StopOnNaN(keras.callbacks.Callback):
    """Stops after an epoch whose loss is not finite, and says so; the bounds never take part in it."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not tf.math.is_finite(loss):
            self.model.stop_training = True
            warnings.warn(
                "The training loss is not finite: training stops. Look for NaN in the data, or lower the learning "
                "rate; `EarlyStopping(restore_best_weights=True)` gives back the best weights. "
                f"Received: loss={float(loss)} in epoch {epoch + 1}",
                stacklevel=2,
            )
