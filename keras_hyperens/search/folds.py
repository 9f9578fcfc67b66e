"""Folds of cross-validation: indices of training and held-out samples. This module only uses NumPy."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_one_hot


@dataclass(frozen=True)
class Fold:
    """Indices of training samples and held-out samples."""

    training: np.ndarray
    held_out: np.ndarray


def check_cross_validation(cross_validation: Any) -> None:
    """Raises a `ValueError` unless the argument is a number of folds or a splitter."""
    is_number = is_integer(cross_validation) and cross_validation >= 2
    has_split = callable(getattr(cross_validation, "split", None)) and not isinstance(cross_validation, str)
    if not is_number and not has_split:
        raise ValueError(
            "`cross_validation` must be an integer of at least 2, or a splitter with a method `split(X, y, groups)`. "
            f"Received: cross_validation={cross_validation!r}"
        )


def folds_of(cross_validation: Any, labels: Sequence[np.ndarray], groups: Any, seed: int) -> list[Fold]:
    """Returns the folds of samples.

    Args:
        cross_validation: Number of folds, or a splitter with the interface of scikit-learn.
        labels: Labels of each output, `[N, ...]`. If a single output has classes, and there are no groups, a number of
            folds splits the classes evenly.
        groups: `[N]` or `None`. Samples of a group are held out together; a splitter receives the groups unchanged.
        seed: Random seed for a number of folds; a splitter has its own.

    Raises:
        ValueError: If there are fewer samples, or groups, than folds, or a splitter returns invalid folds.
    """
    samples = len(labels[0])
    groups = None if groups is None else _checked_groups(groups, samples)
    classes = _classes(labels[0]) if len(labels) == 1 else None
    if is_integer(cross_validation):
        places = _places(int(cross_validation), samples, classes, groups, np.random.default_rng(seed))
        numbers = range(int(cross_validation))
        return [Fold(np.flatnonzero(places != number), np.flatnonzero(places == number)) for number in numbers]
    of_splitter = labels[0] if classes is None else classes
    found = cross_validation.split(np.zeros((samples, 1)), of_splitter, groups)
    folds = [Fold(np.asarray(training), np.asarray(held_out)) for training, held_out in found]
    _check(folds, samples, cross_validation)
    return folds


def digest_of_folds(folds: Sequence[Fold]) -> str:
    """Returns a fingerprint of the folds."""
    digest = hashlib.sha256()
    for fold in folds:
        for indices in (fold.training, fold.held_out):
            digest.update(np.asarray([len(indices), *indices], "int64").tobytes())
    return digest.hexdigest()[:16]


def _places(
    number: int, samples: int, classes: np.ndarray | None, groups: np.ndarray | None, random: np.random.Generator
) -> np.ndarray:
    """Returns the index of the fold that holds out each sample, `[N]`."""
    units, unit_of = (samples, None) if groups is None else _numbered(groups)
    if units < number:
        what = "samples" if groups is None else "groups"
        raise ValueError(
            f"There must be at least as many {what} as folds: choose fewer folds. "
            f"Received: cross_validation={number}, {units} {what}"
        )
    order = random.permutation(units)
    if unit_of is not None:
        return _of_groups(number, np.bincount(unit_of), order)[unit_of]
    if classes is not None:
        order = order[
            np.argsort(classes[order], kind="stable")
        ]  # by class, so that consecutive folds receive the samples of a class
    places = np.empty(samples, "int64")
    places[order] = np.arange(samples) % number
    return places


def _of_groups(number: int, sizes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns the fold of each group: assigns the largest groups first, each to the smallest fold so far."""
    places, filled = np.empty(len(sizes), "int64"), np.zeros(number, "int64")
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        places[group] = filled.argmin()
        filled[places[group]] += sizes[group]
    return places


def _numbered(groups: np.ndarray) -> tuple[int, np.ndarray]:
    names, numbers = np.unique(groups, return_inverse=True)
    return len(names), numbers.reshape(-1)


def _classes(labels: np.ndarray) -> np.ndarray | None:
    """Returns class indices `[N]` of labels with few integer values or one-hot labels; `None` for others."""
    if labels.ndim == 2 and labels.shape[1] > 1 and is_one_hot(labels):
        return labels.argmax(-1)
    if labels.size != len(labels) or labels.dtype.kind not in "biuf":
        return None
    flat = labels.reshape(-1)
    values = np.unique(flat)
    return flat.astype("int64") if 2 * len(values) <= len(flat) and (values == np.floor(values)).all() else None


def _checked_groups(groups: Any, samples: int) -> np.ndarray:
    groups = np.asarray(groups)
    if groups.shape != (samples,):
        raise ValueError(
            f"`groups` must have one entry for each of {samples} samples. Received: groups of shape {groups.shape}"
        )
    return groups


def _check(folds: list[Fold], samples: int, splitter: Any) -> None:
    """Raises a `ValueError` unless each fold has training and held-out samples, and these are distinct."""
    for number, fold in enumerate(folds):
        both = np.concatenate([fold.training, fold.held_out])
        is_whole = len(fold.training) and len(fold.held_out) and both.dtype.kind in "iu"
        if not is_whole or both.min() < 0 or both.max() >= samples or np.isin(fold.held_out, fold.training).any():
            raise ValueError(
                f"Each fold of `cross_validation` must have indices below {samples} of training samples, and of other, "
                f"held-out samples. Received: fold {number} of {splitter!r} with {len(fold.training)} and "
                f"{len(fold.held_out)} indices"
            )
    if not folds:
        raise ValueError(f"`cross_validation` must have folds. Received: none from {splitter!r}")
