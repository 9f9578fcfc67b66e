"""Atomic files of ensembles: Keras writes to a temporary name, which is then renamed."""

import glob
import os
from collections.abc import Callable
from typing import Any

import keras

from keras_hyperens import files
from keras_hyperens.replacing import UNZIPPED
from keras_hyperens.replacing import check_replaceable
from keras_hyperens.replacing import resolved
from keras_hyperens.replacing import write_directory
from keras_hyperens.replacing import write_files

HUB = "hf://"  # Keras uploads it
ENDINGS = (".keras", ".h5", ".hdf5")


def save_model(
    save: Callable[..., Any], filepath: Any, overwrite: bool, zipped: bool | None, arguments: dict[str, Any]
) -> None:
    """Calls `keras.Model.save`, the argument `save`, with its arguments.

    Raises:
        ValueError: If `zipped=False`, and the path exists and is not such a model.
    """
    is_file = zipped is not False
    if str(filepath).startswith(HUB) or (is_file and not str(filepath).endswith(ENDINGS)):  # Keras rejects the latter
        return save(filepath, overwrite, zipped, **arguments)
    if not _may_write(filepath, overwrite):
        return None

    def write(temporary: str) -> None:
        save(temporary, zipped=zipped, **arguments)

    if not is_file:
        check_replaceable(filepath, UNZIPPED)
        return write_directory(filepath, UNZIPPED, write)
    return files.write_whole(resolved(filepath), write)


def save_weights(save: Callable[..., Any], filepath: Any, overwrite: bool, max_shard_size: float | None) -> None:
    """Calls `keras.Model.save_weights`, the argument `save`."""
    name = str(filepath)
    is_known = name.endswith(".weights.h5") or (max_shard_size is not None and name.endswith(".weights.json"))
    if files.is_remote(name) or not is_known:  # Keras rejects the latter, and does not support shards at an address
        return save(filepath, overwrite, max_shard_size)
    if not _may_write(filepath, overwrite):
        return None
    if max_shard_size is None:
        return files.write_whole(resolved(filepath), save)
    start = os.path.basename(name).removesuffix(".weights.h5").removesuffix(".weights.json")

    def write(temporary: str) -> None:
        save(temporary, True, max_shard_size)

    return write_files(filepath, ".json", write, f"{glob.escape(start)}_[0-9][0-9][0-9][0-9][0-9].weights.h5")


def _may_write(filepath: Any, overwrite: bool) -> bool:
    """Whether the path does not exist or may be replaced; asks as Keras does."""
    if overwrite or not files.exists(str(filepath)):
        return True
    answer = ""
    while answer not in ("y", "n"):
        answer = input(f"{filepath} already exists: replace it? [y/n] ").strip().lower()
    return answer == "y"


def save_seed_states(network: keras.Model, store: Any) -> None:
    """Saves random states of the network's layers, which Keras does not save."""
    for number, state in enumerate(_seed_states(network)):
        store[f"seed_state_{number}"] = state


def load_seed_states(network: keras.Model, store: Any) -> dict[str, Any]:
    """Restores random states of the layers, and returns the other entries of the store."""
    for number, state in enumerate(_seed_states(network)):
        state.assign(store[f"seed_state_{number}"])
    return {name: store[name] for name in store.keys() if not name.startswith("seed_state_")}


def _seed_states(network: keras.Model) -> list[keras.Variable]:
    return [variable for variable in network.variables if variable.name == "seed_generator_state"]
