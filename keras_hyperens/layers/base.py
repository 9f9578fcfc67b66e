"""What every layer over a hyperparameter space has: members, a space, and the values of the current scope."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters import current_hyperparameters

Setting = str | float | None  # a hyperparameter's name, a fixed value, or nothing


class HyperLayer(keras.layers.Layer):
    """A layer whose behaviour depends on each member's hyperparameter values. Abstract.

    Args:
        ensemble_size: M, the number of members.
        hyperparameters: The `HyperparameterSpace` of the ensemble, or `None` for members without hyperparameters.

    Raises:
        TypeError: If `hyperparameters` is not a space.
        ValueError: If `ensemble_size` is not a positive integer.
    """

    def __init__(
        self, *, ensemble_size: int, hyperparameters: HyperparameterSpace | None = None, **kwargs: Any
    ) -> None:
        if not isinstance(ensemble_size, int) or ensemble_size < 1:
            raise ValueError(f"`ensemble_size` must be a positive integer. Received: ensemble_size={ensemble_size!r}")
        if not isinstance(hyperparameters, HyperparameterSpace | None):
            raise TypeError(
                f"`hyperparameters` must be a `HyperparameterSpace`. Received: hyperparameters={hyperparameters!r}"
            )
        super().__init__(**kwargs)
        self.ensemble_size = ensemble_size
        self.hyperparameters = hyperparameters if hyperparameters is not None else HyperparameterSpace()

    def current_values(self, inputs: Any = None) -> Any:
        """Hyperparameter values in natural scale, `[M, 1 or B, P]` float32.

        Raises:
            ValueError: If no scope is active, or it is of another ensemble.
        """
        values = current_hyperparameters()
        expected = (self.ensemble_size, len(self.hyperparameters))
        if values is None and _only_infers_shapes(inputs):
            return self.hyperparameters.values(np.zeros((expected[0], 1, expected[1]), "float32"))
        if values is None:
            raise ValueError(
                f"Layer {self.name!r} needs the current hyperparameter values: call its network through a "
                "`HyperBatchEnsemble`, or inside `with hyperparameter_scope(values):`"
            )
        if (values.shape[0], values.shape[-1]) != expected:
            raise ValueError(
                f"Layer {self.name!r} has {expected[0]} members and {expected[1]} hyperparameters. "
                f"Received: hyperparameter values of shape {tuple(values.shape)}"
            )
        return ops.convert_to_tensor(values, "float32")

    def setting_value(self, setting: Setting) -> Any:
        """The value of a setting: `[M, 1 or B]` for a name, the number itself for a fixed value."""
        if isinstance(setting, str):
            return self.current_values()[..., self.hyperparameters.column(setting)]
        return setting

    def _check_setting(self, argument: str, setting: Setting, high: float = float("inf")) -> Setting:
        """A setting is a known name whose range is legal, or a legal value."""
        if setting is None:
            return None
        if isinstance(setting, str):
            if setting not in self.hyperparameters.names:
                raise ValueError(
                    f"`{argument}` must name one of {list(self.hyperparameters.names)} or be a number. "
                    f"Received: {argument}={setting!r}"
                )
            lowest, highest = self.hyperparameters[setting].low, self.hyperparameters[setting].high
        else:
            lowest = highest = setting = float(setting)
        if lowest < 0 or highest > high:
            raise ValueError(
                f"`{argument}` must stay in [0, {high:g}]. Received: {argument}={setting!r} in [{lowest}, {highest}]"
            )
        return setting

    def hyperparameters_used(self) -> set[str]:
        """Names of the hyperparameters that drive this layer."""
        raise NotImplementedError

    def member_layer(self, values: dict[str, float]) -> keras.layers.Layer:
        """The plain Keras layer that one member has in this place, at these hyperparameter values."""
        raise NotImplementedError

    def member_weights(self, member: int, values: Any) -> list[Any]:
        """The weights of that plain layer for one member, at values `[M, 1, P]`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ensemble_size": self.ensemble_size,
            "hyperparameters": keras.saving.serialize_keras_object(self.hyperparameters),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HyperLayer":
        space = keras.saving.deserialize_keras_object(config["hyperparameters"])
        return super().from_config({**config, "hyperparameters": space})


def _only_infers_shapes(inputs: Any) -> bool:
    """Whether Keras runs a user's layer around ours just to learn its output shape: there are no values then."""
    try:
        return inputs.graph.name.startswith("scratch_graph")
    except AttributeError:  # eager, or another backend
        return False
