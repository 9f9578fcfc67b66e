"""The folds of cross-validation: which samples train, and which are held out. NumPy alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_one_hot


@dataclass(frozen=True)
class Fold:
    """Indices of samples: of those that train, and of those that are held out."""

    training: np.ndarray
    held_out: np.ndarray


def check_cross_validation(cross_validation: Any) -> None:
    """Raises a `ValueError` for what is neither a number of folds nor a splitter."""
    is_number = is_integer(cross_validation) and cross_validation >= 2
    has_split = callable(getattr(cross_validation, "split", None)) and not isinstance(cross_validation, str)
    if not is_number and not has_split:
        raise ValueError(
            "`cross_validation` must be an integer of at least 2, or a splitter with a method `split(X, y, groups)`. "
            f"Received: cross_validation={cross_validation!r}"
        )


def folds_of(cross_validation: Any, labels: Sequence[np.ndarray], groups: Any, seed: int) -> list[Fold]:
    """The folds of samples.

    Args:
        cross_validation: Their number, or a splitter of scikit-learn or like one.
        labels: Of each output, `[N, ...]`. Folds have equal shares of classes where the only output has classes.
        groups: `[N]` or `None`. Samples of a group are held out together; a splitter gets them as they are.
        seed: Of a number of folds; a splitter has its own.

    Raises:
        ValueError: If there are fewer samples, or groups, than folds, or folds are none.
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
    """A fingerprint of the folds."""
    digest = hashlib.sha256()
    for fold in folds:
        for indices in (fold.training, fold.held_out):
            digest.update(np.asarray([len(indices), *indices], "int64").tobytes())
    return digest.hexdigest()[:16]


def _places(
    number: int, samples: int, classes: np.ndarray | None, groups: np.ndarray | None, random: np.random.Generator
) -> np.ndarray:
    """The fold in which each sample is held out, `[N]`."""
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
        order = order[np.argsort(classes[order], kind="stable")]  # dealt out class by class
    places = np.empty(samples, "int64")
    places[order] = np.arange(samples) % number
    return places


def _of_groups(number: int, sizes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The fold of each group: the largest first, each into the fold that is smallest so far."""
    places, filled = np.empty(len(sizes), "int64"), np.zeros(number, "int64")
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        places[group] = filled.argmin()
        filled[places[group]] += sizes[group]
    return places


def _numbered(groups: np.ndarray) -> tuple[int, np.ndarray]:
    names, numbers = np.unique(groups, return_inverse=True)
    return len(names), numbers.reshape(-1)


def _classes(labels: np.ndarray) -> np.ndarray | None:
    """Class indices `[N]` of labels that are few whole numbers or one-hot; `None` for others."""
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
    """Raises a `ValueError` unless each fold has samples of both kinds, and none of both."""
    for number, fold in enumerate(folds):
        both = np.concatenate([fold.training, fold.held_out])
        is_whole = len(fold.training) and len(fold.held_out) and both.dtype.kind in "iu"
        if not is_whole or both.min() < 0 or both.max() >= samples or np.isin(fold.held_out, fold.training).any():
            raise ValueError(
                f"Each fold of `cross_validation` must have indices below {samples} of samples that train, and of "
                f"others that are held out. Received: fold {number} of {splitter!r} with {len(fold.training)} and "
                f"{len(fold.held_out)} indices"
            )
    if not folds:
        raise ValueError(f"`cross_validation` must have folds. Received: none from {splitter!r}")
