"""Validation data: inputs of the candidates' predictions and of the selection."""

import hashlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from keras_hyperens import likelihoods
from keras_hyperens.masks import mask_of
from keras_hyperens.models.data import batches
from keras_hyperens.search.digests import BatchesDigest
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


class ValidationRows:
    """Inputs to predict on, always in the same order, and labels and weights of each output.

    Args:
        data: As `validation_data` of `fit`: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        output_activation: As in `HyperDeepEnsemble`.

    Attributes:
        labels: Labels of each output.
        weights: Weights of each output, or `None`.
        names: Names of the outputs, if the labels have names.

    Raises:
        ValueError: If there are no samples or no labels, lengths differ, or a second pass returns other samples.
    """

    def __init__(self, data: TensorTree, output_activation: Any = "auto") -> None:
        if isinstance(data, Iterator):
            raise ValueError(
                "`validation_data` must return the same samples in the same order every time: convert a generator to a "
                "dataset, for example with `tf.data.Dataset.from_generator`. Received: a generator"
            )
        self.data, self.output_activation = data, output_activation
        self.x = data[0] if isinstance(data, tuple | list) else data
        self.names: list[str] | None = None
        self.labels, self.weights, self.inputs = self._read()
        if not self.labels or not all(len(output) for output in self.labels):
            raise ValueError("`validation_data` must have samples and labels. Received: none")
        if not isinstance(data, tuple | list):
            again, _, _ = self._read()
            if len(again) != len(self.labels) or not all(map(np.array_equal, self.labels, again)):
                raise ValueError(
                    "`validation_data` must return the same samples in the same order every time: do not shuffle them, "
                    "and convert generators to datasets. Received: a second pass with other labels"
                )

    def _read(self) -> tuple[list[np.ndarray], list[np.ndarray | None], str]:
        """Returns labels and weights of each output, and a fingerprint of the inputs."""
        labels, weights, inputs = [], [], BatchesDigest()
        for x, y, sample_weight in batches(self.data, "validation_data"):
            flat = keras.tree.flatten(y)
            if any(output is None for output in flat):
                return [], [], ""
            self.names = sorted(y) if isinstance(y, dict) else None
            labels.append([keras.ops.convert_to_numpy(output) for output in flat])
            weights.append(_of_outputs(sample_weight, y, len(flat)))
            check_lengths(x, labels[-1], weights[-1], "validation_data")
            inputs.add(x)
            del x
        return _joined(labels), _joined(weights), inputs.hexdigest()

    def leave_out_masked(self, model: keras.Model, batch_size: int | None) -> bool:
        """Sets the weights of masked positions to 0, as in Keras losses. Returns whether there are any.

        Args:
            model: A model like the candidates: masks only depend on inputs.
            batch_size: As in `outputs`.
        """
        counting = _Counting(model)
        counting.predict(self.first(fixed_batch_size(model) or 1)[0], verbose=0)
        if not counting.has_masks:
            return False
        counts = self._in_order(model, counting.outputs, self.outputs(counting, batch_size))
        for number, each in enumerate(counts):
            if not each.all():
                self.weights[number] = each * _beside(self.weights[number], each)
        return True

    def _in_order(self, model: keras.Model, outputs: TensorTree, others: Any = None) -> list[Any]:
        """Returns the outputs, or other values per output, in the order of the labels."""
        flat = keras.tree.flatten(outputs) if others is None else others
        if self.names is None or not isinstance(outputs, list | tuple):
            return flat
        named = dict(zip(model.output_names, flat))
        return [named[name] for name in self.names]

    def digest(self) -> str:
        """Returns a fingerprint of labels and weights."""
        digest = hashlib.sha256()
        for number, output in enumerate([*self.labels, *self.weights]):  # the index of weighted outputs matters
            if output is not None:
                described = str((number, output.shape, str(output.dtype)))
                digest.update(described.encode() + np.ascontiguousarray(output).tobytes())
        return digest.hexdigest()[:16]

    def first(self, number: int = 1) -> tuple[Any, Any]:
        """Returns inputs and labels of the first samples."""
        x, y, _ = next(iter(batches(self.data, "validation_data")))
        return keras.tree.map_structure(lambda leaf: leaf[:number], (x, y))

    def outputs(self, model: keras.Model, batch_size: int | None) -> TensorTree:
        """Returns the outputs of a model for these samples."""
        in_batches = {} if batch_size is None or not isinstance(self.data, tuple | list) else {"batch_size": batch_size}
        return model.predict(self.x, verbose=0, **in_batches)

    def predictions(
        self, model: keras.Model, outputs: TensorTree, dtype: str
    ) -> tuple[list[np.ndarray], list[likelihoods.Likelihood]]:
        """Returns predictions of each output, `[N, ..., C]`, by its likelihood, and these likelihoods."""
        is_known = self.output_activation != "auto"
        setting = likelihoods.named(self.output_activation) if is_known else likelihoods.of_model(model)
        of_outputs = likelihoods.of_each_output(setting, outputs, getattr(model, "output_names", None))
        pairs = self._in_order(model, outputs, list(zip(keras.tree.flatten(outputs), of_outputs, strict=True)))
        predictions = [keras.ops.convert_to_numpy(each.predict(output)).astype(dtype) for output, each in pairs]
        return predictions, [likelihood for _, likelihood in pairs]


class _Counting(keras.Model):
    """Model that predicts which positions `[B, ...]` of each output of another model count."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._of = SimpleNamespace(model=model)  # the namespace hides it from Keras' tracking
        self.run_eagerly, self.has_masks, self.outputs = True, False, None
        self.built = True

    def predict_step(self, data: TensorTree) -> list[Any]:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.outputs = self._of.model(x, training=False)
        return list(map(self._counts, keras.tree.flatten(self.outputs)))

    def _counts(self, output: Tensor) -> Tensor:
        mask = mask_of(output)
        if mask is None or mask.shape != output.shape[:-1]:
            return keras.ops.ones(output.shape[:-1])
        self.has_masks = True
        return keras.ops.cast(mask, "float32")


def fixed_batch_size(model: keras.Model) -> int | None:
    """Returns the batch size of a model, if it is fixed."""
    inputs = getattr(model, "inputs", None)
    return inputs[0].shape[0] if inputs else None


def check_lengths(x: Any, y: Any, sample_weight: Any, name: str) -> None:
    """Raises a `ValueError` unless arrays have equal lengths."""
    leaves = [leaf for leaf in keras.tree.flatten((x, y, sample_weight)) if getattr(leaf, "shape", None)]
    lengths = [int(leaf.shape[0]) for leaf in leaves if leaf.shape[0] is not None]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"Inputs, labels and weights of {name} must have equal lengths. Received: arrays of lengths {lengths}"
        )


def _of_outputs(weights: Any, labels: Any, number: int) -> list[np.ndarray | None]:
    """Returns weights of each output, in the order of the labels; a single array applies to all, as in Keras."""
    if isinstance(weights, dict) and isinstance(labels, dict):
        flat = [weights.get(name) for name in sorted(labels)]
    else:
        flat = keras.tree.flatten(weights)
    flat = flat * number if len(flat) == 1 else flat
    return [None if each is None else keras.ops.convert_to_numpy(each) for each in flat]


def _beside(weights: np.ndarray | None, masks: np.ndarray) -> Any:
    """Returns weights of samples, or of positions, combined with masks of positions."""
    if weights is None:
        return 1.0
    weights = weights[..., 0] if weights.ndim > masks.ndim else weights
    return weights.reshape(weights.shape + (1,) * (masks.ndim - weights.ndim))


def _joined(batches_of_outputs: list[list[Any]]) -> list[Any]:
    return [None if parts[0] is None else np.concatenate(parts) for parts in zip(*batches_of_outputs)]
