"""SavedModel export of an ensemble, without dependency on this package."""

import functools
import glob
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens import files
from keras_hyperens.models.decision_outputs import decided
from keras_hyperens.models.network import accepted_rows
from keras_hyperens.models.uncertainty_outputs import Measures
from keras_hyperens.models.uncertainty_outputs import describe
from keras_hyperens.replacing import SAVED_MODEL
from keras_hyperens.replacing import check_replaceable
from keras_hyperens.replacing import resolved
from keras_hyperens.replacing import write_directory
from keras_hyperens.replacing import write_files
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

OPENVINO = ".xml"  # with a separate file of weights

# Variables that a served prediction reads, and a function from a batch to raw outputs `[M, B, ..., C]`.
KEYWORDS: dict[str, set[str]] = {"tf_saved_model": set(), "onnx": {"opset_version"}, "openvino": set()}
Servable = tuple[list[tf.Variable], Callable[[Any], Any]]
# As Keras traces `predict`: AutoGraph is not required, and converting every function takes a second.
_traced = functools.partial(tf.function, autograph=False)


def check_arguments(format: str, arguments: dict[str, Any], **of_saved_models: Any) -> None:
    """Raises an error for arguments of `export` without effect.

    Args:
        format: Format of the export.
        arguments: All arguments except those of a SavedModel; the LiteRT converter checks its own.
        of_saved_models: Arguments of a SavedModel, `None` if they are not set.
    """
    given = {name: value for name, value in of_saved_models.items() if value is not None}
    if given and format != "tf_saved_model":
        received = ", ".join(f"{name}={value!r}" for name, value in {"format": format, **given}.items())
        raise ValueError(
            'Only a SavedModel supports `measures` and `folded=False`: use format="tf_saved_model", or '
            f"remove them. Received: {received}"
        )
    known = {"verbose", "input_signature", *KEYWORDS.get(format, arguments)}
    if unknown := sorted(set(arguments) - known):
        raise TypeError(f"`export` with format={format!r} takes {sorted(known)}. Received: {unknown}")


def export_saved_model(
    ensemble: keras.Model,
    filepath: str,
    measures: Measures | None,
    servable: Callable[[], Servable],
    input_signature: Any = None,
    verbose: bool | None = None,
) -> None:
    """Writes the signatures `serving_default`, `uncertainty` and `decide`; see `Ensemble.export`.

    Args:
        ensemble, filepath, measures: As in `Ensemble.export`.
        servable: `Ensemble._servable`, or an equivalent function.
        input_signature, verbose: As in `keras.Model.export`.

    Raises:
        ValueError: If the path exists and is not a SavedModel, or the shape of a batch is unknown, because the
            ensemble was never called.
    """
    check_replaceable(filepath, SAVED_MODEL)
    specs = input_specs(ensemble) if input_signature is None else _given_specs(ensemble, input_signature)
    module = tf.Module()
    module.variables_read, outputs_of = servable()
    raw_of = _traced(outputs_of, input_signature=[specs])  # one trace of the network for all signatures
    module.tables = [each.lookup_table for each in ensemble._flatten_layers() if hasattr(each, "lookup_table")]

    def prediction(inputs: TensorTree) -> TensorTree:
        return ensemble._combine(ensemble._predictions_of(raw_of(inputs)))

    def named_prediction(*flat: Tensor) -> dict[str, Any]:
        return describe(ensemble, raw_of(keras.tree.pack_sequence_as(specs, flat)), measures=())

    def named_uncertainty(*flat: Tensor) -> dict[str, Any]:
        return describe(ensemble, raw_of(keras.tree.pack_sequence_as(specs, flat)), measures, with_members=True)

    def named_decision(*flat: Any) -> dict[str, Any]:
        return decided(ensemble, raw_of(keras.tree.pack_sequence_as(specs, flat)), ensemble._decisions)

    signature = keras.tree.flatten(specs)
    module.serve = _traced(prediction, input_signature=[specs])  # used by `keras.layers.TFSMLayer`
    signatures = {
        "serving_default": _traced(named_prediction, input_signature=signature),
        "uncertainty": _traced(named_uncertainty, input_signature=signature),
    }
    if ensemble._decisions.are_there:
        signatures["decide"] = _traced(named_decision, input_signature=signature)
    write_directory(filepath, SAVED_MODEL, lambda path: tf.saved_model.save(module, path, signatures=signatures))
    if verbose:
        print(f"Saved {filepath} with the signatures {list(signatures)}")


def export_file(filepath: str, export: Callable[[str], Any]) -> None:
    """Calls Keras' `export` with a temporary name, and then renames the file."""
    name = str(filepath)
    if not name.endswith(OPENVINO) or files.is_remote(name):
        return files.write_whole(resolved(filepath), export)
    weights = os.path.basename(resolved(filepath)).removesuffix(OPENVINO) + ".bin"
    write_files(filepath, OPENVINO, export, glob.escape(weights))


def example_batch(ensemble: keras.Model, input_signature: Any) -> TensorTree:
    """Returns one sample with which to call an ensemble before an export; arguments as in `export_saved_model`."""
    specs = input_specs(ensemble) if input_signature is None else input_signature
    specs = specs[0] if isinstance(specs, list | tuple) and len(specs) == 1 else specs
    if any(None in spec.shape[1:] for spec in keras.tree.flatten(specs)):
        return accepted_rows(ensemble, specs, 1)
    return keras.tree.map_structure(lambda spec: tf.zeros([1, *spec.shape[1:]], spec.dtype), specs)


def _given_specs(ensemble: keras.Model, input_signature: Any) -> TensorTree:
    """Returns the specifications of `input_signature`, a list with the single argument of a call, with input names."""
    specs = input_specs(ensemble)
    own, given = keras.tree.flatten(specs), keras.tree.flatten(input_signature)
    if len(own) != len(given) or not all(hasattr(each, "shape") and hasattr(each, "dtype") for each in given):
        raise ValueError(
            f"`input_signature` must have one `tf.TensorSpec` for each of {len(own)} inputs, like {[specs]}. "
            f"Received: input_signature={input_signature!r}"
        )
    named = [tf.TensorSpec(new.shape, new.dtype or old.dtype, old.name) for new, old in zip(given, own, strict=True)]
    return keras.tree.pack_sequence_as(specs, named)


def input_specs(ensemble: keras.Model) -> TensorTree:
    """Returns the specification of a batch of any size, with a name per input.

    Shapes and dtypes are those of the network if it declares them, in the structure of the last batch.
    """
    seen, declared = ensemble._seen.batch, ensemble._declared_inputs()
    if seen is None and declared is None:
        raise ValueError("The shape of a batch is unknown: call the ensemble on one first. Received: never called")
    structure = declared if seen is None else seen
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    leaves = keras.tree.flatten(structure)
    inputs = [] if declared is None else keras.tree.flatten(declared)
    names = ["_".join(map(str, path)) or "inputs" for path in paths]
    if len(inputs) == len(leaves):
        by_name = {each.name: each for each in inputs}
        leaves = [by_name[name] for name in names] if set(names) == set(by_name) else inputs
        names = [
            each.name if path and not isinstance(path[0], str) else name
            for each, path, name in zip(leaves, paths, names, strict=True)
        ]
    specs = [tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype, name=name) for leaf, name in zip(leaves, names)]
    return keras.tree.pack_sequence_as(structure, specs)
