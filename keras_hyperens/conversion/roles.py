"""Roles: names of the settings that vary in a model."""

from collections.abc import Mapping

import keras

from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters.driven import Setting
from keras_hyperens.layers.base import HyperLayer
from keras_hyperens.layers.plain import NORMS

PENALTIES = tuple(f"{part}{norm}" for norm in NORMS for part in ("", "kernel_", "bias_"))
ROLES = (*PENALTIES, "dropout", "noise", "label_smoothing")


class Roles:
    """Assignment of hyperparameters to roles.

    Args:
        roles: Dictionary from roles to `Hyperparameter` objects. The penalties `"l2"` and `"l1"` apply to kernels and
            biases, `"kernel_l2"`, `"bias_l2"`, `"kernel_l1"` and `"bias_l1"` to one of them; `"dropout"` is the rate of
            all dropout layers, `"noise"` the standard deviation of Gaussian noise, `"label_smoothing"` that of the
            loss.

    Raises:
        TypeError: If a value is not a `Hyperparameter`.
        ValueError: If a role is unknown, or two hyperparameters of one name differ.
    """

    def __init__(self, roles: Mapping[str, Hyperparameter] | None) -> None:
        if not isinstance(roles, Mapping | None):
            raise TypeError(f"`roles` must be a dictionary of roles. Received: roles={roles!r}")
        roles = dict(roles or {})
        for role, hyperparameter in roles.items():
            if role not in ROLES:
                raise ValueError(f"A role must be one of {ROLES}. Received: {role!r}")
            if not isinstance(hyperparameter, Hyperparameter):
                raise TypeError(f"A role needs a `Hyperparameter`. Received: {role}={hyperparameter!r}")
        self.names = {role: hyperparameter.name for role, hyperparameter in roles.items()}
        self.space = HyperparameterSpace(dict.fromkeys(roles.values()))

    def settings_of(self, layer: keras.layers.Layer, kind: type[HyperLayer]) -> dict[str, Setting]:
        """Returns the settings of a layer that are hyperparameters."""
        driven: dict[str, Setting] = {}
        for setting in kind.settings:
            for role in _roles_of(setting, layer):
                if role in self.names:
                    driven[setting] = self.names[role]
                    break
        return driven


def _roles_of(setting: str, layer: keras.layers.Layer) -> tuple[str, ...]:
    """Returns the possible roles of a setting, the most specific first."""
    part, _, norm = setting.rpartition("_")
    if norm in NORMS:
        return ("bias_" if part == "bias" else "kernel_") + norm, norm
    if setting == "stddev":
        return ("noise",)
    return ("dropout",) if setting == "rate" or layer.get_config()[setting] else ()  # only existing dropout
