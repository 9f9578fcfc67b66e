"""Callbacks for `HyperBatchEnsemble.fit`."""

import os
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["HyperparameterHistory", "LeaveOutDiverged", "StopOnNaN"]
LOOK_EVERY = 20  # steps between checks: each check waits for the device
PATIENCE = 10  # consecutive steps after which a member counts as diverged


class HyperparameterHistory(keras.callbacks.Callback):
    """Callback that records each member's bounds after every epoch, and optionally writes them to TensorBoard.

    Args:
        log_dir: Path of the directory of a TensorBoard run, or `None`.
        in_logs: Whether the logs of `fit` (progress bar and history) include the bounds: for each hyperparameter the
            minimum and maximum over the members, as in `l2_lowest` and `l2_highest`.

    Attributes:
        bounds: Dictionary from hyperparameter names to arrays `[epochs + 1, M, 2]` in natural scale, starting with the
            initial bounds.

    Raises:
        TypeError: If `log_dir` is not a path, or, at the start of training, the model is not a `HyperBatchEnsemble`.
        ValueError: If `in_logs` is not a bool.

    Example:
    >>> history = HyperparameterHistory()
    >>> # ensemble.fit(..., callbacks=[history]); khe.plots.hyperparameter_path(history.bounds["l2"], "l2")
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None, *, in_logs: bool = False) -> None:
        if not isinstance(log_dir, str | os.PathLike | None):
            raise TypeError(f"`log_dir` must be a path. Received: log_dir={log_dir!r}")
        if not isinstance(in_logs, bool):
            raise ValueError(f"`in_logs` must be True or False. Received: in_logs={in_logs!r}")
        super().__init__()
        self.log_dir, self.in_logs = None if log_dir is None else os.fspath(log_dir), in_logs
        self.bounds: dict[str, np.ndarray] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not hasattr(self.model, "hyperparameter_bounds"):
            raise TypeError(
                "This callback records the bounds of a `HyperBatchEnsemble`: remove it for other models. Received: "
                f"model of type {type(self.model).__name__}"
            )
        self.bounds = {name: bounds[None] for name, bounds in self.model.hyperparameter_bounds().items()}
        self._writer: Any = None if self.log_dir is None else tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, bounds in self.model.hyperparameter_bounds().items():
            self.bounds[name] = np.concatenate([self.bounds[name], bounds[None]])
            if self._writer is not None:
                self._write(name, bounds, epoch)
            if self.in_logs and logs is not None:  # shared by all callbacks: later ones receive them
                logs |= {f"{name}_lowest": float(bounds.min()), f"{name}_highest": float(bounds.max())}

    def _write(self, name: str, bounds: np.ndarray, epoch: int) -> None:
        with self._writer.as_default():
            for member, (lower, upper) in enumerate(bounds):
                tf.summary.scalar(f"hyperparameters/{name}/member_{member}/lower", lower, epoch)
                tf.summary.scalar(f"hyperparameters/{name}/member_{member}/upper", upper, epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()


class StopOnNaN(keras.callbacks.Callback):
    """Callback that stops training with a warning after an epoch with a non-finite loss, unless a member caused it.

    The bounds are unaffected.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        at_fault = self.model._trainer.weights.counts.left_out.numpy().any()  # will be excluded permanently
        if loss is not None and not tf.math.is_finite(loss) and not self.model.stop_training and not at_fault:
            self.model.stop_training = True
            warnings.warn(
                "The training loss is not finite: training stops. Check the data for NaN, or lower the learning "
                "rate; `EarlyStopping(restore_best_weights=True)` restores the best weights. "
                f"Received: loss={float(loss)} in epoch {epoch + 1}",
                stacklevel=2,
            )


class LeaveOutDiverged(keras.callbacks.Callback):
    """Callback that excludes members with a persistently non-finite loss or gradient, and warns about skipped steps."""

    _living = 0  # at the end of the last epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._counts.restart()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if (batch + 1) % LOOK_EVERY == 0:
            self._look(PATIENCE)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._look(PATIENCE)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._look(PATIENCE)
        steps, skipped = int(self._counts.steps.numpy()), int(self._counts.skipped.numpy())
        left_out = self._counts.left_out.numpy()
        members = {k: int(left_out[k]) for k in self.model._members.living if left_out[k]}
        if steps and skipped == steps and not members and len(self.model._members.living) == self._living:
            self.model.stop_training = True  # no step changes the weights
            warnings.warn(
                "The training loss or gradients are not finite in any step: all were skipped, and training stops. "
                "Check the data for NaN, or lower the learning rate. "
                f"Received: loss={float((logs or {}).get('loss', np.nan))} in epoch {epoch + 1}",
                stacklevel=2,
            )
        elif skipped or members:
            warnings.warn(
                "In some steps a loss or gradients were not finite: members were excluded from these steps, or, if "
                "the members share the affected weights, the steps were skipped. Check the data for NaN, or lower the "
                f"learning rate. Received: in epoch {epoch + 1}, {skipped} of {steps} steps skipped; steps without a "
                f"member, by its number: {members}",
                stacklevel=2,
            )
        self._living = len(self.model._members.living)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._counts.in_a_row.assign(np.zeros(self._counts.in_a_row.shape))
        self._living = len(self.model._members.living)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._look(2)

    @property
    def _counts(self) -> Any:
        return self.model._trainer.weights.counts

    def _look(self, patience: int) -> None:
        in_a_row = self._counts.in_a_row.numpy()
        diverged = [k for k in self.model._members.living if in_a_row[k] >= patience]
        if diverged:
            self.model.leave_out(diverged)
            warnings.warn(
                "Members with a persistently infinite or NaN loss or gradient are no longer trained and are excluded "
                "from predictions; the others continue. Narrow the hyperparameter ranges, or lower the learning "
                "rate. "
                f"Received: members {diverged} of {self.model.ensemble_size}",
                stacklevel=3,
            )
