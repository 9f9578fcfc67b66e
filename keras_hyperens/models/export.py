"""A SavedModel of an ensemble: plain TensorFlow, no trace of this package."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_hyperens import uncertainty

if TYPE_CHECKING:
    from keras_hyperens.models.ensemble import Ensemble


def export_saved_model(ensemble: "Ensemble", filepath: str) -> None:
    """Writes the signatures `serving_default` and `uncertainty`; see `Ensemble.export`.

    Raises:
        ValueError: If the shape of a batch is unknown, because the ensemble was never called.
    """
    specs = input_specs(ensemble)
    module = tf.Module()
    module.variables_read, context = ensemble.servable()

    def members_of(inputs: Any) -> Any:
        with context():
            return ensemble.member_predictions(inputs, training=False)

    def prediction(inputs: Any) -> Any:
        return ensemble.combine(members_of(inputs))

    def named_prediction(*flat: Any) -> dict[str, Any]:
        inputs = keras.tree.pack_sequence_as(specs, flat)
        return _by_name(ensemble, prediction(inputs), lambda output, head: {"prediction": output})

    def named_uncertainty(*flat: Any) -> dict[str, Any]:
        members = members_of(keras.tree.pack_sequence_as(specs, flat))
        described = _by_name(ensemble, members, lambda output, head: _describe(output, head, ensemble.member_weights))
        return {**described, **_by_name(ensemble, ensemble.combine(members), lambda out, head: {"prediction": out})}

    signature = _signature(specs)
    structure = keras.tree.pack_sequence_as(specs, signature)
    module.serve = tf.function(prediction, input_signature=[structure])  # what `keras.layers.TFSMLayer` looks for
    signatures = {
        "serving_default": tf.function(named_prediction, input_signature=signature),
        "uncertainty": tf.function(named_uncertainty, input_signature=signature),
    }
    _write(module, filepath, signatures)


def input_specs(ensemble: "Ensemble") -> Any:
    """The structure of a batch: as last seen, else as the network declares it."""
    if ensemble._seen.batch is not None:
        return ensemble._seen.batch
    inputs = ensemble.declared_inputs()
    if inputs is None:
        raise ValueError("The shape of a batch is unknown: call the ensemble on one first. Received: never called")
    return inputs


def _signature(specs: Any) -> list[tf.TensorSpec]:
    """One named specification per input, of any batch size."""
    named = keras.tree.flatten_with_path(specs)
    return [
        tf.TensorSpec([None, *spec.shape[1:]], spec.dtype, name="_".join(map(str, path)) or "inputs")
        for path, spec in named
    ]


def _by_name(ensemble: "Ensemble", outputs: Any, describe: Callable[[Any, Any], dict]) -> dict[str, Any]:
    """Tensors by name; with several outputs the name of the output comes first."""
    heads = keras.tree.flatten(ensemble.heads_of(outputs))
    named = {}
    for number, ((path, output), head) in enumerate(zip(keras.tree.flatten_with_path(outputs), heads, strict=True)):
        names = ensemble.output_names or {}
        output_name = path[0] if path and isinstance(path[0], str) else (names[number] if path and names else number)
        for name, tensor in describe(output, head).items():
            named[f"{output_name}_{name}" if path else name] = tensor
    return named


def _describe(members: Any, head: Any, weights: Any) -> dict[str, Any]:
    described = {"members": ops.swapaxes(members, 0, 1)}
    if head is None:
        deviations = ops.square(members - ops.expand_dims(uncertainty.combine(members, weights), 0))
        return {**described, "variance": uncertainty.combine(deviations, weights)}
    if head in ("sigmoid", "bernoulli"):
        members = ops.stack([1 - members, members], axis=-1)
    return {
        **described,
        "predictive_entropy": uncertainty.predictive_entropy(members, weights),
        "mutual_information": uncertainty.mutual_information(members, weights),
    }


def _write(module: tf.Module, filepath: str, signatures: dict[str, Any]) -> None:
    """Under another name first, so that nobody reads half a model and an old one is lost last."""
    temporary = f"{str(filepath).rstrip('/')}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        tf.saved_model.save(module, temporary, signatures=signatures)
        if tf.io.gfile.exists(filepath):
            tf.io.gfile.rmtree(filepath)
        tf.io.gfile.rename(temporary, filepath)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
