"""Members of a hyper-deep ensemble on devices of their own."""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf


def checked_devices(devices: Any) -> tuple[str, ...]:
    """Full names of devices of this process.

    Raises:
        ValueError: If there is none, or one that does not exist; inside the scope of a `tf.distribute.Strategy`.
    """
    there = [device.name for device in tf.config.list_logical_devices()]
    names = [_full_name(device) for device in ([devices] if isinstance(devices, str) else devices)]
    if not names or not set(names) <= set(there):
        raise ValueError(
            f"`devices` must be names of devices that this process has, {[name[8:] for name in there]}. "
            f"Received: devices={devices!r}"
        )
    if tf.distribute.has_strategy():
        raise ValueError(
            "A strategy runs every member on each of its devices: spread the members outside its scope, or leave "
            f"`on_devices` out. Received: a call inside the scope of {tf.distribute.get_strategy()!r}"
        )
    return tuple(names)


def device_of(devices: Sequence[str], member: int) -> AbstractContextManager[None]:
    """The scope of member k's device, which is `devices[k % len(devices)]`; no scope if there are no devices."""
    return tf.device(devices[member % len(devices)]) if devices else contextlib.nullcontext()


def copied_to(device: str | None, member: keras.Model) -> keras.Model:
    """A copy, not compiled, whose variables live on the device; `None`: wherever TensorFlow puts them.

    Through a file: Keras has no other way to create a model anew with all of its state (lookup tables, for example).

    Raises:
        ValueError: If Keras cannot make such a model from its file.
    """
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "member.keras")
        try:
            member.save(file)
            with tf.device(device):
                return keras.saving.load_model(file, compile=False, safe_mode=False)  # we wrote it ourselves
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(
                "A member is copied as Keras saves and loads it: give its classes `get_config`, and "
                f"register them. Received: {member.name!r}, of which Keras says: {error}"
            ) from error


def _full_name(device: Any) -> str:
    """`"gpu:1"` and all other ways to write it as `"/device:GPU:1"`; what is no device stays as it is."""
    try:
        spec = tf.DeviceSpec.from_string(str(device))
    except ValueError:
        return str(device)
    return f"/device:{spec.device_type}:{spec.device_index}"
