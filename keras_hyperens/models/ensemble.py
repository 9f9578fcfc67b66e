"""Base class of the ensembles: a Keras model of members that maps plain batches to one prediction."""

from dataclasses import asdict
from functools import partial
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import likelihoods
from keras_hyperens import masks
from keras_hyperens.calibration.member_weights import PRIOR_ROWS
from keras_hyperens.likelihoods import Combination
from keras_hyperens.likelihoods import Value
from keras_hyperens.likelihoods.likelihood import Likelihood
from keras_hyperens.models.data import rows_and_labels
from keras_hyperens.models.decision_model import DecisionModel
from keras_hyperens.models.decision_model import Decisions
from keras_hyperens.models.decision_outputs import setting_of_each
from keras_hyperens.models.drift_model import DriftModel
from keras_hyperens.models.export import Servable
from keras_hyperens.models.export import check_arguments
from keras_hyperens.models.export import export_file
from keras_hyperens.models.export import export_saved_model
from keras_hyperens.models.export import input_specs
from keras_hyperens.models.functional import functional
from keras_hyperens.models.saving import save_model
from keras_hyperens.models.saving import save_weights
from keras_hyperens.models.summary import Parameters
from keras_hyperens.models.summary import SummaryModel
from keras_hyperens.models.temperatures import Temperatures
from keras_hyperens.models.temperatures import check_per
from keras_hyperens.models.temperatures import fitted
from keras_hyperens.models.temperatures import row_weights
from keras_hyperens.models.temperatures import temperature_scope
from keras_hyperens.models.temperatures import temperatures_of
from keras_hyperens.models.uncertainty_outputs import Measures
from keras_hyperens.models.uncertainty_outputs import describe
from keras_hyperens.models.views import SharedModel
from keras_hyperens.models.views import Views
from keras_hyperens.models.workers import MultiWorkerModel
from keras_hyperens.types import LikelihoodTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree

FORMAT_VERSION = 3  # of ensemble files


def inputs_of(model: keras.Model) -> TensorTree:
    """Returns the symbolic inputs of a model in the structure of a batch, or `None`."""
    if not getattr(model, "inputs", None):
        return None
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


class Ensemble(DecisionModel, DriftModel, SummaryModel, SharedModel, MultiWorkerModel):
    """Prediction, members' predictions, export, files. Abstract: subclasses define the members and their outputs."""

    likelihoods: Any = Value()  # for all outputs, or one per output by name or position
    combination: Combination = "mean"
    _temperatures: Temperatures | None = None  # result of `calibrate`
    member_weights: Any = None  # `[M]`, or `None` for equal weights

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._seen = SimpleNamespace(batch=None)  # the namespace keeps Keras and TensorFlow from wrapping the batch
        self._views = Views()  # for other results of `predict`

    def _member_outputs(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        """Raw outputs of every member, `[M, B, ..., C]`, in the structure of the outputs."""
        raise NotImplementedError

    def _predictions_of(self, raw: TensorTree) -> TensorTree:
        """Returns the members' predictions for their raw outputs."""
        return self._tempered(likelihoods.predictions(raw, self.likelihoods_of(raw)))

    def _member_predictions(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        """Returns the predictions of every member, `[M, B, ..., C]`, in the structure of the outputs."""
        return self._predictions_of(self._member_outputs(inputs, training))

    def _parameters(self) -> Parameters | None:
        """Returns the numbers of shared and member-specific parameters, or `None` if unknown."""
        raise NotImplementedError

    def _bounds(self) -> dict[str, Any]:
        """Returns the tuned bounds of each hyperparameter, `[M, 2]`, if any."""
        return {}

    def _declared_inputs(self) -> TensorTree:
        """Returns the symbolic inputs in the structure of a batch, or `None` if they are unknown without one."""
        raise NotImplementedError

    def _servable(self) -> Servable:
        """Returns the variables that a served prediction reads, and its raw outputs as a function of a batch."""
        return [variable.value for variable in self.variables], partial(self._member_outputs, training=False)

    def call(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        self._seen.batch = keras.tree.map_structure(self._seen_spec, inputs)
        return self._combine(self._member_predictions(inputs, training))

    def _seen_spec(self, leaf: Any) -> tf.TensorSpec:
        """Specification of inputs of any batch size, before Keras casts them to the compute dtype."""
        is_cast = keras.backend.standardize_dtype(leaf.dtype) == self.compute_dtype != self.variable_dtype
        return tf.TensorSpec([None, *leaf.shape[1:]], self.variable_dtype if is_cast else leaf.dtype)

    def _combine(self, members: TensorTree) -> TensorTree:
        """Returns one prediction `[B, ..., C]` for the members' predictions `[M, B, ..., C]`."""
        return self._final(self._pooled(members))

    def _final(self, pooled: TensorTree) -> TensorTree:
        """Applies the temperature of the ensemble, if any, to the combined prediction."""
        temperatures = self.temperatures
        return pooled if temperatures is None else temperatures.of_prediction(pooled, self.likelihoods_of(pooled))

    def _pooled(self, members: TensorTree) -> TensorTree:
        """Combines the members' predictions, before the temperature of the ensemble."""

        def one(output: Tensor, likelihood: Likelihood) -> Tensor:
            return likelihood.combine(output, self.member_weights, self.combination)

        return masks.mapped(one, members, self.likelihoods_of(members), mask=masks.of_all_members)

    @property
    def temperatures(self) -> Temperatures | None:
        """Result of `calibrate`, if it was called after the last `fit`."""
        return temperatures_of(self, self._temperatures)

    def _tempered(self, members: TensorTree) -> TensorTree:
        temperatures = self.temperatures
        return members if temperatures is None else temperatures.of_members(members, self.likelihoods_of(members))

    def likelihoods_of(self, outputs: TensorTree) -> LikelihoodTree:
        """Returns the likelihood of each output, in the structure of `outputs`."""
        return likelihoods.like_outputs(self.likelihoods, outputs, self.output_names)

    def predict_step(self, data: TensorTree) -> TensorTree:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with temperature_scope(self, self._temperatures):  # constant during the step
            return self(x, training=False)

    def predict_members(self, x: Any, **predict_arguments: Any) -> TensorTree:
        """Like `predict`, for every member (except those that training excluded): `[M, B, ..., C]`."""

        def members_of(inputs: TensorTree) -> TensorTree:
            members = self._member_predictions(inputs, training=False)
            return keras.tree.map_structure(lambda output: ops.swapaxes(output, 0, 1), members)  # batch axis first

        outputs = self._predict("members", members_of, x, predict_arguments)
        return keras.tree.map_structure(lambda output: np.swapaxes(output, 0, 1), outputs)

    def predict_uncertainty(
        self, x: Any, measures: Measures | None = None, **predict_arguments: Any
    ) -> dict[str, np.ndarray]:
        """Like `predict`, with uncertainty measures of each prediction.

        Args:
            x: As in `predict`.
            measures: Names of measures in `keras_hyperens.uncertainty`, or functions of members' predictions
                `[M, B, ..., C]` and their weights `[M]` or `None`. Defaults to `"predictive_entropy"`,
                `"expected_entropy"` and `"mutual_information"` for probabilities, `"total_variance"`,
                `"aleatoric_variance"` and `"epistemic_variance"` for Gaussians, `"variance"` for other values.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            Dictionary with `"prediction"` and the measures, batch axis first; several outputs are prefixed with their
            names, as in `"boxes_variance"`.

        Raises:
            ValueError: If an output does not support a measure.
        """

        def described(inputs: TensorTree) -> dict[str, Any]:
            return describe(self, self._member_outputs(inputs, training=False), measures)

        kind = ("uncertainty", None if measures is None else tuple(measures))
        return self._predict(kind, described, x, predict_arguments)

    def _predict(self, kind: Any, describe: Any, x: Any, predict_arguments: dict[str, Any]) -> Any:
        """`predict` with the result of `describe` for each batch, traced once per kind of description."""
        return self._views.of(self, kind, describe, self._temperatures).predict(x, **predict_arguments)

    def calibrate(
        self,
        x: Any,
        y: Any = None,
        per: str = "ensemble",
        *,
        sample_weight: Any = None,
        prior_rows: float = PRIOR_ROWS,
        **predict_arguments: Any,
    ) -> Temperatures:
        """Fits temperatures on held-out data, which become part of every prediction.

        A temperature T above 1 reduces the confidence: probabilities become `p ** (1 / T)`, normalized; the variance of
        a Gaussian is multiplied by T. Each temperature minimizes the negative log-likelihood on these samples and on
        `prior_rows` pseudo-samples with correct predictions, so few samples change little. Temperatures are saved with
        the ensemble and exported; `fit` removes them. Call `conformalize`, `abstain` and `set_reference` afterwards:
        their previous results are removed. Mutual information and divergences, which compare members with the combined
        prediction, are computed before the temperature of the ensemble.

        Args:
            x, y: Samples and labels as in `fit`: arrays, or `x` a `tf.data.Dataset` or `keras.utils.PyDataset` of both.
            per: `"ensemble"` (default): one temperature for the combined prediction; `"member"`: one per member,
                applied before the members are combined.
            sample_weight: As in `fit`: a weight of 2 counts as two equal samples. Positions that the Keras mask
                excludes, and those of a class that the loss ignores, never count.
            prior_rows: Number of pseudo-samples with correct predictions. With 0 only these samples count: below a few
                hundred of them the temperature worsens new predictions about as often as it improves them, especially
                if the same samples selected the members.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The temperatures: `.values` has one entry per output.

        Raises:
            ValueError: If an output is neither probabilities nor a Gaussian, or labels or weights do not match. The
                ensemble then keeps its previous temperatures.

        References:
            - Guo et al., [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)
            - Rahaman and Thiery, [Uncertainty Quantification and Deep
              Ensembles](https://arxiv.org/abs/2007.08792), on the order of pooling and calibration
        """
        check_per(per)
        x, y, sample_weight = rows_and_labels(x, y, sample_weight)
        members, counts = self._members_and_counts(x, predict_arguments)
        with temperature_scope(self, None):
            combined = keras.tree.map_structure(ops.convert_to_numpy, self._combine(members))
        y, weights = self._labels_and_weights(y, sample_weight, members, counts)
        temperatures = fitted(members, combined, y, self.likelihoods_of(members), per, weights, prior_rows)
        self._set_temperatures(temperatures)
        return temperatures

    def _members_and_counts(self, x: Any, predict_arguments: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the members' predictions `[M, B, ...]` without temperatures, and the mask of samples or positions."""

        def untempered(inputs: TensorTree) -> tuple[Any, Any]:
            with temperature_scope(self, None):
                members = self._member_predictions(inputs, training=False)
            counts = keras.tree.map_structure(_counts, members)
            return keras.tree.map_structure(lambda output: ops.swapaxes(output, 0, 1), members), counts

        members, counts = self._predict("untempered", untempered, x, predict_arguments)
        return keras.tree.map_structure(lambda output: np.swapaxes(output, 0, 1), members), counts

    def _predictions_and_counts(self, x: Any, predict_arguments: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the result of `predict`, and the mask of samples or positions."""

        def counted(inputs: Any) -> tuple[Any, Any]:
            members = self._member_predictions(inputs, training=False)
            return self._combine(members), self._counts_of(members)

        return self._predict("counted", counted, x, predict_arguments)

    def _counts_of(self, members: Any) -> Any:
        """Returns which samples or positions of each output count, `[B, ...]`."""
        return keras.tree.map_structure(_counts, members)

    def _labels_and_weights(
        self, y: Any, sample_weight: Any, members: TensorTree, counts: TensorTree
    ) -> tuple[Any, list[Any]]:
        """Returns labels in the structure of the outputs, and a weight per sample or position of each output."""
        names = self.output_names
        ignored = likelihoods.per_output(likelihoods.ignored_classes(getattr(self, "loss", None)), members, names)
        if isinstance(sample_weight, dict):
            sample_weight = setting_of_each("sample_weight", sample_weight, members, names)
        given = likelihoods.per_output(sample_weight, members, names)
        flat = likelihoods.parts_of_outputs(y, members, names)
        if len(flat) != len(keras.tree.flatten(members)):
            raise ValueError(
                f"There must be labels for each of {len(keras.tree.flatten(members))} outputs. Received: labels for "
                f"{len(flat)}"
            )
        pairs = [row_weights(*each) for each in zip(keras.tree.flatten(counts), flat, given, ignored, strict=True)]
        weights, labels = zip(*pairs, strict=True)
        return keras.tree.pack_sequence_as(members, labels), list(weights)

    def _set_temperatures(self, temperatures: Temperatures | None) -> None:
        """Sets temperatures, or `None`; removes traces with other temperatures, and decisions based on them."""
        self._set_decisions(Decisions())
        if temperatures != self._temperatures:
            self._temperatures = temperatures
            self._forget_traces()

    def _forget_traces(self) -> None:
        """Discards the traces of predictions."""
        self._views = Views()
        for function, make in (
            (self.predict_function, self.make_predict_function),
            (self.test_function, self.make_test_function),
        ):
            if function is not None:  # never set to `None` again, because another thread may call it
                make(force=True)

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **arguments: Any) -> None:
        """As `keras.Model.save`, but an existing file is kept until the new one is complete."""
        save_model(super().save, filepath, overwrite, zipped, arguments)

    def load_weights(self, filepath: Any, *arguments: Any, **keywords: Any) -> None:
        """As `keras.Model.load_weights`; removes temperatures and decisions, which belong to the previous weights."""
        super().load_weights(filepath, *arguments, **keywords)
        self._set_temperatures(None)

    def set_weights(self, weights: Any) -> None:
        """As `keras.Model.set_weights`; removes temperatures and decisions, which belong to the previous weights."""
        super().set_weights(weights)
        self._set_temperatures(None)

    def save_weights(self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None) -> None:
        """As `keras.Model.save_weights`, but an existing file is kept until the new one is complete."""
        save_weights(super().save_weights, filepath, overwrite, max_shard_size)

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        *,
        measures: Measures | None = None,
        **export_arguments: Any,
    ) -> None:
        """Exports the ensemble for serving.

        A SavedModel accepts any batch size and loads without this package; that of a hyper-batch ensemble has folded
        kernels at its hyperparameters. Its signatures, whose outputs have the batch axis first:

        - `serving_default`: maps a batch to the combined prediction;
        - `uncertainty`: maps a batch to `prediction`, `members` `[B, M, ..., C]` and the measures of
          `predict_uncertainty`;
        - `decide`, after `conformalize` or `abstain`: maps a batch to the result of `decide`.

        Args:
            filepath: Directory to write.
            format: `"tf_saved_model"`, or another format of `keras.Model.export`, which only exports the call.
            measures: Measures of the signature `uncertainty` of a SavedModel, as in `predict_uncertainty`.
            **export_arguments: As in `keras.Model.export`: `verbose`, `input_signature` (the shape and dtype of each
                input; defaults to those of the network, for any batch size), and arguments of other formats.

        Raises:
            TypeError: If an argument is unknown.
            ValueError: If the format does not support an argument, or the path exists and is not a SavedModel: no other
                content is deleted. An existing SavedModel is kept until the new one is complete.
        """
        check_arguments(format, export_arguments, measures=measures)
        if format == "tf_saved_model":
            return export_saved_model(self, filepath, measures, self._servable, **export_arguments)
        export_arguments.setdefault("input_signature", [input_specs(self)])  # Keras would assume float inputs
        seen = self._seen.batch
        try:
            export_file(filepath, lambda path: super(Ensemble, self).export(path, format=format, **export_arguments))
        finally:
            self._seen.batch = seen  # Keras calls the ensemble with an artificial batch

    def to_functional(self, measures: Measures | None = None) -> keras.Model:
        """Converts the ensemble to a plain Keras model with the same predictions.

        The result is a Functional model of the members and Keras operations. Its `.keras` file loads without this
        package, also on other Keras backends, and it can be part of other models. The members are copies; those of a
        hyper-batch ensemble are folded at their hyperparameters. Temperatures are constants. It is not compiled.

        Args:
            measures: Measures of uncertainty, as in `predict_uncertainty`. With them the model returns a dictionary of
                `"prediction"` and the measures, `[B, ...]`. By default it returns the prediction.

        Returns:
            A Functional Keras model.

        Raises:
            ValueError: If the network is subclassed, so that single members cannot be extracted, or was never called,
                or a member cannot be copied.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> layers = [khe.HyperBatchDense(units, ensemble_size=4) for units in (8, 2)]
        >>> ensemble = khe.HyperBatchEnsemble(keras.Sequential([keras.Input((3,)), *layers]), seed=0)
        >>> model = ensemble.to_functional(measures=["variance"])
        >>> outputs = model(np.ones((5, 3), "float32"))
        >>> sorted(outputs), outputs["prediction"].shape
        (['prediction', 'variance'], TensorShape([5, 2]))
        """
        return functional(self, self._plain_members(), measures)

    def _plain_members(self) -> list[keras.Model]:
        """Returns new plain Keras models of the members that contribute to predictions, with raw outputs."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        temperatures = None if self.temperatures is None else asdict(self.temperatures)
        return {
            **super().get_config(),
            "combination": self.combination,
            "temperatures": temperatures,
            "decisions": self._decisions.get_config(),
            "format_version": FORMAT_VERSION,
        }

    @staticmethod
    def _readable(config: dict[str, Any]) -> tuple[dict[str, Any], Temperatures | None, Decisions]:
        """Returns arguments, temperatures and decisions of the ensemble, from the result of `get_config`.

        Raises:
            ValueError: If another version wrote it.
        """
        version, temperatures = config.pop("format_version", None), config.pop("temperatures", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"This version of keras_hyperens reads files of format {FORMAT_VERSION}; save the ensemble again with "
                f"this version, or install the one that wrote the file. Received: format_version={version}"
            )
        decisions = Decisions.from_config(config.pop("decisions", None))
        return config, None if temperatures is None else Temperatures.from_config(temperatures), decisions

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))


def _counts(members: Tensor) -> Tensor:
    """Returns which samples or positions of an output `[M, B, ..., C]` count, `[B, ...]`: all, or the unmasked ones."""
    mask = masks.mask_of(members)
    if mask is not None:
        return ops.cast(masks.of_all_members(mask), "float32")
    return ops.ones_like(members[0, ..., 0], "float32")
