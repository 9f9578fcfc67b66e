"""A SavedModel of an ensemble: plain TensorFlow, no trace of this package."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import keras
import tensorflow as tf

from keras_hyperens import files
from keras_hyperens.models.describing import Measures
from keras_hyperens.models.describing import describe
from keras_hyperens.replacing import SAVED_MODEL
from keras_hyperens.replacing import check_replaceable
from keras_hyperens.replacing import resolved
from keras_hyperens.replacing import write_directory

if TYPE_CHECKING:
    from keras_hyperens.models.ensemble import Ensemble

SEVERAL_FILES = (".xml",)  # OpenVINO's, with the weights beside

# Variables that a served prediction reads, and a function from a batch to raw outputs `[M, B, ..., C]`.
Servable = tuple[list[tf.Variable], Callable[[Any], Any]]


def export_saved_model(
    ensemble: "Ensemble", filepath: str, measures: Measures | None, servable: Callable[[], Servable]
) -> None:
    """Writes the signatures `serving_default` and `uncertainty`; see `Ensemble.export`.

    Args:
        ensemble, filepath, measures: As there.
        servable: `Ensemble.servable`, or what gives the same.

    Raises:
        ValueError: If something else than a SavedModel is there; if the shape of a batch is unknown, because the
            ensemble was never called.
    """
    check_replaceable(filepath, SAVED_MODEL)
    specs = input_specs(ensemble)
    module = tf.Module()
    module.variables_read, raw_of = servable()
    module.tables = [each.lookup_table for each in ensemble._flatten_layers() if hasattr(each, "lookup_table")]

    def prediction(inputs: Any) -> Any:
        return ensemble.combine(ensemble.predictions_of(raw_of(inputs)))

    def named_prediction(*flat: Any) -> dict[str, Any]:
        return describe(ensemble, raw_of(keras.tree.pack_sequence_as(specs, flat)), measures=())

    def named_uncertainty(*flat: Any) -> dict[str, Any]:
        return describe(ensemble, raw_of(keras.tree.pack_sequence_as(specs, flat)), measures, with_members=True)

    signature = keras.tree.flatten(specs)
    module.serve = tf.function(prediction, input_signature=[specs])  # what `keras.layers.TFSMLayer` looks for
    signatures = {
        "serving_default": tf.function(named_prediction, input_signature=signature),
        "uncertainty": tf.function(named_uncertainty, input_signature=signature),
    }
    write_directory(filepath, SAVED_MODEL, lambda path: tf.saved_model.save(module, path, signatures=signatures))


def export_file(filepath: str, export: Callable[[str], Any]) -> None:
    """Calls `export` of Keras with another name, if what it writes is one file, and then renames it."""
    if str(filepath).endswith(SEVERAL_FILES):
        return export(str(filepath))
    files.write_whole(resolved(filepath), export)


def input_specs(ensemble: "Ensemble") -> Any:
    """The structure of a batch of any size, each input with a name.

    Shapes and dtypes are those that the network declares, where it does, in the structure of the last batch seen.
    """
    seen, declared = ensemble._seen.batch, ensemble.declared_inputs()
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
