"""Callback that plots the members' hyperparameters during training."""

import io
import os
import pathlib
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_hyperens.callbacks import HyperparameterHistory
from keras_hyperens.plots.hyperparameters import hyperparameter_path

WIDTH, HEIGHT = 5, 4  # per hyperparameter, in inches


class TuningPath(HyperparameterHistory):
    """Callback that plots `hyperparameter_path` of every hyperparameter after each epoch of `HyperBatchEnsemble.fit`.

    It is also a `HyperparameterHistory` with the numbers in `bounds`.

    Args:
        directory: Directory for `epoch_0001.png`, `epoch_0002.png`, ...; it is created if necessary.
        log_dir: Directory of a TensorBoard run; plots are written under "images" and bounds as scalars.

    Raises:
        TypeError: If `directory` or `log_dir` is not a path.
        ValueError: If neither is set.

    Example:
    >>> tuning_path = TuningPath("pictures")
    >>> # ensemble.fit(..., callbacks=[tuning_path])
    """

    def __init__(
        self, directory: str | os.PathLike[str] | None = None, *, log_dir: str | os.PathLike[str] | None = None
    ) -> None:
        if directory is None and log_dir is None:
            raise ValueError("Set `directory`, `log_dir`, or both. Received: directory=None, log_dir=None")
        if not isinstance(directory, str | os.PathLike | None):
            raise TypeError(f"`directory` must be a path. Received: directory={directory!r}")
        super().__init__(log_dir)
        self.directory = None if directory is None else pathlib.Path(directory)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if not self.bounds:
            raise ValueError(
                f"No hyperparameters to plot. Received: ensemble {self.model.name!r} without hyperparameters"
            )
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        picture = _png(self._figure())
        if self.directory is not None:
            (self.directory / f"epoch_{epoch + 1:04d}.png").write_bytes(picture)
        if self._writer is not None:
            with self._writer.as_default():
                tf.summary.image("hyperparameters", tf.io.decode_png(picture)[None], epoch)

    def _figure(self) -> Figure:
        size = (WIDTH * len(self.bounds), HEIGHT)
        figure, axes = plt.subplots(1, len(self.bounds), figsize=size, layout="constrained", squeeze=False)
        for ax, (name, bounds) in zip(axes[0], self.bounds.items(), strict=True):
            entry = self.model.space[name]
            hyperparameter_path(bounds, name.replace("$", r"\$"), entry.sampling, ax)
            values = np.concatenate([bounds.ravel(), [entry.min_value, entry.max_value]])
            ax.set_ylim(values.min(), max(values.max(), ax.get_ylim()[1]))  # the same range in every plot
        return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    plt.close(figure)
    return buffer.getvalue()
