"""Data of a cross-validated search, fold by fold."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from keras_hyperens.search.folds import Fold
from keras_hyperens.search.folds import digest_of_folds
from keras_hyperens.search.folds import folds_of
from keras_hyperens.search.validation_rows import ValidationRows
from keras_hyperens.search.validation_rows import check_lengths

Samples = tuple[Any, Any, Any]  # x, y, sample_weight


class FoldData:
    """Training and held-out data of one fold.

    Args:
        fold: Indices of its samples.
        samples: All samples of the search.
        output_activation: As in `HyperDeepEnsemble`.
    """

    def __init__(self, fold: Fold, samples: Samples, output_activation: Any) -> None:
        self.fold, self.samples, self.output_activation = fold, samples, output_activation

    @cached_property
    def rows(self) -> ValidationRows:
        """The held-out samples."""
        return ValidationRows(_given(_part(self.samples, self.fold.held_out)), self.output_activation)

    def arguments(self) -> dict[str, Any]:
        """Returns arguments of `fit`, copied for a single training run."""
        named = dict(zip(("x", "y", "sample_weight"), _part(self.samples, self.fold.training)))
        return {**{name: part for name, part in named.items() if part is not None}, "validation_data": self.rows.data}


class CrossValidation:
    """Folds of the samples of a search.

    Args:
        splitter: Number of folds, or a splitter.
        samples: `(x, y, sample_weight)`, arrays or structures of arrays.
        groups: Groups of the samples, or `None`.
        seed: Random seed for a number of folds.
        output_activation: As in `HyperDeepEnsemble`.

    Attributes:
        held_out: All held-out samples, in their original order: the data of the selection. A sample occurs once for
            each fold that holds it out.

    Raises:
        ValueError: If the samples are not arrays with equal lengths, or the folds are invalid.
    """

    def __init__(self, splitter: Any, samples: Samples, groups: Any, seed: int, output_activation: Any) -> None:
        self.samples = _checked(samples)
        check_lengths(*self.samples, "training data")
        labels = [np.asarray(leaf) for leaf in keras.tree.flatten(samples[1])]
        self.folds = folds_of(splitter, labels, groups, seed)
        self.of_folds = [FoldData(fold, self.samples, output_activation) for fold in self.folds]
        indices = np.concatenate([fold.held_out for fold in self.folds])
        self._order = np.argsort(indices, kind="stable")
        is_partition = np.array_equal(indices[self._order], np.arange(len(labels[0])))
        self.held_out = _given(self.samples if is_partition else _part(self.samples, indices[self._order]))

    def joined(self, of_folds: Sequence[np.ndarray]) -> np.ndarray:
        """Joins predictions of the folds for their held-out samples, in the order of `held_out`."""
        return np.concatenate(of_folds)[self._order]

    def digest(self) -> str:
        """Returns a fingerprint of the folds."""
        return digest_of_folds(self.folds)


def _checked(samples: Samples) -> Samples:
    """Returns the samples, if they are arrays."""
    leaves = [leaf for leaf in keras.tree.flatten(samples) if leaf is not None]
    x, y, _ = samples
    if y is None or not all(map(_has_indices, leaves)):
        raise ValueError(
            "`cross_validation` selects samples by index and requires `x` and `y` as arrays: convert generators, "
            "`tf.data` datasets and ragged tensors. "
            f"Received: x of type {type(x).__name__}, y of type {type(y).__name__}"
        )
    return samples


def _has_indices(leaf: Any) -> bool:
    is_ragged = hasattr(leaf, "row_splits") or hasattr(leaf, "dense_shape")  # or sparse
    return bool(getattr(leaf, "shape", ())) and not is_ragged


def _part(samples: Samples, indices: np.ndarray) -> Samples:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else _taken(leaf, indices), samples)


def _taken(leaf: Any, indices: np.ndarray) -> Any:
    return leaf.iloc[indices] if hasattr(leaf, "iloc") else np.asarray(leaf)[indices]


def _given(samples: Samples) -> tuple[Any, ...]:
    """Returns the samples in the format of `validation_data`."""
    return samples[:2] if samples[2] is None else samples
