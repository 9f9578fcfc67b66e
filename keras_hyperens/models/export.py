"""A SavedModel of a hyper-batch ensemble: kernels folded once, plain TensorFlow, no trace of this package."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_hyperens import uncertainty
from keras_hyperens.hyperparameters import hyperparameter_scope
from keras_hyperens.layers import HyperBatchLayer
from keras_hyperens.layers.folding import stored_weights
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import hyper_layers

if TYPE_CHECKING:
    from keras_hyperens.models.hyper_batch_ensemble import HyperBatchEnsemble


def export_saved_model(ensemble: "HyperBatchEnsemble", filepath: str) -> None:
    """Writes the signatures `serving_default` and `uncertainty`; see `HyperBatchEnsemble.export`.

    Raises:
        ValueError: If the shape of a batch is unknown, because the ensemble was never called.
    """
    specs = input_specs(ensemble)
    values = ops.convert_to_numpy(ensemble.mean_values())
    folded = _fold(ensemble, values)
    module = tf.Module()
    module.folded = [weight for weights in folded.values() for weight in weights if weight is not None]
    module.shared = _shared_variables(ensemble)

    def members_of(*flat: Any) -> Any:
        inputs = keras.tree.pack_sequence_as(specs, flat)
        with hyperparameter_scope(values), stored_weights(folded):
            return ensemble.member_predictions(inputs, training=False)

    def prediction(*flat: Any) -> Any:
        return keras.tree.map_structure(uncertainty.combine, members_of(*flat))

    def named_prediction(*flat: Any) -> dict[str, Any]:
        return _by_name(ensemble, prediction(*flat), lambda output, head: {"prediction": output})

    def named_uncertainty(*flat: Any) -> dict[str, Any]:
        return _by_name(ensemble, members_of(*flat), _describe)

    signature = _signature(specs)
    module.serve = tf.function(prediction, input_signature=signature)  # what `keras.layers.TFSMLayer` looks for
    signatures = {
        "serving_default": tf.function(named_prediction, input_signature=signature),
        "uncertainty": tf.function(named_uncertainty, input_signature=signature),
    }
    _write(module, filepath, signatures)


def input_specs(ensemble: "HyperBatchEnsemble") -> Any:
    """The structure of a batch: as last seen, else as the network declares it."""
    if ensemble._seen.batch is not None:
        return ensemble._seen.batch
    inputs = getattr(ensemble.network, "inputs", None)
    if not inputs:
        raise ValueError("The shape of a batch is unknown: call the ensemble on one first. Received: never called")
    return inputs[0] if len(inputs) == 1 else {tensor.name: tensor for tensor in inputs}


def _signature(specs: Any) -> list[tf.TensorSpec]:
    """One named specification per input, of any batch size."""
    named = keras.tree.flatten_with_path(specs)
    return [
        tf.TensorSpec([None, *spec.shape[1:]], spec.dtype, name="_".join(map(str, path)) or "inputs")
        for path, spec in named
    ]


def _fold(ensemble: "HyperBatchEnsemble", values: Any) -> dict[HyperBatchLayer, tuple[Any, Any]]:
    def variable(weight: Any) -> tf.Variable | None:
        return None if weight is None else tf.Variable(weight, trainable=False)

    folded = {}
    for layer in hyper_batch_layers(ensemble.network):
        kernels, biases = layer.fold(values)
        folded[layer] = (variable(kernels), variable(biases))
    return folded


def _shared_variables(ensemble: "HyperBatchEnsemble") -> list[tf.Variable]:
    """Variables of the ordinary layers, which all members share."""
    own = {id(weight) for layer in hyper_layers(ensemble.network) for weight in layer.weights}
    return [weight.value for weight in ensemble.network.weights if id(weight) not in own]


def _by_name(ensemble: "HyperBatchEnsemble", outputs: Any, describe: Callable[[Any, Any], dict]) -> dict[str, Any]:
    """Tensors by name; with several outputs the name of the output comes first."""
    heads = keras.tree.flatten(ensemble.heads_of(outputs))
    named = {}
    for number, ((path, output), head) in enumerate(zip(keras.tree.flatten_with_path(outputs), heads, strict=True)):
        names = ensemble.output_names or {}
        output_name = path[0] if path and isinstance(path[0], str) else (names[number] if path and names else number)
        for name, tensor in describe(output, head).items():
            named[f"{output_name}_{name}" if path else name] = tensor
    return named


def _describe(members: Any, head: Any) -> dict[str, Any]:
    described = {"prediction": uncertainty.combine(members), "members": ops.swapaxes(members, 0, 1)}
    if head is None:
        return {**described, "variance": ops.var(members, axis=0)}
    if head in ("sigmoid", "bernoulli"):
        members = ops.stack([1 - members, members], axis=-1)
    return {
        **described,
        "predictive_entropy": uncertainty.predictive_entropy(members),
        "mutual_information": uncertainty.mutual_information(members),
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
