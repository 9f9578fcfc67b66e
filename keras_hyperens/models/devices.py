"""Placement of the members of a hyper-deep ensemble on devices."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf


def checked_devices(devices: Any) -> tuple[str, ...]:
    """Returns full names of devices of this process.

    Raises:
        ValueError: If there are none, a device does not exist, or inside the scope of a `tf.distribute.Strategy`.
    """
    there = [device.name for device in tf.config.list_logical_devices()]
    names = [_full_name(device) for device in ([devices] if isinstance(devices, str) else devices)]
    if not names or not set(names) <= set(there):
        raise ValueError(
            f"`devices` must be names of devices of this process, {[name[8:] for name in there]}. "
            f"Received: devices={devices!r}"
        )
    if tf.distribute.has_strategy():
        raise ValueError(
            "A strategy runs every member on each of its devices: place the members outside of its scope, or remove "
            f"`on_devices`. Received: a call inside the scope of {tf.distribute.get_strategy()!r}"
        )
    return tuple(names)


def device_of(devices: Sequence[str], member: int) -> AbstractContextManager[None]:
    """Returns the scope of member k's device, `devices[k % len(devices)]`, or a null scope without devices."""
    return tf.device(devices[member % len(devices)]) if devices else contextlib.nullcontext()


def copied_to(device: str | None, member: keras.Model) -> keras.Model:
    """Returns a copy, not compiled, with variables on the device, or where TensorFlow places them.

    Uses a file, because Keras has no other way to copy a model with its complete state (lookup tables, for example).

    Raises:
        ValueError: If Keras cannot load the model from its file.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "member.keras")
        try:
            member.save(file)
            with tf.device(device):
                return keras.saving.load_model(file, compile=False, safe_mode=False)  # a file of this process
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(
                "Members are copied through a Keras file: implement `get_config` of their classes, and "
                f"register them. Received: {member.name!r}, with the error of Keras: {error}"
            ) from error


def _full_name(device: Any) -> str:
    """Returns `"gpu:1"` and its variants as `"/device:GPU:1"`; other values unchanged."""
    try:
        spec = tf.DeviceSpec.from_string(str(device))
    except ValueError:
        return str(device)
    return f"/device:{spec.device_type}:{spec.device_index}"
