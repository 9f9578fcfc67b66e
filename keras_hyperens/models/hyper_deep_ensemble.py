"""Hyper-deep ensemble: separately trained networks as one Keras model."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_hyperens import likelihoods
from keras_hyperens import masks
from keras_hyperens.calibration.member_weights import PRIOR_ROWS
from keras_hyperens.calibration.member_weights import checked_prior_rows
from keras_hyperens.calibration.member_weights import most_likely_weights
from keras_hyperens.calibration.member_weights import shrunk
from keras_hyperens.conversion.compiled import recompiling_arguments
from keras_hyperens.models.compiled_metrics import check_metrics
from keras_hyperens.models.compiled_metrics import tell_metrics
from keras_hyperens.models.data import rows_and_labels
from keras_hyperens.models.devices import checked_devices
from keras_hyperens.models.devices import copied_to
from keras_hyperens.models.devices import device_of
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.models.ensemble import inputs_of
from keras_hyperens.models.labels import check_labels
from keras_hyperens.models.summary import Parameters
from keras_hyperens.types import LossTree
from keras_hyperens.types import MetricTree
from keras_hyperens.types import Tensor
from keras_hyperens.types import TensorTree


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperDeepEnsemble(Ensemble):
    """Ensemble of K trained networks with weights, combined into one prediction.

    `HyperDeepEnsembleBuilder` creates one from a search. Any trained Keras models with the same inputs and output
    shapes can be combined, also with different architectures.

    Args:
        members: Trained Keras models, K of them.
        member_weights: Nonnegative weights, one per member, with a positive sum. Defaults to equal weights. Members of
            weight 0 are removed, so they are neither stored nor run.
        combination: `"mean"` (weighted, default), `"trimmed_mean"` (without the member farthest from the median, per
            sample), `("trimmed_mean", n_outliers)`, or `"median"` (renormalized for class probabilities).
        output_activation: Function from the members' raw outputs to predictions: `"softmax"`, `"sigmoid"`, `"gaussian"`
            or `None`; `"categorical"` and `"bernoulli"` for outputs that are already probabilities; for several outputs
            a list or dictionary of these. Defaults to `"auto"`: inferred from the compiled loss of each member and its
            `from_logits`; for a custom loss, from the activation of the output layer.
        member_hyperparameters: Dictionary of the hyperparameters of each member, only used in reports.

    Input shape:
        Batches `(B, ...)` as the members take them.

    Output shape:
        The combined prediction, `(B, ..., C)`: probabilities for a classifier.

    Raises:
        TypeError: If a member is not a Keras model.
        ValueError: If there are no members, weights do not match, members have outputs of different kinds (such as
            probabilities and values), or an option is unknown.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> def trained(units):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(2)])
    ...     model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ...     return model
    >>> ensemble = khe.HyperDeepEnsemble([trained(4), trained(8)], member_weights=[2, 1])
    >>> x = np.ones((5, 3), "float32")
    >>> ensemble.predict(x, verbose=0).shape, ensemble.predict_members(x, verbose=0).shape
    ((5, 2), (2, 5, 2))

    References:
        - Wenzel et al., [Hyperparameter Ensembles for Robustness and Uncertainty
          Quantification](https://arxiv.org/abs/2006.13570), NeurIPS 2020
    """

    devices: tuple[str, ...] = ()  # of the members, in turn; empty for automatic placement

    def __init__(
        self,
        members: Sequence[keras.Model],
        *,
        member_weights: Sequence[float] | None = None,
        combination: likelihoods.Combination = "mean",
        output_activation: Any = "auto",
        member_hyperparameters: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(members, keras.Model | str):
            raise TypeError(f"`members` must be a list of Keras models. Received: members={members!r}")
        members = list(members)
        weights = _checked_weights(members, member_weights)
        combination = likelihoods.checked_combination(combination)
        likelihoods.check_output_activation(output_activation)
        super().__init__(**kwargs)
        kept = [k for k, weight in enumerate(weights) if weight > 0]
        self.members = [members[k] for k in kept]
        self.member_weights = tuple(float(weights[k]) for k in kept)
        self.ensemble_size = len(kept)
        if member_hyperparameters is not None and len(member_hyperparameters) != len(members):
            raise ValueError(
                f"`member_hyperparameters` must be one dictionary for each of {len(members)} members. "
                f"Received: {len(member_hyperparameters)}"
            )
        self.member_hyperparameters = (
            [dict(member_hyperparameters[k]) for k in kept] if member_hyperparameters else None
        )
        self.combination = combination
        self.output_activation = output_activation
        self.member_likelihoods = [
            likelihoods.of_model(member) if output_activation == "auto" else likelihoods.named(output_activation)
            for member in self.members
        ]
        _check_shapes(self.members)
        _check_likelihoods(self.members, self.member_likelihoods)
        self.likelihoods = self.member_likelihoods[0]
        self.output_names = getattr(self.members[0], "output_names", None)
        self.built = all(member.built for member in self.members)

    def build(self, input_shape: TensorTree) -> None:
        for member in self.members:
            if not member.built:
                member.build(input_shape)
        self.built = True

    def _member_outputs(self, inputs: TensorTree, training: bool | None = None) -> TensorTree:
        """Returns raw outputs of every member, `[K, B, ..., C]`, in the structure of the members' outputs."""
        each = []
        for k, member in enumerate(self.members):
            with device_of(self.devices, k):
                each.append(member(inputs, training=training))
        return masks.stacked(each)

    def on_devices(self, devices: Sequence[str]) -> "HyperDeepEnsemble":
        """Returns the same ensemble with members on several devices, for members that are too large or slow for one.

        Member k is copied to `devices[k % len(devices)]`: its variables are stored and its calls run there, in parallel
        with members on other devices. Only outputs are transferred for the combination.

            ensemble = builder.build_ensemble().on_devices(["GPU:0", "GPU:1"])
            ensemble = keras.models.load_model("ensemble.keras").on_devices(["GPU:0", "GPU:1"])

        `save` and `export` do not store devices, so that files can be loaded and served anywhere. (If all members do
        not fit on one device, load under `with tf.device("CPU:0")`.) To distribute samples instead, create the ensemble
        in the scope of a `tf.distribute.Strategy`.

        Args:
            devices: Names of devices of this process, such as `"GPU:1"`.

        Returns:
            A new ensemble, compiled like this one, without `jit_compile`, because XLA compiles for one device. Its
            members are not compiled.

        Raises:
            ValueError: If a device does not exist, a member cannot be copied, or this ensemble is not built.

        Example:
        >>> import keras
        >>> import keras_hyperens as khe
        >>> models = [keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]) for _ in range(2)]
        >>> ensemble = khe.HyperDeepEnsemble(models).on_devices(["CPU:0"])
        >>> ensemble.devices
        ('/device:CPU:0',)
        """
        names = checked_devices(devices)
        if not self.built:
            raise ValueError("The members must be built: call the ensemble on a batch first. Received: never called")
        members = [copied_to(names[k % len(names)], member) for k, member in enumerate(self.members)]
        spread = self._from_members(members, self._config_without_members())
        spread.devices = names
        spread.supports_jit = False
        if self.compiled:
            spread.compile(**{**recompiling_arguments(self), "jit_compile": False})
        return spread

    def reweight(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        prior_rows: float = PRIOR_ROWS,
        **predict_arguments: Any,
    ) -> tuple[float, ...]:
        """Fits the members' weights on held-out data, without training.

        The weights minimize the negative log-likelihood of the mixture of the members' predictions, shrunk towards the
        current weights as if these were optimal on `prior_rows` pseudo-samples. Temperatures are removed: call
        `calibrate` afterwards. (To select other members: `HyperDeepEnsembleBuilder.build_ensemble` with
        `validation_data`.)

        Args:
            x, y: Samples and labels as in `fit`: arrays, or `x` a `tf.data.Dataset` or `keras.utils.PyDataset` of both.
            sample_weight: As in `calibrate`.
            prior_rows: Number of pseudo-samples. With 0 the weights are optimal for these samples, but noisy for few.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The new `member_weights`, with a sum of 1.

        Raises:
            ValueError: If an output is neither probabilities nor Gaussians, or labels or weights do not match. The
                ensemble is then unchanged.
        """
        prior_rows = checked_prior_rows(prior_rows)
        x, y, sample_weight = rows_and_labels(x, y, sample_weight)
        members, counts = self._members_and_counts(x, predict_arguments)
        y, weights = self._labels_and_weights(y, sample_weight, members, counts)
        flat = map(keras.tree.flatten, (members, y, self.likelihoods_of(members)))
        parts = [one.densities(*of_output, weight) for *of_output, one, weight in zip(*flat, weights, strict=True)]
        densities, row_weights = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
        before = np.array(self.member_weights) / sum(self.member_weights)
        best = most_likely_weights(densities, before, row_weights)
        samples = weights[0].sum() / np.prod(weights[0].shape[1:])
        self.member_weights = tuple(float(each) for each in shrunk(best, before, samples, prior_rows))
        self._set_temperatures(None)
        self._forget_traces()
        return self.member_weights

    def export(self, *args: Any, **kwargs: Any) -> None:
        """As `Ensemble.export`; the file does not store devices."""
        devices, self.devices = self.devices, ()
        try:
            super().export(*args, **kwargs)
        finally:
            self.devices = devices

    def _predictions_of(self, raw: TensorTree) -> TensorTree:
        """Returns the members' predictions for their raw outputs, each by its own likelihood."""
        each = [self._prediction_of_member(k, raw) for k in range(self.ensemble_size)]
        return self._tempered(masks.stacked(each))

    def _prediction_of_member(self, k: int, raw: TensorTree) -> TensorTree:
        of_member = masks.member(raw, k)
        names = getattr(self.members[k], "output_names", None)
        of_outputs = likelihoods.like_outputs(self.member_likelihoods[k], of_member, names)
        return likelihoods.predictions(of_member, of_outputs)

    def compute_loss(
        self,
        x: TensorTree = None,
        y: TensorTree = None,
        y_pred: TensorTree = None,
        sample_weight: TensorTree = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the compiled loss of the combined prediction; a loss that takes logits gets its logarithm.

        A custom loss gets the same outputs as those of the members.
        """
        losses = likelihoods.per_output(self.loss, y_pred, self.output_names)
        own = keras.tree.flatten(self.likelihoods_of(y_pred))
        wanted = [likelihoods.of_loss(loss) or likelihood for loss, likelihood in zip(losses, own, strict=True)]
        raw = likelihoods.raw_of(y_pred, keras.tree.pack_sequence_as(y_pred, wanted))
        return super().compute_loss(x, y, raw, sample_weight, training)

    def evaluate(self, x: Any = None, y: Any = None, *others: Any, **arguments: Any) -> Any:
        """As `keras.Model.evaluate`.

        Raises:
            ValueError: If labels are out of range, or the kind of outputs under a custom loss is unknown.
        """
        known = self.members[0], self.loss, self.likelihoods
        check_labels(*known, y, "evaluation data", self.output_activation, all_count=False)
        return super().evaluate(x, y, *others, **arguments)

    @property
    def losses(self) -> list[Any]:
        """Empty: penalties of the members only apply to their training."""
        return []

    def compile(
        self, optimizer: Any = "rmsprop", loss: LossTree = None, *, metrics: MetricTree = None, **arguments: Any
    ) -> None:
        """As `keras.Model.compile`, for `evaluate`; metrics receive probabilities, as returned by `predict`.

        Raises:
            ValueError: If a metric expects logits, or members on several devices have `jit_compile=True`.
        """
        if self.devices and arguments.get("jit_compile") is True:
            raise ValueError(
                "XLA compiles for one device: remove `jit_compile` for members on several devices. "
                f"Received: jit_compile=True, devices={self.devices}"
            )
        every_metric = (metrics, arguments.get("weighted_metrics"), None)
        check_metrics(every_metric, likelihoods.of_losses(loss))
        tell_metrics(every_metric, self.likelihoods, loss, self.output_names)
        super().compile(optimizer, loss, metrics=metrics, **arguments)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Raises a `ValueError`: members are trained separately."""
        raise ValueError(
            "The members of a hyper-deep ensemble are trained separately: by `HyperDeepEnsembleBuilder`, or by "
            "`ensemble.members[k].fit(...)`. Received: a call of `fit` on the ensemble"
        )

    def hyperparameter_values(self) -> dict[str, list[Any]]:
        """Returns each hyperparameter's values, one per member, as far as known; `None` for members without it."""
        values = self.member_hyperparameters or []
        return {name: [each.get(name) for each in values] for name in dict.fromkeys(n for each in values for n in each)}

    def _plain_members(self) -> list[keras.Model]:
        return [copied_to(None, member) for member in self.members]

    def _parameters(self) -> Parameters | None:
        is_known = all(member.built for member in self.members)
        return Parameters(0, tuple(member.count_params() for member in self.members)) if is_known else None

    def _declared_inputs(self) -> TensorTree:
        return inputs_of(self.members[0])

    def get_config(self) -> dict[str, Any]:
        members = [keras.saving.serialize_keras_object(member) for member in self.members]
        return {**self._config_without_members(), "members": members}

    def _config_without_members(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "member_weights": list(self.member_weights),
            "output_activation": self.output_activation,
            "member_hyperparameters": self.member_hyperparameters,
            "member_likelihoods": likelihoods.names_of(list(self.member_likelihoods)),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HyperDeepEnsemble":
        config = dict(config)
        members = [
            keras.saving.deserialize_keras_object(member, custom_objects=custom_objects)
            for member in config.pop("members")
        ]
        return cls._from_members(members, config)

    @classmethod
    def _from_members(cls, members: list[keras.Model], config: dict[str, Any]) -> "HyperDeepEnsemble":
        """Creates an ensemble from members, and from the other entries of `get_config`."""
        config, temperatures, decisions = cls._readable(config)
        names, activation = config.pop("member_likelihoods"), config.pop("output_activation")
        ensemble = cls(members, output_activation=None, **config)  # members may be uncompiled
        ensemble.output_activation = activation
        ensemble.member_likelihoods = likelihoods.named(names)
        ensemble.likelihoods = ensemble.member_likelihoods[0]
        ensemble._set_temperatures(temperatures)
        ensemble._set_decisions(decisions)
        for k, member in enumerate(ensemble.members):
            member.name = f"member_{k}"  # a unique name for summaries and graphs
        return ensemble


def _check_shapes(members: list[keras.Model]) -> None:
    """Raises a `ValueError` if two members have different input or output shapes."""
    for name, of_member in (
        ("inputs", lambda member: getattr(member, "inputs", None)),
        ("outputs", likelihoods.symbolic_outputs),
    ):
        tensors = [keras.tree.flatten(of_member(member)) for member in members]
        shapes = [[tuple(each.shape[1:]) for each in flat if each is not None] for flat in tensors]
        other = next((k for k, found in enumerate(shapes) if found and shapes[0] and found != shapes[0]), None)
        if other is not None:
            raise ValueError(
                f"All members must have {name} of the same shapes. "
                f"Received: member 0 with {shapes[0]}, member {other} with {shapes[other]}"
            )


def _check_likelihoods(members: list[keras.Model], of_members: list[Any]) -> None:
    """Raises a `ValueError` if the outputs of two members have different kinds."""
    kinds = []
    for member, of_member in zip(members, of_members):
        outputs = likelihoods.symbolic_outputs(member)
        names = getattr(member, "output_names", None)
        is_known = outputs is not None
        flat = likelihoods.of_each_output(of_member, outputs, names) if is_known else keras.tree.flatten(of_member)
        kinds.append([likelihood.description for likelihood in flat])
    other = next((k for k, of_member in enumerate(kinds) if of_member != kinds[0]), None)
    if other is not None:
        raise ValueError(
            "The outputs of all members must be of the same kind: compile members with losses that imply it, or set "
            f"`output_activation`. Received: member 0 with {kinds[0]}, member {other} with {kinds[other]}"
        )


def _checked_weights(members: list[Any], weights: Any) -> np.ndarray:
    for member in members:
        if not isinstance(member, keras.Model):
            raise TypeError(f"`members` must be Keras models. Received: {member!r}")
    if not members:
        raise ValueError("At least one member is required. Received: members=[]")
    if len({id(member) for member in members}) < len(members):
        raise ValueError("Members must be distinct; increase the weight instead. Received: the same model twice")
    checked = np.ones(len(members)) if weights is None else np.asarray(weights, "float64")
    if checked.shape != (len(members),) or not np.isfinite(checked).all() or (checked < 0).any() or not checked.sum():
        raise ValueError(
            f"`member_weights` must be {len(members)} non-negative numbers, not all 0. Received: {weights!r}"
        )
    return checked
