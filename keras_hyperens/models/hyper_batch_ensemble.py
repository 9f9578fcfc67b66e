"""Hyper-batch ensemble: a Keras model around a network of hyper-batch and ordinary layers."""

import random
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_hyperens import likelihoods
from keras_hyperens.conversion import Conversion
from keras_hyperens.conversion import Sharing
from keras_hyperens.conversion import convert_hypermodel
from keras_hyperens.conversion import convert_model
from keras_hyperens.conversion import table
from keras_hyperens.conversion.summary import Report
from keras_hyperens.hyperparameters import Hyperparameter
from keras_hyperens.hyperparameters import HyperparameterSpace
from keras_hyperens.hyperparameters.distribution import HyperparameterDistribution
from keras_hyperens.losses import WeightedLoss
from keras_hyperens.losses.hyperparameter_loss import used_by
from keras_hyperens.models.compiled_loss import check_hyperparameters
from keras_hyperens.models.compiled_loss import unpenalized
from keras_hyperens.models.compiled_metrics import check_metrics
from keras_hyperens.models.compiled_metrics import tell_metrics
from keras_hyperens.models.data import batch_specs
from keras_hyperens.models.data import labels
from keras_hyperens.models.data import split_rows
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.models.ensemble import inputs_of
from keras_hyperens.models.equality import check_conversion
from keras_hyperens.models.export import Servable
from keras_hyperens.models.export import check_arguments
from keras_hyperens.models.export import example_batch
from keras_hyperens.models.export import export_saved_model
from keras_hyperens.models.members import Members
from keras_hyperens.models.network import checked_network
from keras_hyperens.models.pruning import pruned
from keras_hyperens.models.response_curves import ResponseCurve
from keras_hyperens.models.response_curves import response_curves
from keras_hyperens.models.saving import load_seed_states
from keras_hyperens.models.saving import save_seed_states
from keras_hyperens.models.summary import Parameters
from keras_hyperens.models.summary import parameters_in
from keras_hyperens.models.temperatures import Temperatures
from keras_hyperens.models.training.bounds_prior import BoundsPrior
from keras_hyperens.models.training.optimizers import checked_optimizer
from keras_hyperens.models.training.optimizers import default_tuning_optimizer
from keras_hyperens.models.training.settings import TrainingSettings
from keras_hyperens.models.training.trainer import Trainer
from keras_hyperens.models.training.trainer import with_guards
from keras_hyperens.models.training.tuned_temperature import TunedTemperature
from keras_hyperens.models.uncertainty_outputs import Measures
from keras_hyperens.models.workers import check_distribution
from keras_hyperens.sample_weights import check_class_weight
from keras_hyperens.types import LossTree
from keras_hyperens.types import MetricTree
from keras_hyperens.types import TensorTree

RESPONSES = ("centered", "reference")
FIXED_WIDTH = 1e-2  # of the initial intervals if hyperparameters are not tuned


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperBatchEnsemble(Ensemble):
    """Ensemble of M members in one network, which share nearly all weights and differ in their hyperparameters.

    Every training step draws hyperparameters for every member from the member's own distribution and trains the
    weights for them. Tuning steps update the distributions on held-out data. A trained member is the network at the
    center of its interval, and a prediction is the mean of the members' predictions. A member that diverges in training
    is excluded from predictions with a warning; `left_out` lists such members.

    Args:
        network: A Keras model (Sequential, Functional, subclassed, nested) of hyper-batch and ordinary layers, from
            plain batches to raw outputs. All members share ordinary layers. The network must not mix samples.
        space, ensemble_size: Tuned hyperparameters, and the number of members M. Default to those of the network's
            layers, which must agree. Set `space` if only the loss has hyperparameters. An empty space defines a batch
            ensemble.
        combination: Combination of the members' predictions: `"mean"` (default), `"trimmed_mean"` (without the member
            farthest from the median, per sample), `("trimmed_mean", n_outliers)`, or `"median"` (renormalized for class
            probabilities). Training and tuning always use the mean.
        output_activation: Function from raw outputs to predictions: `"softmax"`, `"sigmoid"`, `"gaussian"` (means and
            logarithms of standard deviations, to means and variances) or `None`, for several outputs a list or
            dictionary of these. Defaults to `"auto"`: `compile` infers it from the loss and its `from_logits`.
        initial_width: Width of each member's initial interval, a fraction of the range of every hyperparameter.
            Defaults to 1/3, and to 0.15 around initial values.
        initial_values: Dictionary of values near which all members start, for example the best ones of a search. By
            default the members cover the whole range.
        response: Dependence of kernels on hyperparameters. `"centered"` (default): on the distance from the center of
            the member's own interval, where the kernel is that of a batch ensemble. `"reference"`: on the position in
            the range, as in the paper, where the second kernel learns what the first one learns, and tuning can follow
            a gradient of the wrong sign.
        seed: Seed of the initial intervals, of the draws and of the order of tuning data. By default it is drawn from
            Python's generator, which `keras.utils.set_random_seed` sets.

    Input shape:
        Plain batches `(B, ...)` as the network takes them; members are tiled internally.

    Output shape:
        The combined prediction, `(B, ..., C)`: probabilities for a classifier.

    Raises:
        TypeError: If `network` is not a Keras model or `space` is not a space.
        ValueError: If the network has no hyper-batch layer, or layers of another ensemble, or a seed is negative.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
    >>> members = dict(ensemble_size=4, space=space)
    >>> network = keras.Sequential([
    ...     keras.Input((3,)),
    ...     khe.HyperBatchDense(8, activation="relu", kernel_l2="l2", **members),
    ...     khe.HyperBatchDense(2, kernel_l2="l2", **members),
    ... ])
    >>> ensemble = khe.HyperBatchEnsemble(network, seed=0)
    >>> ensemble.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
    >>> history = ensemble.fit(x, y, tuning_split=0.25, epochs=2, verbose=0)
    >>> ensemble.predict(x, verbose=0).shape, ensemble.predict_members(x, verbose=0).shape
    ((64, 2), (4, 64, 2))

    References:
        - Wenzel et al., [Hyperparameter Ensembles for Robustness and Uncertainty
          Quantification](https://arxiv.org/abs/2006.13570), NeurIPS 2020
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        space: HyperparameterSpace | None = None,
        ensemble_size: int | None = None,
        combination: likelihoods.Combination = "mean",
        output_activation: Any = "auto",
        initial_width: float | None = None,
        initial_values: Mapping[str, float] | None = None,
        response: str = "centered",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise ValueError(f"`seed` must be a non-negative integer or None. Received: seed={seed!r}")
        if response not in RESPONSES:
            raise ValueError(f"`response` must be one of {RESPONSES}. Received: response={response!r}")
        space, ensemble_size = checked_network(network, space, ensemble_size)
        combination = likelihoods.checked_combination(combination)
        outputs = keras.tree.flatten(getattr(network, "outputs", None) or [None])
        likelihoods.check_output_activation(output_activation, len(outputs))
        kwargs.setdefault("dtype", network.dtype_policy)
        super().__init__(**kwargs)
        self.network = network
        self.space = space
        self.ensemble_size = ensemble_size
        self.combination = combination
        self.response = response
        self.seed = random.randrange(2**31) if seed is None else seed
        self.initial_width = initial_width
        self.distribution = HyperparameterDistribution(space, ensemble_size, initial_width, self.seed, initial_values)
        self.initial_values = dict(initial_values or {})
        self._members = Members(network, ensemble_size, self.distribution, response)
        self.step = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica"
        )
        self.temperature = TunedTemperature(len(outputs))
        self._prior = BoundsPrior(self.distribution)
        self.output_activation = output_activation
        self.likelihoods = likelihoods.named(output_activation)
        self.output_names = getattr(network, "output_names", None)
        if network.built:
            self.build(getattr(network, "input_shape", None))

    def build(self, input_shape: TensorTree) -> None:
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def _build_for(self, batch: TensorTree) -> None:
        """Builds the network for such batches, and checks that it keeps samples separate."""
        self._seen.batch = batch
        self._members.check_rows(batch)  # calls the network, which builds it
        if not self.built:
            self.build(keras.tree.map_structure(lambda spec: tuple(spec.shape), batch))

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        *,
        roles: Mapping[str, Hyperparameter] | None = None,
        ensemble_size: int = 4,
        sharing: str = "hyper",
        include: Iterable[str | type[keras.layers.Layer]] | None = None,
        exclude: Iterable[str | type[keras.layers.Layer]] = (),
        member_normalization: bool | None = None,
        fast_weight_initializer: Any = "ones",
        combination: likelihoods.Combination = "mean",
        output_activation: Any = "auto",
        initial_width: float | None = None,
        initial_values: Mapping[str, Any] | None = None,
        response: str = "centered",
        seed: int | None = None,
        **layer_options: Any,
    ) -> Self:
        """Creates an ensemble from an ordinary Keras model, with the model's weights.

        By default every member initially predicts the same as the model: the rank-1 factors are one, `delta_kernel` is
        zero. Members diverge in training, because their hyperparameters differ. If the model is compiled, so is the
        ensemble, with a new optimizer of the same kind.

        Args:
            model: Sequential or Functional, also nested, with shared layers or branches, or subclassed and called on a
                batch; its custom layers are traced. The model is not changed, but custom layers that stay shared are
                the model's own objects, and are trained in both.
            roles: Dictionary from roles to `Hyperparameter` objects that vary between members. Roles are the penalties
                `"l2"`, `"l1"` (kernels and biases), `"kernel_l2"`, `"bias_l2"`, `"kernel_l1"`, `"bias_l1"`, and
                `"dropout"` (the rate of all dropout layers of the model), `"noise"` and `"label_smoothing"`. Other
                settings keep the values of the model.
            ensemble_size: M, the number of members.
            sharing: `"hyper"` (default), `"batch"` (a batch ensemble) or `"independent"`: members without shared
                weights in one graph, which is a deep ensemble (whose members all start as the model), or with roles a
                hyperparameter ensemble with fixed hyperparameter values.
            include, exclude: Layers to convert: names, with `*` as a wildcard, or classes. Defaults to all supported
                layers; the others are shared.
            member_normalization: Whether batch and layer normalization have per-member statistics and parameters.
                Defaults to `True` if members share no kernels.
            fast_weight_initializer: Initializer of the rank-1 factors; for example `keras.initializers.RandomNormal(1,
                0.1)` makes members differ from the start, but changes the model's predictions. Defaults to ones, which
                are better for pretrained models (`python -m benchmarks.fine_tuning`).
            combination, output_activation, initial_width, initial_values, response, seed: As in `HyperBatchEnsemble`;
                a custom loss that takes logits requires `output_activation="softmax"` or `"sigmoid"`.
            **layer_options: More options of `HyperBatchLayer`, for all layers: `tie_fast_weights`,
                `fast_weights_trainable`, `shared_embedding`, and so on. With `ensemble_size=1`,
                `tie_fast_weights=True` and `fast_weights_trainable=False` the result is a self-tuning network.

        Raises:
            TypeError: If `model` is not a Keras model.
            ValueError: If it has no weights or its `call` cannot be traced, a role is unknown, or no layer can be
                converted.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
        >>> roles = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}
        >>> ensemble = khe.HyperBatchEnsemble.from_model(model, roles=roles)
        >>> ensemble.predict(np.ones((5, 3)), verbose=0).shape
        (5, 2)

        References:
            - MacKay et al., [Self-Tuning Networks](https://arxiv.org/abs/1903.03088)
            - Wen et al., [BatchEnsemble](https://arxiv.org/abs/2002.06715)
        """
        options = {"sharing": sharing, "fast_weight_initializer": fast_weight_initializer, **layer_options}
        how = Sharing(ensemble_size, include, exclude, member_normalization, options)
        conversion = convert_model(model, roles or {}, how)
        given = dict(combination=combination, output_activation=output_activation, response=response, seed=seed)
        return cls._from_conversion(conversion, how, initial_width, initial_values=initial_values, **given)

    @classmethod
    def from_hypermodel(
        cls,
        hypermodel: Any,
        *,
        ensemble_size: int = 4,
        roles: Mapping[str, Hyperparameter] | None = None,
        space: HyperparameterSpace | None = None,
        fixed: dict[str, Any] | None = None,
        sharing: str = "hyper",
        include: Iterable[str | type[keras.layers.Layer]] | None = None,
        exclude: Iterable[str | type[keras.layers.Layer]] = (),
        member_normalization: bool | None = None,
        combination: likelihoods.Combination = "mean",
        output_activation: Any = "auto",
        initial_width: float | None = None,
        initial_values: Mapping[str, Any] | None = None,
        response: str = "centered",
        seed: int | None = None,
        **layer_options: Any,
    ) -> Self:
        """Creates an ensemble from a function `build_model(hp)`, as in KerasTuner and `HyperDeepEnsembleBuilder`.

        The hypermodel is built at several values of each `Float` hyperparameter to detect the settings that it
        controls. L1 and L2 coefficients, rates of dropout and noise, label smoothing and loss weights vary between
        members; hyperparameters of anything else (units, depth, the learning rate) are the same for all.
        `conversion_summary()` lists both. Loss, metrics and optimizer are those of the compiled model.

        Args:
            hypermodel: A function `build_model(hp)`, or a `keras_tuner.HyperModel`.
            ensemble_size: M, the number of members.
            roles: Roles as in `from_model`, which replace the detection.
            space: Names and ranges of the hyperparameters that vary. Defaults to all that can, over their ranges.
            fixed: Values of hyperparameters that do not vary. Default to those of the hypermodel.
            sharing, include, exclude, member_normalization, **layer_options: As in `from_model`; by default the rank-1
                factors are random (`fast_weight_initializer`).
            initial_values: Dictionary of values, for example `best.values` of a KerasTuner search: varying
                hyperparameters start near them, others have these values.
            combination, output_activation, initial_width, response, seed: As in `from_model`.

        Raises:
            ValueError: If no hyperparameter can vary within one network, or a name is unknown.

        Example:
        >>> import keras
        >>> import keras_hyperens as khe
        >>> def build_model(hp):
        ...     penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer=penalty)])
        ...     model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        ...     return model
        >>> ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4)
        >>> ensemble.space.names
        ('l2',)
        """
        how = Sharing(ensemble_size, include, exclude, member_normalization, {"sharing": sharing, **layer_options})
        values = dict(initial_values or {})
        conversion = convert_hypermodel(hypermodel, roles, space, fixed, values, how)
        varied = {name: value for name, value in values.items() if name in conversion.space.names}
        given = dict(combination=combination, output_activation=output_activation, response=response, seed=seed)
        return cls._from_conversion(conversion, how, initial_width, initial_values=varied, **given)

    _report: Report | None = None  # of a conversion

    @classmethod
    def _from_conversion(
        cls, conversion: Conversion, how: Sharing, initial_width: float | None, **arguments: Any
    ) -> Self:
        if initial_width is None and how.options["sharing"] != "hyper":
            initial_width = FIXED_WIDTH
        arguments |= {"space": conversion.space, "ensemble_size": how.ensemble_size, "initial_width": initial_width}
        ensemble = cls(conversion.network, **arguments)
        ensemble._report = Report(tuple(conversion.records), conversion.fixed)
        check_conversion(ensemble, conversion.model)
        if conversion.compile_arguments is not None:
            ensemble.compile(**conversion.compile_arguments)
        return ensemble

    def conversion_summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Prints how each layer of the original model was converted, and its hyperparameters.

        Args:
            print_fn: As in `keras.Model.summary`: receives the text instead of the standard output.

        Raises:
            ValueError: If the ensemble was not created by `from_model` or `from_hypermodel`.
        """
        if self._report is None:
            raise ValueError("Only an ensemble of `from_model` or `from_hypermodel` has a conversion summary")
        (print_fn or print)(table(self._report.records, self._report.fixed))

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: LossTree = None,
        *,
        loss_weights: Any = None,
        metrics: MetricTree = None,
        member_metrics: MetricTree = None,
        member_loss: str = "member",
        tuning_loss: str = "ensemble",
        sampling: str = "member",
        tuning_optimizer: Any = None,
        tuning_every: int = 3,
        tuning_warmup: int = 0,
        entropy_weight: float = 1e-4,
        prior_weight: float = 1.0,
        fast_weight_learning_rate: float = 1.0,
        member_rows: str | int | None = None,
        tune_temperature: bool = True,
        **compile_arguments: Any,
    ) -> None:
        """Configures training and tuning.

        Args:
            optimizer, loss, metrics: As in `keras.Model.compile`. Metrics receive the result of `predict`. A loss may
                depend on hyperparameters: see `keras_hyperens.losses`.
            loss_weights: As in `keras.Model.compile`; a weight may be the name of a hyperparameter.
            member_metrics: Keras metrics of all members: labels `[M, B, ...]`, repeated for every member, and
                predictions `[M, B, ..., C]`. A list, or for several outputs a dictionary or list of lists.
            member_loss: Training loss: `"member"`, the mean of the members' losses (default), or `"ensemble"`, the loss
                of the combined prediction.
            tuning_loss: Loss of the bounds on tuning data: `"ensemble"` (default) or `"member"`.
            sampling: `"member"`, one draw per member and step (default, at nearly the cost of a plain step), or
                `"example"`, one per sample.
            tuning_optimizer: Any Keras optimizer for the bounds, which are positions in [-1, 1]. Defaults to Adam with
                a learning rate of 3e-2 / (1 + t / 200) at tuning step t: members reach good values early in training,
                and then converge.
            tuning_every: Number of steps between tuning steps.
            tuning_warmup: Number of steps before the first update of the bounds; the temperature is tuned from the
                first step on.
            entropy_weight: Weight of the entropy of all members' distributions, which prevents their collapse. The
                paper's 1e-3 keeps intervals wide if the loss is small, even if the data favor narrow ones.
            prior_weight: Weight of the prior that pulls bounds to their initial values, with a strength equal to the
                uncertainty of the tuning loss's gradient: with 1 (default) a gradient of one standard error, over the
                tuning samples, moves a bound by half the width of its initial interval. With 0, bounds follow every
                gradient, including noise.
            fast_weight_learning_rate: Multiplier of the updates of the rank-1 factors.
            member_rows: Training samples of the members in a step. `"distinct"`: each member has its own batch, that of
                the previous member one step ago, so that shared kernels learn from M batches. An integer: the number of
                steps between members (larger values can be better if 20 epochs are not enough, and worse if training
                overfits; (M - 1) times as many batches are kept in memory). `"same"`: one batch for all. `"split"`:
                each member has B // M samples of the batch, at the cost of one network. Defaults to `"distinct"`, or
                `"same"` with `member_loss="ensemble"`. With distinct samples, training metrics are those of members on
                their own samples, and `member_metrics` are only available in validation.
            tune_temperature: Whether tuning steps fit a temperature for each output (for a Gaussian, a factor of its
                variance), which is part of every prediction. Without it hyperparameters also have to calibrate.
            **compile_arguments: Arguments of `keras.Model.compile`: `weighted_metrics`, `jit_compile`,
                `steps_per_execution`, `run_eagerly`, `auto_scale_loss`.

        Raises:
            TypeError: If a member metric is not a `keras.metrics.Metric`.
            ValueError: If an option is unknown, a number out of range, or a metric expects logits; if a loss depends on
                unknown hyperparameters, or is not the loss of single members.
        """
        settings = TrainingSettings(
            member_loss,
            tuning_loss,
            sampling,
            tuning_every,
            tuning_warmup,
            entropy_weight,
            prior_weight,
            fast_weight_learning_rate,
            member_rows,
            tune_temperature,
        )
        loss, loss_weights = WeightedLoss._of_outputs(loss, loss_weights, self.space)
        check_hyperparameters(self.network, self.space, used_by(loss), member_loss)
        if self.output_activation == "auto":
            self._set_likelihoods(likelihoods.of_outputs(self.network, loss))
        every_metric = (metrics, compile_arguments.get("weighted_metrics"), member_metrics)
        check_metrics(every_metric, self.likelihoods)
        tell_metrics(every_metric, self.likelihoods, loss, self.output_names)
        optimizer = checked_optimizer("optimizer", optimizer)
        tuning_optimizer = checked_optimizer("tuning_optimizer", tuning_optimizer or default_tuning_optimizer())
        super().compile(optimizer, loss, loss_weights=loss_weights, metrics=metrics, **compile_arguments)
        objective = unpenalized(loss, loss_weights, self.output_names)
        self._trainer = Trainer(self, settings, tuning_optimizer, objective, member_metrics)
        self.tuning_optimizer = self._trainer.tuning.optimizer  # an attribute, so that Keras saves its variables
        if self.built:
            self._trainer.build_optimizers()

    def _set_likelihoods(self, new: Any) -> None:
        """Sets the likelihoods; other ones give other predictions, which remove temperatures and decisions."""
        if new != self.likelihoods:
            self.likelihoods = new
            self._set_temperatures(None)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        tuning_data: Any = None,
        tuning_split: float = 0.0,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        callbacks: Any = None,
        **fit_arguments: Any,
    ) -> keras.callbacks.History:
        """`keras.Model.fit` with data for tuning the hyperparameters.

        Args:
            x, y, batch_size, epochs, class_weight, sample_weight, callbacks: As in `keras.Model.fit`; class weights
                also apply to tuning data.
            tuning_data: Held-out data: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a
                `keras.utils.PyDataset` or a finite generator. They are read once and stay in memory. Without them the
                bounds and the temperature do not change.
            tuning_split: Alternatively, the fraction of the training arrays to hold out: their last samples, split off
                before `validation_split` is applied.
            **fit_arguments: Other arguments of `keras.Model.fit`.

        Raises:
            ValueError: If tuning data do not match the training data, are not finite, or exceed the memory; if labels
                are out of range, or the ensemble was not compiled; if `keras.distribution` names several devices, which
                has no effect with TensorFlow.
        """
        if not self.compiled:
            raise ValueError("Call `compile` before `fit`. Received: an ensemble that was not compiled")
        check_distribution()
        check_class_weight(class_weight)
        y = labels(y)
        if tuning_split:
            if tuning_data is not None:
                raise ValueError("Set `tuning_data` or `tuning_split`, not both. Received: both")
            (x, y, sample_weight), tuning_data = split_rows(x, y, sample_weight, tuning_split)
        with self._trainer.as_it_was_if_refused():
            specs, x = batch_specs(x, y, batch_size, sample_weight, class_weight)
            self._trainer.prepare(specs, y, sample_weight is not None, tuning_data, class_weight)
            self._set_temperatures(None)  # they belong to the previous weights
            return super().fit(
                x,
                y,
                batch_size,
                epochs,
                class_weight=class_weight,
                sample_weight=sample_weight,
                callbacks=with_guards(callbacks),
                **fit_arguments,
            )

    def train_step(self, data: TensorTree) -> dict[str, Any]:
        return self._trainer.train_step(data)

    def test_step(self, data: TensorTree) -> dict[str, Any]:
        return self._trainer.test_step(data)

    def evaluate(self, *arguments: Any, **keywords: Any) -> Any:
        before, self._is_evaluating = self._is_evaluating, True
        try:
            return super().evaluate(*arguments, **keywords)
        finally:
            self._is_evaluating = before

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the logs. After an epoch Keras calls it outside of the step, where it combines all replicas."""
        return self._trainer.logs.shown(super().get_metrics_result(), training=not self._is_evaluating)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*super().metrics, *(self._trainer.logs.metrics if self.compiled else ())]

    @property
    def losses(self) -> list[Any]:
        return [] if self._hides_losses else super().losses

    @contextmanager
    def _without_penalties(self) -> Iterator[None]:
        """Context manager: `compute_loss` is the compiled loss without penalties."""
        self._hides_losses = True
        try:
            yield
        finally:
            self._hides_losses = False

    _is_evaluating = _hides_losses = False

    def _member_outputs(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        """Raw outputs of every member, `[M, B, ..., C]`: at the scope's values, or at its own outside of any scope."""
        return self._members.outputs([inputs] * self.ensemble_size, training)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Indices of the members that diverged in training and are excluded from predictions."""
        return self._members.left_out

    def leave_out(self, members: Sequence[int]) -> None:
        """Excludes members from training and predictions; `fit` does this for members that diverge.

        Their weights are frozen; if members share weights, they are replaced by those of another member, so that they
        have no effect.

        Args:
            members: Indices of members, in [0, M).

        Raises:
            ValueError: If an index is out of range, or no member remains.
        """
        self._members.leave_out(members)
        self._set_temperatures(None)
        self._forget_traces()
        if self.train_function is not None:
            self._trainer.forget_traces()
            self.make_train_function()  # training may be running

    def _final(self, pooled: TensorTree) -> TensorTree:
        temperatures = self.temperatures
        if temperatures is not None and temperatures.per == "member":  # they replace the tuned one
            return pooled
        return super()._final(self.temperature.of_prediction(pooled, self.likelihoods_of(pooled)))

    def _combined_raw(self, outputs: TensorTree) -> TensorTree:
        """Returns raw outputs, as the loss takes them, for the result of `predict`."""
        of_outputs = self.likelihoods_of(outputs)
        if self.combination == "mean" and self.temperatures is None:
            raw = likelihoods.combined_raw(outputs, of_outputs)
            return self.temperature.of_raw(raw, self.likelihoods_of(raw))
        return likelihoods.raw_of(self._combine(self._predictions_of(outputs)), of_outputs)

    def temperature_values(self) -> np.ndarray:
        """Returns the tuned temperature of each output (for Gaussians a variance factor); 1 without tuning."""
        return np.exp(ops.convert_to_numpy(self.temperature.logarithms))

    def calibrate(self, x: Any, y: Any = None, per: str = "ensemble", **arguments: Any) -> Temperatures:
        """As in every ensemble, in addition to the tuned temperature, which temperatures of members replace."""
        temperatures = super().calibrate(x, y, per, **arguments)
        if per == "member":
            self.temperature.forget()
        return temperatures

    def hyperparameter_values(self) -> dict[str, np.ndarray]:
        """Returns each hyperparameter's values in prediction, one per member `[M]`, natural scale."""
        values = ops.convert_to_numpy(self._members.values())
        return {name: values[:, 0, column] for column, name in enumerate(self.space.names)}

    def hyperparameter_distributions(self) -> dict[str, Any]:
        """Returns each hyperparameter's TensorFlow Probability distribution of all members `[M]`, natural scale.

        Distributions are uniform between the tuned bounds, on the scale of the hyperparameter, and support `sample`,
        `log_prob`, `cdf`, `quantile` and `mean`.

        Example:
        >>> import keras_hyperens as khe
        >>> space = khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-2, "log")])
        >>> network = keras.Sequential([keras.Input((3,)), khe.HyperBatchDense(2, ensemble_size=4, space=space)])
        >>> ensemble = khe.HyperBatchEnsemble(network, seed=0)
        >>> ensemble.hyperparameter_distributions()["l2"].quantile(0.5).shape
        TensorShape([4])
        """
        return self.distribution.of_values(self.distribution.bounds())

    def hyperparameter_bounds(self) -> dict[str, np.ndarray]:
        """Returns each hyperparameter's tuned bounds, `[M, 2]`, natural scale."""
        bounds = np.stack([ops.convert_to_numpy(self.space.values(b)) for b in self.distribution.bounds()], -1)
        return {name: bounds[:, column] for column, name in enumerate(self.space.names)}

    def response_curves(
        self, x: Any, y: Any, points: int = 15, batch_size: int = 500, verbose: int = 1
    ) -> dict[str, ResponseCurve]:
        """Computes the loss on these samples over the range of each hyperparameter, without training.

        All members take the value of the one hyperparameter, and keep their means for the others. The network is
        trained to have optimal weights for every value, so the curves estimate the effect of another L2 coefficient or
        dropout rate. `keras_hyperens.plots.response_curve` plots one.

        Args:
            x, y: Held-out samples and labels, arrays or structures of arrays.
            points: Number of values of each hyperparameter, equidistant on its own scale.
            batch_size: Batch size.
            verbose: 1 shows progress, 0 is silent.

        Returns:
            Dictionary by hyperparameter of curves: `values` `[points]` (natural scale), `losses` `[points]` of the
            combined prediction, and `members` `[M, points]` of each remaining member: the compiled loss, without
            penalties.

        Raises:
            ValueError: If there is no hyperparameter, the ensemble is not compiled, or there are fewer than two points.
        """
        return response_curves(self, x, y, points, batch_size, verbose)

    def member(self, member: int) -> keras.Model:
        """Returns a plain Keras model of one member at its mean, with raw outputs and without hyper-batch layers.

        Raises:
            ValueError: If the index is out of range, or the network is subclassed.
        """
        return self._members.network_of(member)

    def _plain_members(self) -> list[keras.Model]:
        return [self.member(k) for k in self._members.living]

    def pruned(
        self, x: Any, y: Any = None, ensemble_size: int = 8, *, sample_weight: Any = None, **predict_arguments: Any
    ) -> "HyperBatchEnsemble":
        """Returns a new ensemble of the members that are best together on held-out data, in a smaller network.

        A greedy selection starts with the best member and adds the one that minimizes the compiled loss of the combined
        prediction (without penalties). Predictions, hyperparameters and bounds of the members stay the same, and so
        does the tuned temperature. Results of `calibrate` for the combined prediction and conformal sets are removed,
        because they depend on it. The new ensemble is compiled like this one, with new optimizers. This ensemble is not
        changed.

        Args:
            x, y: Held-out samples and labels as in `fit`: arrays, or `x` a `tf.data.Dataset` or
                `keras.utils.PyDataset` of both.
            ensemble_size: Number of members to keep, fewer than there are.
            sample_weight: As in `fit`: a weight of 2 counts as two equal samples.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Raises:
            ValueError: If there are not enough members, the ensemble is not compiled or not built, labels or weights do
                not match, or the network cannot be rebuilt for another number of members.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> layers = [khe.HyperBatchDense(units, ensemble_size=6) for units in (8, 2)]
        >>> ensemble = khe.HyperBatchEnsemble(keras.Sequential([keras.Input((3,)), *layers]), seed=0)
        >>> ensemble.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> x, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
        >>> smaller = ensemble.pruned(x, y, ensemble_size=2, verbose=0)
        >>> smaller.predict_members(x, verbose=0).shape
        (2, 64, 2)

        References:
            - Gorishniy et al., [TabM](https://arxiv.org/abs/2410.24210), section 5: 32 members are trained, a few kept
        """
        return pruned(self, x, y, ensemble_size, sample_weight, predict_arguments)

    def get_compile_config(self) -> dict[str, Any]:
        return {**super().get_compile_config(), **self._trainer.get_config()} if self.compiled else {}

    def _parameters(self) -> Parameters | None:
        return parameters_in(self.network, self.ensemble_size) if self.network.built else None

    def _bounds(self) -> dict[str, Any]:
        return self.hyperparameter_bounds()

    def _declared_inputs(self) -> TensorTree:
        return inputs_of(self.network)

    def _servable(self) -> Servable:
        read, outputs = self._members.servable()
        return [*read, self.temperature.logarithms.value], outputs

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        *,
        folded: bool = True,
        measures: Measures | None = None,
        **export_arguments: Any,
    ) -> None:
        """As `HyperDeepEnsemble.export`; a SavedModel predicts at the means of the members' hyperparameters.

        Args:
            filepath, format, measures, **export_arguments: As in `HyperDeepEnsemble.export`.
            folded: Whether a SavedModel has M kernels per layer (default), so that calls do not compute them; otherwise
                it has the shared kernels and factors, about 2 / M of that size, with slower calls.
        """
        check_arguments(format, export_arguments, measures=measures, folded=None if folded else folded)
        if format == "tf_saved_model":
            servable = self._servable if folded else super()._servable
            return export_saved_model(self, filepath, measures, servable, **export_arguments)
        with self._members.scope(as_numpy=True):
            self(example_batch(self, export_arguments.get("input_signature")))  # Keras only exports called models
            super().export(filepath, format=format, **export_arguments)

    def _trackable_children(self, save_type: str = "checkpoint", **arguments: Any) -> dict[str, Any]:
        """Returns the layers for the SavedModel of an enclosing model, because Keras traces every model separately."""
        if save_type != "savedmodel":
            return super()._trackable_children(save_type, **arguments)
        layers = self.network._flatten_layers()
        return {"layers": [layer for layer in layers if not isinstance(layer, keras.Model)]}

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        save_seed_states(self.network, store)

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(load_seed_states(self.network, store))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "space": keras.saving.serialize_keras_object(self.space),
            "ensemble_size": self.ensemble_size,
            "output_activation": self.output_activation,
            "likelihoods": likelihoods.names_of(self.likelihoods),
            "initial_width": self.initial_width,
            "initial_values": self.initial_values,
            "response": self.response,
            "seed": self.seed,
            "conversion": None if self._report is None else asdict(self._report),
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HyperBatchEnsemble":
        config, temperatures, decisions = cls._readable(config)
        names, conversion = config.pop("likelihoods", None), config.pop("conversion", None)
        left_out = config.pop("left_out", ())
        for name in ("network", "space"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
        ensemble = cls(**config)
        ensemble.likelihoods = likelihoods.named(names)
        ensemble._members.left_out = tuple(left_out)
        ensemble._report = None if conversion is None else Report.from_config(conversion)
        ensemble._set_temperatures(temperatures)
        ensemble._set_decisions(decisions)
        return ensemble
