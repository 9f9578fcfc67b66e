"""Putting data together for retraining, and trained models into an ensemble."""

import json
from typing import Any

import keras
import numpy as np

from keras_hyperens.models import HyperDeepEnsemble


def joined_rows(x: Any, y: Any, validation_data: Any) -> dict[str, Any]:
    """Training and validation rows together, as arguments of `fit`."""
    if hasattr(x, "concatenate") and hasattr(validation_data, "element_spec"):
        return {"x": x.concatenate(validation_data)}
    leaves = keras.tree.flatten((x, y))
    if not isinstance(validation_data, tuple | list) or not all(hasattr(leaf, "shape") for leaf in leaves):
        raise ValueError(
            "Training and validation rows must both be arrays, or both `tf.data` datasets. "
            f"Received: x of type {type(x).__name__}, validation_data of type {type(validation_data).__name__}"
        )

    def join(first: Any, second: Any) -> Any:
        return np.concatenate([keras.ops.convert_to_numpy(first), keras.ops.convert_to_numpy(second)])

    names = {"x": (x, validation_data[0]), "y": (y, validation_data[1])}
    return {name: keras.tree.map_structure(join, *pair) for name, pair in names.items()}


def compile_like(ensemble: HyperDeepEnsemble, model: keras.Model) -> None:
    """Compiles an ensemble with a member's loss and metrics; metrics get probabilities, so they take no logits."""
    config = model.get_compile_config()
    if not config:
        return
    config = json.loads(json.dumps(config).replace('"from_logits": true', '"from_logits": false'))
    loss = model.get_compile_config()["loss"]
    chosen = {key: config[key] for key in ("loss_weights", "metrics", "weighted_metrics")} | {"loss": loss}
    ensemble.compile(**keras.saving.deserialize_keras_object(chosen))
