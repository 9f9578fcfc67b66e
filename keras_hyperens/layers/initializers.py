"""Initializers of fast weights, with different numbers for every weight and member."""

import random
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_hyperens.checks import is_number
from keras_hyperens.types import Tensor


@keras.saving.register_keras_serializable("keras_hyperens")
class RandomSign(keras.initializers.Initializer):
    """Initializer that generates random signs, +1 or -1, an alternative for the fast weights of a batch ensemble.

    Args:
        probability: Probability of +1.
        seed: Random seed.

    Example:
    >>> sorted(set(RandomSign(seed=0)((100,)).numpy().tolist()))
    [-1.0, 1.0]

    References:
        - Wen et al., [BatchEnsemble](https://arxiv.org/abs/2002.06715)
    """

    def __init__(self, probability: float = 0.5, seed: int | None = None) -> None:
        if not (is_number(probability) and 0 <= probability <= 1):
            raise ValueError(f"`probability` must be in [0, 1]. Received: probability={probability!r}")
        self.probability = probability
        self._given_seed = seed
        self.seed = random.randrange(2**31) if seed is None else seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None, **kwargs: Any) -> Tensor:
        uniform = keras.random.uniform(shape, seed=self.seed, dtype="float32")
        return ops.cast(ops.where(uniform < self.probability, 1.0, -1.0), dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {"probability": self.probability, "seed": self._given_seed}


def get_initializer(identifier: Any) -> keras.initializers.Initializer:
    """`keras.initializers.get` with support for `"random_sign"`."""
    return RandomSign() if identifier == "random_sign" else keras.initializers.get(identifier)


def another(initializer: Any, number: int) -> Any:
    """Returns the same initializer with another seed.

    A Keras initializer returns the same numbers at every call, so two weights of one shape would start equal.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(getattr(initializer, "seed", None), int):
        config["seed"] = initializer.seed + number
    return type(initializer).from_config(config)


def of_each_member(initializer: Any, equal: bool = False) -> Callable[..., Any]:
    """Initializes weights `[M, ...]` member by member, with different or equal numbers."""

    def initialize(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        members = range(shape[0])
        if equal:
            return ops.stack([initializer(shape[1:], dtype=dtype)] * len(members))
        return ops.stack([another(initializer, 100 * k)(shape[1:], dtype=dtype) for k in members])

    return initialize


class ConstrainEachMember(keras.constraints.Constraint):
    """Applies the constraint of one member's weights to weights `[M, ...]`."""

    def __init__(self, constraint: Any) -> None:
        self.constraint = constraint

    def __call__(self, w: Tensor) -> Tensor:
        return ops.stack([self.constraint(weights) for weights in ops.unstack(w)])
