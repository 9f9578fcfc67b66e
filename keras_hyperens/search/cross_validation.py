"""Cross-validation: the data of a search, fold by fold."""

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
    """What one training of a candidate gets, and what it predicts.

    Args:
        fold: Its samples.
        samples: All of the search.
        output_activation: As in `HyperDeepEnsemble`.
    """

    def __init__(self, fold: Fold, samples: Samples, output_activation: Any) -> None:
        self.fold, self.samples, self.output_activation = fold, samples, output_activation

    @cached_property
    def rows(self) -> ValidationRows:
        """The samples that are held out."""
        return ValidationRows(_given(_part(self.samples, self.fold.held_out)), self.output_activation)

    def arguments(self) -> dict[str, Any]:
        """Of `fit`: copies, which a training needs no longer than it takes."""
        named = dict(zip(("x", "y", "sample_weight"), _part(self.samples, self.fold.training)))
        return {**{name: part for name, part in named.items() if part is not None}, "validation_data": self.rows.data}


class CrossValidation:
    """The samples of a search, each of them held out by some fold.

    Args:
        splitter: The number of folds, or a splitter.
        samples: `(x, y, sample_weight)`, arrays or structures of them.
        groups: Of the samples, or `None`.
        seed: Of a number of folds.
        output_activation: As in `HyperDeepEnsemble`.

    Attributes:
        held_out: All samples that are held out, in their order: what selection sees. One that several folds hold out
            is there several times, and one that none does is not.

    Raises:
        ValueError: If the samples are not arrays of equal lengths, or folds are none.
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
        """What the folds have for their held-out samples, in the order of `held_out`."""
        return np.concatenate(of_folds)[self._order]

    def digest(self) -> str:
        """A fingerprint of the folds."""
        return digest_of_folds(self.folds)


def _checked(samples: Samples) -> Samples:
    """Samples whose parts have indices."""
    leaves = [leaf for leaf in keras.tree.flatten(samples) if leaf is not None]
    x, y, _ = samples
    if y is None or not all(map(_has_indices, leaves)):
        raise ValueError(
            "`cross_validation` takes samples by their index, so it needs `x` and `y` as arrays: generators, `tf.data` "
            "datasets and ragged tensors have none. "
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
    """As `validation_data`."""
    return samples[:2] if samples[2] is None else samples
