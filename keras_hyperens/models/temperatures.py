"""Temperatures of an ensemble's predictions: fit, application, and configuration."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens import masks
from keras_hyperens.sample_weights import checked_weights
from keras_hyperens.types import ArrayLike
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

PER = ("ensemble", "member")


@dataclass(frozen=True)
class Temperatures:
    """Temperatures of each output, in the order of `keras.tree.flatten`: one number, or one per member."""

    per: str
    values: tuple[Any, ...]

    def of_members(self, members: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
        """Applies temperatures per member, if any, to the members' predictions `[M, B, ...]`."""
        return self._applied(members, likelihoods) if self.per == "member" else members

    def of_prediction(self, prediction: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
        """Applies a temperature of the ensemble, if any, to the combined prediction `[B, ...]`."""
        return self._applied(prediction, likelihoods) if self.per == "ensemble" else prediction

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Temperatures":
        """Restores the result of `dataclasses.asdict`, also from JSON."""
        return cls(config["per"], tuple(tuple(v) if isinstance(v, list) else v for v in config["values"]))

    def _applied(self, outputs: TensorTree, likelihoods: LikelihoodTree) -> TensorTree:
        flat = keras.tree.flatten(outputs)
        tempered = [
            masks.with_mask(likelihood.temper(output, _beside(temperature, output)), masks.mask_of(output))
            for output, likelihood, temperature in zip(flat, keras.tree.flatten(likelihoods), self.values, strict=True)
        ]
        return keras.tree.pack_sequence_as(outputs, tempered)


_scoped: ContextVar[tuple[Any, Temperatures | None] | None] = ContextVar("keras_hyperens_temperatures", default=None)


@contextmanager
def temperature_scope(ensemble: keras.Model, temperatures: Temperatures | None) -> Iterator[None]:
    """Context manager: predictions inside have these temperatures, or none, also if another thread sets others."""
    token = _scoped.set((ensemble, temperatures))
    try:
        yield
    finally:
        _scoped.reset(token)


def temperatures_of(ensemble: keras.Model, own: Temperatures | None) -> Temperatures | None:
    """Returns the temperatures of the scope, if there is one of this ensemble, or else its own."""
    scoped = _scoped.get()
    return scoped[1] if scoped is not None and scoped[0] is ensemble else own


def check_per(per: str) -> None:
    """Raises a `ValueError` for an unknown kind of temperatures."""
    if per not in PER:
        raise ValueError(f"`per` must be one of {PER}. Received: per={per!r}")


def fitted(
    members: TensorTree,
    prediction: TensorTree,
    labels: TensorTree,
    likelihoods: LikelihoodTree,
    per: str,
    weights: list[Any],
    prior_rows: float,
) -> Temperatures:
    """Fits the temperatures that maximize the likelihood of these samples.

    Args:
        members, prediction: Predictions without temperatures, `[M, B, ...]` and `[B, ...]`, NumPy.
        labels: Labels as the loss takes them, in the structure of the outputs.
        likelihoods: Likelihood of each output, in that structure.
        per: `"ensemble"` or `"member"`.
        weights: Weight of each sample, or position, of each output.
        prior_rows: As in `calibration.fit_temperature`.
    """
    flat = map(keras.tree.flatten, (members, prediction, labels, likelihoods))
    values: list[Any] = []
    for of_members, combined, target, likelihood, weight in zip(*flat, weights, strict=True):
        if per == "ensemble":
            values.append(likelihood.fit_temperature(combined, target, weight, prior_rows))
        else:
            of_each = (likelihood.fit_temperature(member, target, weight, prior_rows) for member in of_members)
            values.append(tuple(of_each))
    return Temperatures(per, tuple(values))


def row_weights(counts: ArrayLike, labels: ArrayLike, sample_weight: Any, ignored: Any) -> tuple[Any, Any]:
    """Returns weights of one output's samples, or positions, and labels that are valid where weights are 0.

    Args:
        counts: Keras mask of positions, `[B, ...]`.
        labels: Labels of the output.
        sample_weight: `[B, ...]`, or `None`.
        ignored: A class to ignore, or `None`.
    """
    labels, weight = np.asarray(labels), np.asarray(counts, "float64")
    given = checked_weights(sample_weight, weight.shape)
    weight = weight if given is None else weight * given
    classes = labels[..., 0] if labels.ndim == weight.ndim + 1 and labels.shape[-1] == 1 else labels
    if classes.shape == weight.shape:
        weight = weight if ignored is None else weight * (classes != ignored)
        labels = np.where(weight > 0, classes, np.zeros((), classes.dtype)).reshape(labels.shape)
    return weight, labels


def _beside(temperature: Any, output: Tensor) -> Tensor:
    """Returns a single temperature unchanged, and those of members as `[M, 1, ...]`."""
    if not isinstance(temperature, tuple | list):
        return temperature
    return ops.reshape(ops.cast(list(temperature), output.dtype), (-1, *[1] * (len(output.shape) - 1)))
