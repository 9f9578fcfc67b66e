"""The validation rows: what every candidate predicts, and the selection is scored on."""

import hashlib
from typing import Any

import keras
import numpy as np

from keras_hyperens import heads
from keras_hyperens.models.batches import batches


class ValidationRows:
    """Inputs to predict on, in the same order every time, and the labels of each output.

    Args:
        data: What `fit` takes as `validation_data`: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.

    Raises:
        ValueError: If there are no rows or no labels, or a second pass gives other rows.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.x = data[0] if isinstance(data, tuple | list) else data
        self.labels = self._read_labels()
        if not self.labels or not all(len(output) for output in self.labels):
            raise ValueError("`validation_data` must have rows and labels. Received: none")
        if not isinstance(data, tuple | list):
            again = self._read_labels()
            if len(again) != len(self.labels) or not all(map(np.array_equal, self.labels, again)):
                raise ValueError(
                    "`validation_data` must give the same rows in the same order every time: do not shuffle it, and "
                    "make a dataset of a generator. Received: a second pass with other labels"
                )

    names: list[str] | None = None  # of the outputs, if the labels have names

    def _read_labels(self) -> list[np.ndarray]:
        structures = [labels for _, labels, _ in batches(self.data, "validation_data")]
        labels = [keras.tree.flatten(structure) for structure in structures]
        if not labels or any(output is None for output in labels[0]):
            return []
        self.names = sorted(structures[0]) if isinstance(structures[0], dict) else None
        return [np.concatenate([keras.ops.convert_to_numpy(part) for part in parts]) for parts in zip(*labels)]

    def digest(self) -> str:
        """A fingerprint of the labels."""
        digest = hashlib.sha256()
        for output in self.labels:
            digest.update(str((output.shape, str(output.dtype))).encode() + np.ascontiguousarray(output).tobytes())
        return digest.hexdigest()[:16]

    def outputs(self, model: keras.Model, batch_size: int | None) -> Any:
        """What a model gives for these rows."""
        in_batches = {} if batch_size is None or not isinstance(self.data, tuple | list) else {"batch_size": batch_size}
        return model.predict(self.x, verbose=0, **in_batches)

    def predictions(self, model: keras.Model, outputs: Any, dtype: str) -> tuple[list[np.ndarray], list[Any]]:
        """Predictions of each output, `[N, ..., C]`, probabilities where the loss implies them, and their heads."""
        if self.names is not None and isinstance(outputs, list | tuple):
            outputs = dict(zip(model.output_names, outputs))  # in the order of the labels
        kinds = heads.per_output(heads.heads_of_losses(model.loss), outputs, getattr(model, "output_names", None))
        flat = keras.tree.flatten(outputs)
        predictions = [heads.prediction(output, head) for output, head in zip(flat, kinds, strict=True)]
        return [keras.ops.convert_to_numpy(each).astype(dtype) for each in predictions], kinds
