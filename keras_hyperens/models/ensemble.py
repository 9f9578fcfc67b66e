"""What every ensemble of this package is: a Keras model of members, from plain batches to one prediction."""

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

FORMAT_VERSION = 3  # of the files of ensembles


def inputs_of(model: keras.Model) -> TensorTree:
    """The symbolic inputs of a model in the structure of a batch; `None` if it has none."""
    if not getattr(model, "inputs", None):
        return None
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


class Ensemble(DecisionModel, DriftModel, SummaryModel, SharedModel, MultiWorkerModel):
    """Prediction, members' predictions, export, files. Abstract: a subclass knows its members and what they put out."""

    likelihoods: Any = Value()  # of all outputs, or of each by name or by position
    combination: Combination = "mean"
    _temperatures: Temperatures | None = None  # what `calibrate` found
    member_weights: Any = None  # `[M]`, or `None`: all equal

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._seen = SimpleNamespace(batch=None)  # in a namespace Keras and TensorFlow do not wrap the last batch
        self._views = Views()  # of whatever else `predict` can give

    def _member_outputs(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        """Raw outputs of every member, `[M, B, ..., C]`, in the structure of the outputs."""
        raise NotImplementedError

    def _predictions_of(self, raw: TensorTree) -> TensorTree:
        """The members' predictions from their raw outputs."""
        return self._tempered(likelihoods.predictions(raw, self.likelihoods_of(raw)))

    def _member_predictions(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        """Predictions of every member, `[M, B, ..., C]`, in the structure of the outputs."""
        return self._predictions_of(self._member_outputs(inputs, training))

    def _parameters(self) -> Parameters | None:
        """How many parameters members share and have; `None` if that is not known yet."""
        raise NotImplementedError

    def _bounds(self) -> dict[str, Any]:
        """Each hyperparameter's tuned bounds, `[M, 2]`, where there are such."""
        return {}

    def _declared_inputs(self) -> TensorTree:
        """The symbolic inputs in the structure of a batch, or `None` if they are not known without one."""
        raise NotImplementedError

    def _servable(self) -> Servable:
        """The variables that a served prediction reads, and its raw outputs as a function of a batch."""
        return [variable.value for variable in self.variables], partial(self._member_outputs, training=False)

    def call(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        self._seen.batch = keras.tree.map_structure(self._seen_spec, inputs)
        return self._combine(self._member_predictions(inputs, training))

    def _seen_spec(self, leaf: Any) -> tf.TensorSpec:
        """Of a batch of any size, before Keras cast it to the dtype of computations."""
        is_cast = keras.backend.standardize_dtype(leaf.dtype) == self.compute_dtype != self.variable_dtype
        return tf.TensorSpec([None, *leaf.shape[1:]], self.variable_dtype if is_cast else leaf.dtype)

    def _combine(self, members: TensorTree) -> TensorTree:
        """One prediction `[B, ..., C]` from the members' predictions `[M, B, ..., C]`."""
        return self._final(self._pooled(members))

    def _final(self, pooled: TensorTree) -> TensorTree:
        """The prediction, from what the members say together: with the temperature of the ensemble, if it has one."""
        temperatures = self.temperatures
        return pooled if temperatures is None else temperatures.of_prediction(pooled, self.likelihoods_of(pooled))

    def _pooled(self, members: TensorTree) -> TensorTree:
        """What the members say together, before a temperature of the ensemble."""

        def one(output: Tensor, likelihood: Likelihood) -> Tensor:
            return likelihood.combine(output, self.member_weights, self.combination)

        return masks.mapped(one, members, self.likelihoods_of(members), mask=masks.of_all_members)

    @property
    def temperatures(self) -> Temperatures | None:
        """What `calibrate` found, if it was called after the last `fit`."""
        return temperatures_of(self, self._temperatures)

    def _tempered(self, members: TensorTree) -> TensorTree:
        temperatures = self.temperatures
        return members if temperatures is None else temperatures.of_members(members, self.likelihoods_of(members))

    def likelihoods_of(self, outputs: TensorTree) -> LikelihoodTree:
        """What each output means, in the structure of `outputs`."""
        return likelihoods.like_outputs(self.likelihoods, outputs, self.output_names)

    def predict_step(self, data: TensorTree) -> TensorTree:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with temperature_scope(self, self._temperatures):  # one and the same from begin to end
            return self(x, training=False)

    def predict_members(self, x: Any, **predict_arguments: Any) -> TensorTree:
        """Like `predict`, for every member (that training did not leave out) by itself: `[M, B, ..., C]`."""

        def members_of(inputs: TensorTree) -> TensorTree:
            members = self._member_predictions(inputs, training=False)
            return keras.tree.map_structure(lambda output: ops.swapaxes(output, 0, 1), members)  # batches are joined

        outputs = self._predict("members", members_of, x, predict_arguments)
        return keras.tree.map_structure(lambda output: np.swapaxes(output, 0, 1), outputs)

    def predict_uncertainty(
        self, x: Any, measures: Measures | None = None, **predict_arguments: Any
    ) -> dict[str, np.ndarray]:
        """Like `predict`, with measures of how sure each prediction is.

        Args:
            x: As in `predict`.
            measures: Names of measures in `keras_hyperens.uncertainty`, or functions of members' predictions
                `[M, B, ..., C]` and their weights `[M]` or `None`. Default: for probabilities `"predictive_entropy"`,
                `"expected_entropy"` and `"mutual_information"`, for Gaussians `"total_variance"`,
                `"aleatoric_variance"` and `"epistemic_variance"`, for other values `"variance"`.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            By name, `"prediction"` and the measures, rows first; with several outputs the output's name comes first, as
            in `"boxes_variance"`.

        Raises:
            ValueError: If a measure is unknown for an output of this kind.
        """

        def described(inputs: TensorTree) -> dict[str, Any]:
            return describe(self, self._member_outputs(inputs, training=False), measures)

        kind = ("uncertainty", None if measures is None else tuple(measures))
        return self._predict(kind, described, x, predict_arguments)

    def _predict(self, kind: Any, describe: Any, x: Any, predict_arguments: dict[str, Any]) -> Any:
        """`predict`, but of each batch what `describe` says; traced once for each kind of description."""
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
        """Fits temperatures on rows that were not trained on; from now on they are part of every prediction.

        A temperature T above 1 makes predictions less sure: probabilities become `p ** (1 / T)`, normalized; the
        variance of a Gaussian is multiplied by T. Each has the lowest negative log-likelihood on these rows, and on
        `prior_rows` more on which the predictions are right as they are: few rows change little. They are saved with
        the ensemble and exported; `fit`, which makes other members, forgets them. `conformalize`, `abstain` and
        `set_reference` come after it: what they found before is forgotten. Mutual information and divergences, which
        compare members with what they say together, are taken before a temperature of the ensemble.

        Args:
            x, y: Rows and labels as in `fit`: arrays, or `x` a `tf.data.Dataset` or `keras.utils.PyDataset` of both.
            per: `"ensemble"` (default): one temperature, for the combined prediction; `"member"`: one for each member,
                before they are combined.
            sample_weight: As in `fit`: a sample of weight 2 counts as two equal ones. Positions that Keras' mask leaves
                out, and those of a class that the loss ignores, do not count in any case.
            prior_rows: As if on so many more rows predictions were right as they are. 0: the temperature of these rows
                alone, which below some hundred of them makes new predictions worse as often as better, above all where
                the same rows chose the members.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            What was found: `.values` has one entry per output.

        Raises:
            ValueError: If an output is neither probabilities nor a Gaussian, or labels or weights do not fit. The
                ensemble keeps the temperatures that it had.

        References:
            - Guo et al., [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)
            - Rahaman and Thiery, [Uncertainty Quantification and Deep
              Ensembles](https://arxiv.org/abs/2007.08792), on the order of pooling and calibrating
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
        """Without temperatures: the members' predictions `[M, B, ...]`, and which rows or positions count."""

        def untempered(inputs: TensorTree) -> tuple[Any, Any]:
            with temperature_scope(self, None):
                members = self._member_predictions(inputs, training=False)
            counts = keras.tree.map_structure(_counts, members)
            return keras.tree.map_structure(lambda output: ops.swapaxes(output, 0, 1), members), counts

        members, counts = self._predict("untempered", untempered, x, predict_arguments)
        return keras.tree.map_structure(lambda output: np.swapaxes(output, 0, 1), members), counts

    def _predictions_and_counts(self, x: Any, predict_arguments: dict[str, Any]) -> tuple[Any, Any]:
        """What `predict` gives, and which rows or positions count."""

        def counted(inputs: Any) -> tuple[Any, Any]:
            members = self._member_predictions(inputs, training=False)
            return self._combine(members), self._counts_of(members)

        return self._predict("counted", counted, x, predict_arguments)

    def _counts_of(self, members: Any) -> Any:
        """Which rows or positions of each output count, `[B, ...]`."""
        return keras.tree.map_structure(_counts, members)

    def _labels_and_weights(
        self, y: Any, sample_weight: Any, members: TensorTree, counts: TensorTree
    ) -> tuple[Any, list[Any]]:
        """Labels in the structure of the outputs, and a weight of each row or position of each output."""
        names = self.output_names
        ignored = likelihoods.per_output(likelihoods.ignored_classes(getattr(self, "loss", None)), members, names)
        given = likelihoods.per_output(sample_weight, members, names)
        flat = likelihoods.parts_of_outputs(y, members, names)
        pairs = [row_weights(*each) for each in zip(keras.tree.flatten(counts), flat, given, ignored, strict=True)]
        weights, labels = zip(*pairs, strict=True)
        return keras.tree.pack_sequence_as(members, labels), list(weights)

    def _set_temperatures(self, temperatures: Temperatures | None) -> None:
        """Takes temperatures, or none; what was traced with others is forgotten, and what was decided by others."""
        self._set_decisions(Decisions())
        if temperatures != self._temperatures:
            self._temperatures = temperatures
            self._forget_traces()

    def _forget_traces(self) -> None:
        """Has predictions traced anew."""
        self._views = Views()
        for function, make in (
            (self.predict_function, self.make_predict_function),
            (self.test_function, self.make_test_function),
        ):
            if function is not None:  # never `None` again: another thread may be about to call it
                make(force=True)

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **arguments: Any) -> None:
        """As `keras.Model.save`, but an older file stays whole until the new one is."""
        save_model(super().save, filepath, overwrite, zipped, arguments)

    def save_weights(self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None) -> None:
        """As `keras.Model.save_weights`, but an older file stays whole until the new one is."""
        save_weights(super().save_weights, filepath, overwrite, max_shard_size)

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        *,
        measures: Measures | None = None,
        **export_arguments: Any,
    ) -> None:
        """Writes the ensemble for serving.

        A SavedModel takes any batch size and loads without this package; a hyper-batch ensemble's has folded kernels,
        at its hyperparameters. Its signatures, whose outputs all have the batch first:

        - `serving_default`: a batch to the combined prediction;
        - `uncertainty`: a batch to `prediction`, `members` `[B, M, ..., C]` and the measures of `predict_uncertainty`;
        - `decide`, after `conformalize` or `abstain`: a batch to what `decide` gives.

        Args:
            filepath: The directory to write.
            format: `"tf_saved_model"`, or any other that `keras.Model.export` knows: these get the call alone.
            measures: Of the signature `uncertainty` of a SavedModel, as in `predict_uncertainty`.
            **export_arguments: As in `keras.Model.export`: `verbose`, `input_signature` (the shape and dtype of each
                input; by default those of the network, for any batch size), and others of other formats.

        Raises:
            TypeError: If an argument is unknown.
            ValueError: If an argument does not go with the format, or if something else than a SavedModel stands in its
                place: nothing else is ever deleted. An older one stays whole until the new one is.
        """
        check_arguments(format, export_arguments, measures=measures)
        if format == "tf_saved_model":
            return export_saved_model(self, filepath, measures, self._servable, **export_arguments)
        export_arguments.setdefault("input_signature", [input_specs(self)])  # Keras would take all inputs for floats
        seen = self._seen.batch
        try:
            export_file(filepath, lambda path: super(Ensemble, self).export(path, format=format, **export_arguments))
        finally:
            self._seen.batch = seen  # Keras calls the ensemble with what it takes for a batch

    def to_functional(self, measures: Measures | None = None) -> keras.Model:
        """A plain Keras model of the same predictions: a Functional graph of the members and Keras' own operations.

        It saves to a `.keras` file that loads without this package, on other Keras backends too, and can be a part of
        other models. Members are copies, those of a hyper-batch ensemble folded at their hyperparameters; temperatures
        are constants. It is not compiled.

        Args:
            measures: Of uncertainty, as in `predict_uncertainty`: then the model gives a dictionary with `"prediction"`
                and these, `[B, ...]`. Default: the prediction alone.

        Raises:
            ValueError: If the network is subclassed, so that no single member can be taken out of it, or was never
                called; if a member cannot be copied.

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
        """New plain Keras models of the members that take part in predictions, with raw outputs."""
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
        """Arguments of the ensemble, its temperatures and its decisions, from what `get_config` wrote.

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
    """Which rows or positions of an output `[M, B, ..., C]` count, `[B, ...]`: all, or those that the mask lets."""
    mask = masks.mask_of(members)
    if mask is not None:
        return ops.cast(masks.of_all_members(mask), "float32")
    return ops.ones_like(members[0, ..., 0], "float32")
