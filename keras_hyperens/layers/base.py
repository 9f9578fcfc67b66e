"""Base class of layers over a hyperparameter space: members, a space, and the values of the current scope."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.checks import is_integer
from keras_hyperens.checks import is_number
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters import current_hyperparameters
from keras_hyperens.hyperparameters.driven import Driven
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.folding import the_one_member
from keras_hyperens.layers.plain import OF_EVERY_LAYER
from keras_hyperens.layers.plain import Signature
from keras_hyperens.layers.plain import check_no_penalty
from keras_hyperens.layers.plain import numbers_of
from keras_hyperens.layers.plain import objects_of
from keras_hyperens.layers.plain import plain_settings
from keras_hyperens.layers.plain import positional
from keras_hyperens.layers.plain import shared_arguments
from keras_hyperens.types import Tensor

Values = dict[str, float]  # hyperparameter values of a member, by name


class HyperLayer(keras.layers.Layer):
    """Counterpart of a plain Keras layer whose settings depend on each member's hyperparameter values. Abstract.

    Args:
        *arguments: As in the plain Keras layer.
        ensemble_size: M, the number of members.
        space: The `HyperparameterSpace` of the ensemble, or `None` for members without hyperparameters.
        **keywords: Settings that may be names of hyperparameters; all others as in the plain Keras layer.

    Raises:
        TypeError: If `space` is not a space.
        ValueError: If `ensemble_size` is not a positive integer, a setting is not a hyperparameter or can leave its
            range, or the plain layer rejects an argument.
    """

    plain_layer: type[keras.layers.Layer]  # the Keras layer that this layer replaces
    settings: tuple[str, ...] = ()  # arguments and attributes that may be hyperparameters
    roles: Mapping[str, str] = {}  # of penalties: role to the argument of the plain layer
    _highest = float("inf")  # upper limit of a setting
    has_kernels = False  # whether it has kernels, shared or not
    _also_takes: tuple[type["HyperLayer"], ...] = ()  # classes whose arguments it passes on to its parts
    __signature__ = Signature()

    def __init__(
        self, *arguments: Any, ensemble_size: int, space: HyperparameterSpace | None = None, **keywords: Any
    ) -> None:
        if not is_integer(ensemble_size) or ensemble_size < 1:
            raise ValueError(f"`ensemble_size` must be a positive integer. Received: ensemble_size={ensemble_size!r}")
        if not isinstance(space, HyperparameterSpace | None):
            raise TypeError(f"`space` must be a `HyperparameterSpace`. Received: space={space!r}")
        settings = {name: keywords.pop(name, None) for name in self.settings}
        check_no_penalty(type(self), {**positional(self.plain_layer, arguments), **keywords})
        own = {name: keywords[name] for name in OF_EVERY_LAYER if name in keywords}
        keywords.pop("trainable", None)  # not supported by all layers
        plain = self._made_plain(arguments, keywords)  # checks and completes the common arguments
        super().__init__(**own)
        self._plain = SimpleNamespace(layer=plain)  # the namespace hides it from Keras' layer tracking
        self.ensemble_size = int(ensemble_size)
        self.space = space if space is not None else HyperparameterSpace()
        self.supports_masking = plain.supports_masking
        for name, setting in settings.items():
            setattr(self, name, self._check_setting(name, setting, self._highest))

    @classmethod
    def _made_plain(cls, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> keras.layers.Layer:
        try:
            return cls.plain_layer(*arguments, **keywords)
        except TypeError as error:  # Keras compares values before it checks types
            received = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in keywords.items())]
            name = cls.plain_layer.__name__
            raise TypeError(f"`{name}` rejects these arguments: {error}. Received: {', '.join(received)}") from error

    @property
    def _num_members(self) -> int:
        """The number of members in the inputs: M, or 1 in an export, which calls the network once per member."""
        return self.ensemble_size if the_one_member() is None else 1

    @property
    def plain(self) -> Any:
        """A plain layer with the common arguments; it is never built."""
        return self._plain.layer

    def _current_values(self, inputs: Tensor | None = None) -> Tensor:
        """Returns hyperparameter values in natural scale, `[M, 1 or B, P]` float32.

        Raises:
            ValueError: If there is no active scope, or it belongs to another ensemble.
        """
        values = current_hyperparameters()
        expected = (self.ensemble_size, len(self.space))
        if values is None and _only_infers_shapes(inputs):
            return self.space.values(np.zeros((expected[0], 1, expected[1]), "float32"))
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

    def _setting_value(self, setting: Setting) -> Tensor:
        """Returns the value of a setting: `[M, 1 or B]` for a hyperparameter, otherwise the fixed number."""
        driven = Driven.of(setting)
        if driven.name is None:
            return driven.factor
        return driven.factor * self._current_values()[..., self.space.column(driven.name)]

    def _check_setting(self, argument: str, setting: Setting, high: float = float("inf")) -> Setting:
        """Checks that a setting is a known name (and a factor) with a valid range, or a valid number."""
        if setting is None:
            return None
        driven = Driven.of(setting)
        if not is_number(driven.factor) or (driven.name is not None and driven.name not in self.space.names):
            raise ValueError(
                f"`{argument}` must name one of {list(self.space.names)} or be a finite number. "
                f"Received: {argument}={setting!r}"
            )
        lowest, highest = driven.interval(self.space)
        if lowest < 0 or highest > high:
            raise ValueError(
                f"`{argument}` must stay in [0, {high:g}]. Received: {argument}={setting!r} in [{lowest}, {highest}]"
            )
        return driven.setting

    def hyperparameters_used(self) -> set[str]:
        """Returns the names of the hyperparameters of this layer."""
        names = {Driven.of(getattr(self, argument)).name for argument in self.settings}
        return {name for name in names if name is not None}

    @classmethod
    def from_plain(cls, plain: keras.layers.Layer, members: dict[str, Any]) -> "HyperLayer":
        """Creates the counterpart of a plain Keras layer for M members; `adopt` then copies its weights.

        Args:
            plain: The layer.
            members: `ensemble_size`, `space`, settings with hyperparameters (other settings are those of the plain
                layer), and other arguments of this class.

        Raises:
            ValueError: If this class does not support the plain layer; the message states the reason.
        """
        arguments = {**shared_arguments(plain, cls.settings), **numbers_of(plain, cls.settings, cls.roles), **members}
        arguments |= objects_of(plain, arguments)
        policy = arguments.pop("dtype", None)
        return cls(**arguments, dtype=plain.dtype_policy if policy is not None else None)

    def adopt(self, weights: list[Any]) -> None:
        """Initializes every member with these weights of the plain layer."""
        raise NotImplementedError

    def adopt_each(self, weights: list[list[Any]]) -> None:
        """Initializes each member with its own weights; only for layers without shared weights.

        Args:
            weights: Weights of the plain layer, one list per member.
        """
        slices: list[list[Any]] = [[] for _ in self.weights]
        for member, own in enumerate(weights):
            self.adopt(own)  # maps weights of the plain layer
            for found, variable in zip(slices, self.weights, strict=True):
                found.append(ops.convert_to_numpy(variable)[member].copy())
        for found, variable in zip(slices, self.weights, strict=True):
            variable.assign(np.stack(found))

    def member_layer(self, values: Values) -> keras.layers.Layer:
        """Returns the plain Keras layer of one member at these hyperparameter values."""
        settings = {name: Driven.of(getattr(self, name)).value(values) for name in self.settings}
        common = {**shared_arguments(self.plain, self.settings), "name": self.name}
        common |= objects_of(self.plain, common)
        layer = self.plain_layer.from_config({**common, **plain_settings(settings, self.roles)})
        layer.trainable = self.trainable
        return layer

    def member_weights(self, member: int, values: Tensor) -> list[Any]:
        """Returns the weights of that plain layer for one member, at values `[M, 1, P]`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            **shared_arguments(self.plain, self.settings),
            **super().get_config(),
            **{name: getattr(self, name) for name in self.settings},
            "ensemble_size": self.ensemble_size,
            "space": keras.saving.serialize_keras_object(self.space),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HyperLayer":
        space = keras.saving.deserialize_keras_object(config["space"])
        return super().from_config({**config, "space": space})


def _only_infers_shapes(inputs: Tensor) -> bool:
    """Whether Keras only infers the output shape of a surrounding layer, without hyperparameter values."""
    try:
        return inputs.graph.name.startswith("scratch_graph")
    except AttributeError:  # eager, or another backend
        return False
