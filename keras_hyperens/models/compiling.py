"""Compiling a hyper-batch ensemble: how to train its weights, how to tune its hyperparameters."""

import warnings
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from keras_hyperens import likelihoods
from keras_hyperens.losses import WeightedLoss
from keras_hyperens.losses.hyperparameter_loss import used_by
from keras_hyperens.losses.label_smoothing import without_smoothing
from keras_hyperens.models.divergence import Counts
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.models.network import hyper_batch_layers
from keras_hyperens.models.network import unused_hyperparameters
from keras_hyperens.models.settings import TrainingSettings
from keras_hyperens.models.settings import check_metrics
from keras_hyperens.models.settings import tell_metrics


class TunableModel(Ensemble):
    """What `compile` settles for `HyperBatchEnsemble`: two optimizers, and how to train and tune. Abstract."""

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        loss_weights: Any = None,
        metrics: Any = None,
        member_metrics: Any = None,
        member_loss: str = "member",
        tuning_loss: str = "ensemble",
        sampling: str = "member",
        tuning_optimizer: Any = None,
        tuning_every: int = 3,
        tuning_warmup: int = 0,
        entropy_weight: float = 1e-4,
        fast_weight_learning_rate: float = 1.0,
        member_rows: str | int | None = None,
        tune_temperature: bool = True,
        **compile_arguments: Any,
    ) -> None:
        """Settles how to train and tune.

        Args:
            optimizer, loss, metrics: As in `keras.Model.compile`. Metrics get what `predict` gives. A loss may vary
                with hyperparameters: see `keras_hyperens.losses`.
            loss_weights: As in `keras.Model.compile`; a weight may be a hyperparameter's name.
            member_metrics: Keras metrics that get all members: labels `[M, B, ...]`, the same for every member, and
                predictions `[M, B, ..., C]`. A list, or for several outputs a dictionary or list of lists.
            member_loss: What the weights minimize: `"member"`, the mean of the members' own losses (default), or
                `"ensemble"`, the loss of the combined prediction.
            tuning_loss: What the bounds minimize on tuning rows: `"ensemble"` (default) or `"member"`.
            sampling: `"member"`, one draw per member and step (default: at nearly the price of a plain step), or
                `"example"`, one per row.
            tuning_optimizer: Any Keras optimizer for the bounds, which are positions in [-1, 1]. Default Adam with a
                learning rate of 3e-2 / (1 + t / 200) at tuning step t: members reach good values while there is still
                training left, and then settle.
            tuning_every: Steps from one tuning step to the next.
            tuning_warmup: Steps before bounds first move; the temperature is tuned from the first step on.
            entropy_weight: Weight of the entropy of all members' distributions, which keeps them from collapsing. The
                paper's 1e-3 held intervals open where the loss was small and the data wanted them closed.
            fast_weight_learning_rate: Multiplier of the updates of the rank-1 factors.
            member_rows: The training samples of members in a step. `"distinct"`: each member has a batch of its own,
                that of the member before it one step ago, so that shared kernels learn from M batches; an integer: from
                one member to the next so many steps (more can be better where 20 epochs do not suffice, worse where
                training overfits; it keeps (M - 1) times as many batches in memory). `"same"`: one batch for all.
                `"split"`: each member has B // M samples of the batch, at the price of one network. Default
                `"distinct"`, or `"same"` with `member_loss="ensemble"`. Where samples are distinct, training metrics
                are those of members on their own samples, and `member_metrics` are there in validation alone.
            tune_temperature: Whether tuning steps fit a temperature for each output (for a Gaussian, a factor of its
                variance), which is part of every prediction. Without it hyperparameters are tuned to calibrate.
            **compile_arguments: Passed on to `keras.Model.compile`: `weighted_metrics`, `jit_compile`,
                `steps_per_execution`, `run_eagerly`, `auto_scale_loss`.

        Raises:
            TypeError: If a member metric is not a `keras.metrics.Metric`.
            ValueError: If a choice is unknown, a number out of range, or a metric wants logits; if a loss varies with
                hyperparameters that the ensemble does not have, or is not the loss of single members.
        """
        settings = TrainingSettings(
            member_loss,
            tuning_loss,
            sampling,
            tuning_every,
            tuning_warmup,
            entropy_weight,
            fast_weight_learning_rate,
            member_rows,
            tune_temperature,
        )
        loss, loss_weights = WeightedLoss._of_outputs(loss, loss_weights, self._middles())
        self._check_hyperparameters(used_by(loss), member_loss)
        if self.output_activation == "auto":
            self.likelihoods = likelihoods.of_outputs(self.network, loss)
        every_metric = (metrics, compile_arguments.get("weighted_metrics"), member_metrics)
        check_metrics(every_metric, self.likelihoods)
        tell_metrics(every_metric, self.likelihoods, loss, self.output_names)
        optimizer = _optimizer("optimizer", optimizer)
        if tuning_optimizer is None:
            tuning_optimizer = keras.optimizers.Adam(keras.optimizers.schedules.InverseTimeDecay(3e-2, 200, 1.0))
        tuning_optimizer = _optimizer("tuning_optimizer", tuning_optimizer)
        super().compile(optimizer, loss, loss_weights=loss_weights, metrics=metrics, **compile_arguments)
        self.settings = settings
        self.tuning_optimizer = self._scaled_like_main(tuning_optimizer)
        # In a namespace Keras does not track them, so compiling again leaves no metric of the last time behind.
        self._untracked = SimpleNamespace(
            member_metrics=member_metrics,
            tuning_loss=keras.metrics.Mean(name="tuning_loss"),
            counts=self._counts(),
            traces={},  # with tuning rows, or without: the one that is not in use, and its rows
            window=None,  # of batches, where members train on different ones
            arguments={"member_metrics": member_metrics, "tuning_optimizer": tuning_optimizer},
        )
        plain = keras.Model()  # the compiled loss by itself: no penalties, and its trackers stay out of the logs
        plain.output_names = self.output_names
        unsmoothed = keras.tree.map_structure(without_smoothing, loss)  # smoothed labels want other temperatures
        plain.compile(loss=unsmoothed, loss_weights=loss_weights)
        self.objective = plain.compute_loss
        if self.built:
            self._build_optimizers()

    def _counts(self) -> Counts:
        with self.distribute_strategy.scope():
            return Counts(self.ensemble_size)

    def _tunes_bounds(self) -> bool:
        """Whether a kernel depends on hyperparameters."""
        return any(layer.is_conditioned for layer in hyper_batch_layers(self.network))

    def _tunes_temperature(self) -> bool:
        """Whether an output has a temperature that is tuned."""
        of_outputs = keras.tree.flatten(self.likelihoods)
        return self.settings.tune_temperature and any(likelihood.has_temperature for likelihood in of_outputs)

    def _middles(self) -> dict[str, float]:
        """A value in the middle of each hyperparameter's range."""
        middles = keras.ops.convert_to_numpy(self.space.values(np.zeros(len(self.space))))
        return dict(zip(self.space.names, map(float, middles), strict=True))

    def _check_hyperparameters(self, used: set[str], member_loss: str) -> None:
        """Every hyperparameter is used, and those of the loss exist."""
        names = self.space.names
        if used - set(names):
            raise ValueError(
                f"The loss must use hyperparameters of the ensemble, {list(names)}. Received: {sorted(used)}"
            )
        if used and member_loss != "member":
            raise ValueError(
                "A loss that varies with hyperparameters belongs to single members: use member_loss='member'. "
                f"Received: member_loss={member_loss!r}"
            )
        unused = [name for name in unused_hyperparameters(self.network, self.space) if name not in used]
        if unused:
            warnings.warn(f"Neither a layer nor the loss uses the hyperparameters {unused}", stacklevel=3)

    def _exclude_from_weight_decay(self, optimizer: Any) -> None:
        """Decay would pull fast weights, which belong around 1, to 0, and make the network deaf to embeddings."""
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not getattr(inner, "weight_decay", None) or inner.built:
            return
        chosen: set[Any] = getattr(inner, "_exclude_from_weight_decay", set())  # by the user: kept
        pattern = getattr(inner, "_exclude_from_weight_decay_pattern", None)
        layers = hyper_batch_layers(self.network)
        spared = [weight for layer in layers for weight in layer.fast_weights + layer.embeddings]
        inner.exclude_from_weight_decay(var_list=spared)
        inner._exclude_from_weight_decay |= chosen
        inner._exclude_from_weight_decay_pattern = pattern

    def _scaled_like_main(self, optimizer: Any) -> Any:
        if optimizer is self.optimizer:
            raise ValueError("`tuning_optimizer` must not be the `optimizer` itself: give each its own")
        is_scaled = keras.optimizers.LossScaleOptimizer
        if not isinstance(self.optimizer, is_scaled) or isinstance(optimizer, is_scaled):
            return optimizer
        return is_scaled(optimizer, name="tuning_loss_scale_optimizer")

    def _build_optimizers(self) -> None:
        """Creates the variables of both optimizers, so that files can fill them before the first step."""
        self._exclude_from_weight_decay(self.optimizer)
        for optimizer, variables in (
            (self.optimizer, self.trainable_variables),
            (self.tuning_optimizer, [self.distribution.lower, self.distribution.upper]),
        ):
            if not optimizer.built:
                optimizer.build(variables)

    def get_compile_config(self) -> dict[str, Any]:
        if not self.compiled:
            return {}
        own = keras.saving.serialize_keras_object(self._untracked.arguments)
        return {**super().get_compile_config(), **asdict(self.settings), **own}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        if not self.compiled:
            return super().metrics
        members = [metric for metric in keras.tree.flatten(self._untracked.member_metrics) if metric is not None]
        return [*super().metrics, *members, self._untracked.tuning_loss]


def _optimizer(argument: str, given: Any) -> keras.optimizers.Optimizer:
    try:
        optimizer = keras.optimizers.get(given)
    except ValueError:
        optimizer = None
    if optimizer is None:
        raise ValueError(f"`{argument}` must be a Keras optimizer, or the name of one. Received: {argument}={given!r}")
    return optimizer
