"""Arguments of plain Keras layers, and their regularizers as coefficients of hyper-batch layers."""

import inspect
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras

REGULARIZER = "_regularizer"
NORMS = ("l1", "l2")
LORA = ("lora_rank", "lora_alpha")  # LoRA factors are merged into kernels
OF_EVERY_LAYER = ("name", "dtype", "trainable", "activity_regularizer")


def is_penalty(argument: str) -> bool:
    """Whether an argument is a weight regularizer, which hyper-batch layers replace by coefficients."""
    return argument.endswith(REGULARIZER) and argument != "activity_regularizer"


def check_no_penalty(layer_type: type, arguments: Mapping[str, Any]) -> None:
    """Raises a `ValueError` for a Keras regularizer, which cannot be conditioned on hyperparameters."""
    for name, value in arguments.items():
        if is_penalty(name) and value is not None:
            role = name.removesuffix(REGULARIZER)
            raise ValueError(
                f"`{layer_type.__name__}` takes the coefficient of a penalty, a number or a hyperparameter's name: use "
                f"`{role}_l2=` or `{role}_l1=`. Received: {name}={value!r}"
            )


def positional(plain_layer: type, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Returns positional arguments by name."""
    names = list(inspect.signature(plain_layer.__init__).parameters)[1:]  # type: ignore[misc]
    return dict(zip(names, arguments))


def shared_arguments(plain: keras.layers.Layer, settings: Iterable[str]) -> dict[str, Any]:
    """Returns the arguments of a plain layer that do not depend on hyperparameters."""
    config = {name: value for name, value in plain.get_config().items() if not is_penalty(name)}
    left_out = {*settings, *LORA, *(["quantization_config"] if config.get("quantization_config") is None else [])}
    return {name: value for name, value in config.items() if name not in left_out}


def objects_of(plain: keras.layers.Layer, names: Iterable[str]) -> dict[str, Any]:
    """Returns arguments that are functions or objects, for which a configuration may only have names."""
    kinds = ("activation", "initializer", "constraint")
    objects = {name: getattr(plain, name, None) for name in names if name.endswith(kinds)}
    return {name: each for name, each in objects.items() if callable(each)}


def numbers_of(plain: keras.layers.Layer, settings: Iterable[str], roles: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values of a plain layer for each setting.

    Args:
        plain: The layer.
        settings: Names such as `"kernel_l2"`, composed of a role and a norm, or arguments of the layer such as
            `"rate"`.
        roles: Role to the argument of the plain layer.

    Raises:
        ValueError: If a regularizer is not L1, L2 or both.
    """
    config = plain.get_config()
    penalties = {role: _strengths(plain, name + REGULARIZER) for role, name in roles.items()}
    numbers = {}
    for setting in settings:
        role, _, norm = setting.rpartition("_")
        numbers[setting] = penalties[role][norm] if norm in NORMS else config[setting]
    return numbers


def _strengths(plain: keras.layers.Layer, argument: str) -> dict[str, float | None]:
    regularizer = getattr(plain, argument, None) or plain.get_config().get(argument)
    if isinstance(regularizer, dict):
        regularizer = keras.regularizers.get(regularizer)
    if not isinstance(regularizer, keras.regularizers.L1 | keras.regularizers.L2 | keras.regularizers.L1L2 | None):
        raise ValueError(f"its `{argument}` is a {type(regularizer).__name__}, neither L1 nor L2")
    strengths = {norm: getattr(regularizer, norm, None) for norm in NORMS}
    return {norm: None if not strength else float(strength) for norm, strength in strengths.items()}


def plain_settings(numbers: Mapping[str, float | None], roles: Mapping[str, str]) -> dict[str, Any]:
    """Returns the arguments of a plain layer with these values of settings: the inverse of `numbers_of`."""
    arguments: dict[str, Any] = {
        name: number or 0.0 for name, number in numbers.items() if name.rpartition("_")[2] not in NORMS
    }
    for role, name in roles.items():
        l1, l2 = (numbers.get(f"{role}_{norm}") or 0.0 for norm in NORMS)
        arguments[name + REGULARIZER] = _regularizer(l1, l2)
    return arguments


def _regularizer(l1: float, l2: float) -> keras.regularizers.Regularizer | None:
    if l1 and l2:
        return keras.regularizers.L1L2(l1, l2)
    if l1:
        return keras.regularizers.L1(l1)
    return keras.regularizers.L2(l2) if l2 else None


class Signature:
    """Signature of a layer class: arguments of the plain layer without regularizers, and its own.

    It only applies to the class: a layer itself is called with its inputs.
    """

    def __get__(self, instance: Any, owner: Any) -> inspect.Signature:
        if instance is not None or not hasattr(owner, "plain_layer") or _names_its_arguments(owner):
            raise AttributeError("__signature__")  # Python then uses `__init__`
        plain = list(inspect.signature(owner.plain_layer.__init__).parameters.values())[1:]
        ours = {each.name: each for each in own_parameters(owner)}
        named = inspect.Parameter.KEYWORD_ONLY
        parameters: list[inspect.Parameter] = []
        kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
        for parameter in plain:
            if is_penalty(parameter.name):
                kind = named  # the position belongs to the plain layer
            elif parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name not in ours:
                parameters.append(parameter.replace(kind=max(kind, parameter.kind)))
        given = {parameter.name for parameter in parameters}
        strengths = [inspect.Parameter(name, named, default=None) for name in owner.settings if name not in given]
        rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
        return inspect.Signature([*parameters, *strengths, *ours.values(), rest])


def _names_its_arguments(owner: type) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(owner.__init__).parameters.values()]  # type: ignore[misc]
    return inspect.Parameter.VAR_POSITIONAL not in kinds


def own_parameters(owner: Any) -> Iterable[inspect.Parameter]:
    """Returns the arguments that a class, or one whose options it passes on, adds to those of its plain layer."""
    found: dict[str, inspect.Parameter] = {}
    for each in dict.fromkeys(base for kind in (*owner._also_takes, owner) for base in kind.__mro__):
        if hasattr(each, "_also_takes") and "__init__" in vars(each):
            parameters = inspect.signature(each.__init__).parameters.values()
            found |= {one.name: one for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    return found.values()
