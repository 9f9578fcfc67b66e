"""One trainable distribution per member and hyperparameter: uniform in position z between tuned bounds.

Uniform in z is log-uniform in the value on the log scale and uniform on the linear one. Training needs draws and
entropies alone. Users get distributions of TensorFlow Probability, which is imported when they ask: that takes seconds.
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

MINIMUM_WIDTH = 0.02  # of z's range of 2: bounds that met would have an entropy of minus infinity
SPREAD, AROUND = 1 / 3, 0.15  # widths of initial intervals, as fractions of the range, without and with initial values


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperparameterDistribution(keras.layers.Layer):
    """Bounds `[M, P]` in position z, and what can be asked of them.

    The bounds are weights with `trainable=False`: the main optimizer never sees them, files carry them, and the
    tuning step watches them by itself. Every method takes the bounds it works on, so that gradients can reach them.

    Args:
        space: The `HyperparameterSpace`, P hyperparameters.
        ensemble_size: M, the number of members.
        initial_width: Width of every initial interval as a fraction of the range (in z, so on the log scale a
            fraction of the logarithmic range). Default 1/3: wide enough that the network learns how it depends on
            its hyperparameters, and three members just tile the range; 0.15 where there is an initial value.
        seed: Seed of the initial places.
        initial_values: By name, a value (natural scale) around which all members begin, each a little elsewhere: their
            intervals overlap there. Members spread over the whole range of a hyperparameter that is not named.

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
        """Reparameterized draws in natural scale, `[M, rows, P]`: gradients flow to `bounds`.

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
        """Values in the middle of the intervals, natural scale, `[M, P]`: on the log scale the geometric mean."""
        lower, upper = bounds
        return self.space.values((lower + upper) / 2)

    def entropy(self, bounds: Bounds) -> Tensor:
        """Entropy of the positions of all members together (they are independent: a sum of logarithmic widths)."""
        lower, upper = bounds
        return ops.sum(ops.log(upper - lower))

    def of_values(self, bounds: Bounds) -> dict[str, Any]:
        """By name, TFP's distribution of the value in natural scale, of all members `[M]`."""
        import tensorflow_probability as tfp

        lower, upper = (ops.convert_to_numpy(self.space.values(bound)) for bound in bounds)  # [M, P]
        kinds = {"linear": tfp.distributions.Uniform, "log": _log_uniform}
        return {
            entry.name: kinds[entry.sampling](lower[:, column], upper[:, column])
            for column, entry in enumerate(self.space)
        }

    def project(self, bounds: Bounds) -> Bounds:
        """The nearest legal bounds: inside the space, in order, and at least `MINIMUM_WIDTH` apart."""
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
    """Places `[M, P]` in [-1, 1]: for each hyperparameter one member in each of M strata, at random."""
    generator = np.random.default_rng(seed)
    strata = np.tile(np.arange(ensemble_size)[:, None], columns)
    strata = generator.permuted(strata, axis=0)  # each column on its own
    fractions = (strata + generator.uniform(0.25, 0.75, strata.shape)) / ensemble_size  # well inside each stratum
    return (2 * fractions - 1).astype("float32")


def _centers(
    strata: np.ndarray, space: HyperparameterSpace, widths: np.ndarray, initial_values: Mapping[str, float]
) -> np.ndarray:
    """Centers of the initial intervals, `[M, P]`: all over the range, or around an initial value."""
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
