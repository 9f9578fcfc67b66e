"""The hyper-deep ensemble: separately trained networks as one Keras model."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens import heads
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.models.ensemble import inputs_of
from keras_hyperens.models.settings import check_metrics


@keras.saving.register_keras_serializable("keras_hyperens")
class HyperDeepEnsemble(Ensemble):
    """K trained networks, weighted and combined into one prediction.

    `HyperDeepEnsembleBuilder` makes one from a search; any trained Keras models that take the same inputs and give
    outputs of the same shape can be put together by hand. Members may have different architectures.

    Args:
        members: Trained Keras models, K of them.
        member_weights: Non-negative, one per member, of any positive sum. Default: all equal. A member of weight 0 is
            left out, so it is neither stored nor run.
        combination: `"mean"` (weighted, default), `"trimmed_mean"` (without the member farthest from the median, row
            by row), `("trimmed_mean", n_outliers)`, or `"median"` (renormalised for class probabilities).
        output_activation: What turns the members' raw outputs into predictions: `"softmax"`, `"sigmoid"`, `"gaussian"`
            or `None`, for several outputs a list or dictionary of these. Default `"auto"`: by the loss, and its
            `from_logits`, that each member was compiled with.
        member_hyperparameters: The hyperparameters that each member was trained with, by name: for reports alone.

    Input shape:
        What the members take: `(B, ...)`.

    Output shape:
        The combined prediction, `(B, ..., C)`: probabilities for a classifier.

    Raises:
        TypeError: If a member is not a Keras model.
        ValueError: If there is no member, weights do not fit, or a choice is unknown.

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

    def __init__(
        self,
        members: Sequence[keras.Model],
        member_weights: Sequence[float] | None = None,
        *,
        combination: heads.Combination = "mean",
        output_activation: Any = "auto",
        member_hyperparameters: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        members = list(members)
        weights = _checked_weights(members, member_weights)
        combination = heads.checked_combination(combination)
        heads.check_output_activation(output_activation)
        super().__init__(**kwargs)
        kept = [k for k, weight in enumerate(weights) if weight > 0]
        self.members = [members[k] for k in kept]
        self.member_weights = tuple(float(weights[k]) for k in kept)
        for k, member in enumerate(self.members):
            member.name = f"member_{k}"  # searches give all their models the same name
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
        self.member_heads = [
            heads.heads_of_losses(getattr(member, "loss", None)) if output_activation == "auto" else output_activation
            for member in self.members
        ]
        self.heads = self.member_heads[0]
        self.output_names = getattr(self.members[0], "output_names", None)
        self.built = all(member.built for member in self.members)

    def build(self, input_shape: Any) -> None:
        for member in self.members:
            if not member.built:
                member.build(input_shape)
        self.built = True

    def member_outputs(self, inputs: Any, training: bool | None = None) -> Any:
        """Raw outputs of every member, `[K, B, ..., C]`, in the structure of the members' outputs."""
        each = [member(inputs, training=training) for member in self.members]
        return keras.tree.map_structure(lambda *outputs: ops.stack(outputs), *each)

    def predictions_of(self, raw: Any) -> Any:
        """The members' predictions from their raw outputs, each by what its own outputs mean."""
        each = [self._prediction_of_member(k, raw) for k in range(self.ensemble_size)]
        return self._tempered(keras.tree.map_structure(lambda *outputs: ops.stack(outputs), *each))

    def _prediction_of_member(self, k: int, raw: Any) -> Any:
        of_member = keras.tree.map_structure(lambda output: output[k], raw)
        names = getattr(self.members[k], "output_names", None)
        return keras.tree.map_structure(
            heads.prediction, of_member, heads.like_outputs(self.member_heads[k], of_member, names)
        )

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The compiled loss of the combined prediction; a loss that takes logits gets its logarithm."""
        wanted = heads.like_outputs(heads.heads_of_losses(self.loss), y_pred, self.output_names)
        raw = keras.tree.map_structure(heads.raw_of, y_pred, wanted)
        return super().compute_loss(x, y, raw, sample_weight, training)

    @property
    def losses(self) -> list[Any]:
        """None: the members' penalties belonged to their training."""
        return []

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *, metrics: Any = None, **arguments: Any) -> None:
        """As `keras.Model.compile`, for `evaluate`; metrics get probabilities, what `predict` gives.

        Raises:
            ValueError: If a metric wants logits.
        """
        check_metrics((metrics, arguments.get("weighted_metrics"), None), heads.heads_of_losses(loss))
        super().compile(optimizer, loss, metrics=metrics, **arguments)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Raises a `ValueError`: members are trained one by one."""
        raise ValueError(
            "The members of a hyper-deep ensemble are trained one by one: by `HyperDeepEnsembleBuilder`, or by "
            "`ensemble.members[k].fit(...)`. Received: a call of `fit` on the ensemble"
        )

    def hyperparameter_values(self) -> dict[str, list[Any]]:
        """Each hyperparameter's values, one per member, as far as they are known; `None` where a member has none."""
        values = self.member_hyperparameters or []
        return {name: [each.get(name) for each in values] for name in dict.fromkeys(n for each in values for n in each)}

    def declared_inputs(self) -> Any:
        return inputs_of(self.members[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "members": [keras.saving.serialize_keras_object(member) for member in self.members],
            "member_weights": list(self.member_weights),
            "output_activation": self.output_activation,
            "member_hyperparameters": self.member_hyperparameters,
            "member_heads": list(self.member_heads),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HyperDeepEnsemble":
        config, temperatures = cls.readable(config)
        member_heads = config.pop("member_heads")
        config["members"] = [
            keras.saving.deserialize_keras_object(member, custom_objects=custom_objects) for member in config["members"]
        ]
        ensemble = cls(**config)
        ensemble.member_heads, ensemble.heads = member_heads, member_heads[0]
        ensemble.set_temperatures(temperatures)
        return ensemble


def _checked_weights(members: list[Any], weights: Any) -> np.ndarray:
    for member in members:
        if not isinstance(member, keras.Model):
            raise TypeError(f"`members` must be Keras models. Received: {member!r}")
    if not members:
        raise ValueError("At least one member is needed. Received: members=[]")
    if len({id(member) for member in members}) < len(members):
        raise ValueError("Every member must be there once; give it more weight instead. Received: the same model twice")
    checked = np.ones(len(members)) if weights is None else np.asarray(weights, "float64")
    if checked.shape != (len(members),) or not np.isfinite(checked).all() or (checked < 0).any() or not checked.sum():
        raise ValueError(
            f"`member_weights` must be {len(members)} non-negative numbers, not all 0. Received: {weights!r}"
        )
    return checked
