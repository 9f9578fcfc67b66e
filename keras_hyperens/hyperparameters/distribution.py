"""Trainable distributions of the hyperparameters of each member: uniform in position z between tuned bounds.

Uniform in z is log-uniform in the value on the log scale and uniform on the linear scale. Training only requires draws
and entropies. TensorFlow Probability is imported on request, because the import takes seconds.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens.checks import is_number
from keras_hyperens.hyperparameters.space import HyperparameterSpace
from keras_hyperens.types import Bounds
from keras_hyperens.types import Tensor

MINIMUM_WIDTH = 0.02  # of z's range of 2: bounds that coincide would have an entropy of minus infinity
SPREAD, AROUND = 1 / 3, 0.15  # widths of initial intervals, as fractions of the range, without and with initial values


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperparameterDistribution(keras.layers.Layer):
    """Bounds `[M, P]` in position z, and the distributions between them.

    The bounds are weights with `trainable=False`: the main optimizer does not update them, files contain them, and the
    tuning step differentiates them separately. Methods take the bounds as an argument, so that gradients reach them.

    Args:
        space: The `HyperparameterSpace`, P hyperparameters.
        ensemble_size: M, the number of members.
        initial_width: Width of every initial interval as a fraction of the range (in z, so on the log scale a
            fraction of the logarithmic range). Defaults to 1/3, which is wide enough for the network to learn its
            dependence on the hyperparameters, and lets three members cover the range; 0.15 with an initial value.
        seed: Seed of the initial centers.
        initial_values: Dictionary from names to values (natural scale). All members start near the given value, with
            overlapping intervals. For other hyperparameters the members cover the whole range.

    Raises:
        ValueError: If `initial_width` is not in `(0, 1]`, a name is unknown, or a value is outside its range.

    Example:
    >>> from keras_hyperens import Hyperparameter, HyperparameterSpace
    >>> space = HyperparameterSpace([Hyperparameter("l2", 1e-6, 1e-2, "log")])
    >>> distribution = HyperparameterDistribution(space, 4, seed=0)
    >>> distribution.sample(distribution.bounds(), rows=1, key=(0, 1)).shape
    TensorShape([4, 1, 1])

    References:
        - Wenzel et al., [Hyperparameter Ensembles](https://arxiv.org/abs/2006.13570), section 4
    """

    def __init__(
        self,
        space: HyperparameterSpace,
        ensemble_size: int,
        initial_width: float | None = None,
        seed: int = 0,
        initial_values: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if initial_width is not None and not (is_number(initial_width) and 0 < initial_width <= 1):
            raise ValueError(
                f"`initial_width` is a fraction of the range, in (0, 1]. Received: initial_width={initial_width!r}"
            )
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.space = space
        if not isinstance(initial_values, Mapping | None):
            raise TypeError(f"`initial_values` must be a dictionary. Received: initial_values={initial_values!r}")
        initial_values = dict(initial_values or {})
        widths = np.array([AROUND if name in initial_values else SPREAD for name in space.names], "float32")
        widths = widths if initial_width is None else np.full_like(widths, initial_width)
        self.initial_half_widths = widths  # [P], in z: the range is 2 long
        centers = _centers(_strata(ensemble_size, len(space), seed), space, widths, initial_values)
        lower, upper = self.project((centers - widths, centers + widths))
        self.lower = self._add_bound("lower", ops.convert_to_numpy(lower))  # [M, P]
        self.upper = self._add_bound("upper", ops.convert_to_numpy(upper))
        self.built = True

    def _add_bound(self, name: str, value: np.ndarray) -> keras.Variable:
        return self.add_weight(
            shape=value.shape,
            initializer=lambda *_, **__: ops.convert_to_tensor(value, "float32"),
            trainable=False,
            name=name,
        )

    def bounds(self) -> Bounds:
        """The current bounds `(lower, upper)`, `[M, P]` each, as tensors."""
        return tf.convert_to_tensor(self.lower), tf.convert_to_tensor(self.upper)

    def sample(self, bounds: Bounds, rows: Any, key: Tensor) -> Tensor:
        """Returns reparameterized draws in natural scale, `[M, rows, P]`; gradients flow to `bounds`.

        The same `key` (two integers) gives the same draws.
        """
        lower, upper = bounds
        shape = [rows, *lower.shape]
        fractions = tf.random.stateless_uniform(shape, tf.cast(key, tf.int32))
        positions = lower + (upper - lower) * fractions  # [rows, M, P]
        return self.space.values(ops.swapaxes(positions, 0, 1))

    def mean(self, bounds: Bounds) -> Tensor:
        """Means of the values in natural scale, `[M, P]`."""
        return self.space.mean_values(*bounds)

    def middle(self, bounds: Bounds) -> Tensor:
        """Values at the centers of the intervals, natural scale, `[M, P]`: on the log scale the geometric mean."""
        lower, upper = bounds
        return self.space.values((lower + upper) / 2)

    def entropy(self, bounds: Bounds) -> Tensor:
        """Joint entropy of the positions of all members (independent, so a sum of logarithmic widths)."""
        lower, upper = bounds
        return ops.sum(ops.log(upper - lower))

    def of_values(self, bounds: Bounds) -> dict[str, Any]:
        """Dictionary from names to TFP distributions of the values in natural scale, `[M]`."""
        import tensorflow_probability as tfp

        lower, upper = (ops.convert_to_numpy(self.space.values(bound)) for bound in bounds)  # [M, P]
        kinds = {"linear": tfp.distributions.Uniform, "log": _log_uniform}
        return {
            entry.name: kinds[entry.sampling](lower[:, column], upper[:, column])
            for column, entry in enumerate(self.space)
        }

    def project(self, bounds: Bounds) -> Bounds:
        """The nearest valid bounds: inside the space, ordered, and at least `MINIMUM_WIDTH` apart."""
        lower, upper = (ops.clip(bound, -1.0, 1.0) for bound in bounds)
        room = 1.0 - MINIMUM_WIDTH / 2
        middle = ops.clip((lower + upper) / 2, -room, room)
        half = ops.maximum((upper - lower) / 2, MINIMUM_WIDTH / 2)
        return ops.clip(middle - half, -1.0, 1.0), ops.clip(middle + half, -1.0, 1.0)


def _log_uniform(low: Any, high: Any) -> Any:
    """A distribution whose logarithm is uniform between those of `low` and `high`; TFP has none with a mean."""
    import tensorflow_probability as tfp

    class LogUniform(tfp.distributions.TransformedDistribution):
        def _mean(self) -> Any:
            return tf.constant((high - low) / (np.log(high) - np.log(low)), tf.float32)

    return LogUniform(tfp.distributions.Uniform(np.log(low), np.log(high)), tfp.bijectors.Exp(), name="LogUniform")


def _strata(ensemble_size: int, columns: int, seed: int) -> np.ndarray:
    """Centers `[M, P]` in [-1, 1]: for each hyperparameter one member in each of M strata, in random order."""
    generator = np.random.default_rng(seed)
    strata = np.tile(np.arange(ensemble_size)[:, None], columns)
    strata = generator.permuted(strata, axis=0)  # each column separately
    fractions = (strata + generator.uniform(0.25, 0.75, strata.shape)) / ensemble_size  # away from stratum edges
    return (2 * fractions - 1).astype("float32")


def _centers(
    strata: np.ndarray, space: HyperparameterSpace, widths: np.ndarray, initial_values: Mapping[str, float]
) -> np.ndarray:
    """Centers of the initial intervals, `[M, P]`: across the range, or around an initial value."""
    centers = strata * (1 - widths)
    for name, value in initial_values.items():
        entry, column = space[name], space.column(name)
        if not (is_number(value) and entry.min_value <= value <= entry.max_value):
            raise ValueError(
                f"The initial value of {name!r} must be in its range [{entry.min_value}, {entry.max_value}]. "
                f"Received: initial_values={dict(initial_values)}"
            )
        row = np.array([value if other.name == name else other.min_value for other in space], "float32")
        centers[:, column] = ops.convert_to_numpy(space.positions(row))[column] + widths[column] * strata[:, column]
    return centers
