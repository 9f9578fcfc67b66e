"""What every ensemble of this package is: a Keras model of members, from plain batches to one prediction."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import heads
from keras_hyperens.models.export import export_saved_model

FORMAT_VERSION = 1  # of the files of ensembles


def inputs_of(model: keras.Model) -> Any:
    """The symbolic inputs of a model in the structure of a batch; `None` if it has none."""
    if not getattr(model, "inputs", None):
        return None
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


class Ensemble(keras.Model):
    """Prediction, members' predictions, export, files. Abstract: a subclass knows its members and what they put out."""

    heads: Any = None  # what the outputs mean: see `keras_hyperens.heads`
    combination = "mean"
    member_weights: Any = None  # `[M]`, or `None`: all equal

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # In a namespace Keras and TensorFlow do not wrap it: the structure of the last batch, and a check done once.
        self._seen = SimpleNamespace(batch=None, rows_checked=False)

    def member_predictions(self, inputs: Any, training: bool | None = None) -> Any:
        """Predictions of every member, `[M, B, ..., C]`, in the structure of the outputs."""
        raise NotImplementedError

    def declared_inputs(self) -> Any:
        """The symbolic inputs in the structure of a batch, or `None` if they are not known without one."""
        raise NotImplementedError

    def servable(self) -> tuple[list[tf.Variable], Callable[[], AbstractContextManager]]:
        """The variables that a served prediction reads, and a context to enter while it is traced."""
        return [variable.value for variable in self.variables], nullcontext

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        self._seen.batch = keras.tree.map_structure(
            lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), inputs
        )
        return self.combine(self.member_predictions(inputs, training))

    def combine(self, members: Any) -> Any:
        """One prediction `[B, ..., C]` from the members' predictions `[M, B, ..., C]`."""

        def one(output: Any, head: Any) -> Any:
            return heads.combined(output, head, self.member_weights, self.combination)

        return keras.tree.map_structure(one, members, self.heads_of(members))

    def heads_of(self, outputs: Any) -> Any:
        """What each output means, in the structure of `outputs`."""
        return heads.like_outputs(self.heads, outputs, self.output_names)

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if not self._predicts_members:
            return self(x, training=False)
        members = self.member_predictions(x, training=False)
        return keras.tree.map_structure(lambda output: ops.swapaxes(output, 0, 1), members)  # batches are joined

    _predicts_members = False
    _member_predict_function: Any = None
    predict_function: Any

    def predict_members(self, x: Any, **predict_arguments: Any) -> Any:
        """Like `predict`, for every member by itself: `[M, B, ..., C]`."""
        of_ensemble, self.predict_function = self.predict_function, self._member_predict_function
        self._predicts_members = True
        try:
            outputs = self.predict(x, **predict_arguments)
            self._member_predict_function = self.predict_function
        finally:
            self._predicts_members = False
            self.predict_function = of_ensemble
        return keras.tree.map_structure(lambda output: np.swapaxes(output, 0, 1), outputs)

    def export(self, filepath: str, format: str = "tf_saved_model", **export_arguments: Any) -> None:
        """Writes the ensemble for serving.

        A SavedModel takes any batch size and loads without this package; a hyper-batch ensemble's has folded kernels,
        at the means of its hyperparameters. Its signatures, whose outputs all have the batch first:

        - `serving_default`: a batch to the combined prediction;
        - `uncertainty`: a batch to `prediction`, `members` `[B, M, ..., C]` and, by kind of output,
          `predictive_entropy` and `mutual_information`, or `variance`.

        Args:
            filepath: The directory to write.
            format: `"tf_saved_model"`, or any other that `keras.Model.export` knows: these get the call alone.
            **export_arguments: For the other formats, passed on to `keras.Model.export`.
        """
        if format == "tf_saved_model":
            return export_saved_model(self, filepath)
        super().export(filepath, format=format, **export_arguments)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "format_version": FORMAT_VERSION}

    @staticmethod
    def readable(config: dict[str, Any]) -> dict[str, Any]:
        """A copy of what `get_config` wrote, without the version; raises a `ValueError` if that is another one."""
        version = config.get("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(
                f"This version of keras_hyperens reads files of format {FORMAT_VERSION}; save the ensemble again with "
                f"this version, or install the one that wrote the file. Received: format_version={version}"
            )
        return {name: value for name, value in config.items() if name != "format_version"}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
