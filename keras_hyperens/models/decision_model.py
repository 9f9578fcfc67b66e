"""Decisions of an ensemble: conformal sets and intervals, and abstention."""

from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_hyperens import likelihoods
from keras_hyperens.decisions import Abstention
from keras_hyperens.decisions import Conformal
from keras_hyperens.decisions import conformal
from keras_hyperens.decisions.abstention import check_abstention
from keras_hyperens.decisions.abstention import checked_thresholds
from keras_hyperens.decisions.abstention import fitted_threshold
from keras_hyperens.models.data import rows_and_labels
from keras_hyperens.models.decision_outputs import decided
from keras_hyperens.models.decision_outputs import measured
from keras_hyperens.models.decision_outputs import measures_of
from keras_hyperens.models.decision_outputs import setting_of_each
from keras_hyperens.monitoring import Reference


@dataclass(frozen=True)
class Decisions:
    """Results of the fits on held-out data."""

    conformal: Conformal | None = None
    abstention: Abstention | None = None
    reference: Reference | None = None

    @property
    def are_there(self) -> bool:
        """Whether there is any result."""
        return self.conformal is not None or self.abstention is not None

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_config(cls, config: dict[str, Any] | None) -> "Decisions":
        found = {name: value for name, value in (config or {}).items() if value is not None}
        kinds = {"conformal": Conformal, "abstention": Abstention, "reference": Reference}
        return cls(**{name: kinds[name].from_config(value) for name, value in found.items()})  # type: ignore[attr-defined]


class DecisionModel(keras.Model):
    """Mixin of all ensembles for decisions. Abstract; `Ensemble` implements its requirements."""

    _decisions = Decisions()

    @property
    def conformal(self) -> Conformal | None:
        """Result of `conformalize`, if it was called after the last `fit` and the last `calibrate`."""
        return self._decisions.conformal

    @property
    def abstention(self) -> Abstention | None:
        """Result of `abstain`, if it was called after the last `fit` and the last `calibrate`."""
        return self._decisions.abstention

    def conformalize(
        self: Any,
        x: Any,
        y: Any = None,
        coverage: float = 0.9,
        method: Any = None,
        *,
        per_class: bool = False,
        sample_weight: Any = None,
        **predict_arguments: Any,
    ) -> Conformal:
        """Fits conformal sets or intervals on held-out data, which become part of every decision.

        Guarantee: if the N held-out samples and the new ones are exchangeable (for example independent and identically
        distributed) and the held-out samples were not used for training, tuning or calibration, a set or interval
        contains the true value with a probability of at least `coverage`, and of at most `coverage + 1 / (N + 1)` if
        scores have no ties. The guarantee is marginal over held-out and new samples and does not depend on the quality
        of the ensemble: an inaccurate ensemble has large sets. With `per_class=True` it holds for every class, with N
        the number of held-out samples of that class. With several outputs or targets, it holds for each separately, not
        jointly.

        Sets are saved with the ensemble and exported. `fit`, `leave_out` and `calibrate` change predictions and remove
        them, so calibrate first.

        Args:
            x, y: Held-out samples and labels as in `fit`: arrays, or `x` a `tf.data.Dataset` or
                `keras.utils.PyDataset` of both.
            coverage: Guaranteed probability, in (0, 1).
            method: For classes, including a single sigmoid output, `"threshold"` (default: the smallest sets on
                average, which may be empty), `"aps"` (adaptive sets, never empty) or `"raps"` (regularized adaptive
                sets for many classes; a fifth of the samples selects the penalty). For values and Gaussians
                `"interval"`: of constant width, or proportional to the standard deviation. For quantiles
                (`keras_hyperens.losses.Quantile`) `"quantile"`: conformalized quantile regression. For several outputs
                a list or dictionary of these.
            per_class: Whether every class has its own threshold (Mondrian conformal prediction).
            sample_weight: As in `fit`: a weight of 2 counts as two equal samples. Positions that the Keras mask
                excludes, and those of a class that the loss ignores, never count.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The fitted sets or intervals.

        Raises:
            ValueError: If an argument is out of range, an output does not support its method, or labels or weights do
                not match. The ensemble then keeps its previous sets.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> ensemble = khe.HyperDeepEnsemble([model])
        >>> x, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
        >>> conformal = ensemble.conformalize(x, y, coverage=0.8, verbose=0)
        >>> sets = ensemble.decide(x, verbose=0)["set"]  # [B, C]
        >>> bool(sets[np.arange(200), y].mean() >= 0.8)
        True

        References:
            - Sadinle et al., [Least Ambiguous Set-Valued Classifiers](https://arxiv.org/abs/1609.00451)
            - Romano et al., [Classification with Valid and Adaptive Coverage](https://arxiv.org/abs/2006.02544)
            - Angelopoulos et al., [Uncertainty Sets for Image Classifiers](https://arxiv.org/abs/2009.14193)
            - Romano et al., [Conformalized Quantile Regression](https://arxiv.org/abs/1905.03222)
        """
        conformal.check_arguments(coverage, method, per_class)
        x, y, sample_weight = rows_and_labels(x, y, sample_weight)
        predictions, counts = self._predictions_and_counts(x, predict_arguments)
        labels, weights = self._labels_and_weights(y, sample_weight, predictions, counts)
        of_outputs = keras.tree.flatten(self.likelihoods_of(predictions))
        methods = setting_of_each("method", method, predictions, self.output_names)
        flat_predictions, flat_labels = map(keras.tree.flatten, (predictions, labels))
        found = conformal.fitted(
            flat_predictions, flat_labels, of_outputs, weights, methods, float(coverage), per_class
        )
        self._decisions = replace(self._decisions, conformal=found)
        return found

    def abstain(
        self: Any,
        x: Any = None,
        *,
        answered: float | None = None,
        threshold: Any = None,
        measure: Any = None,
        sample_weight: Any = None,
        **predict_arguments: Any,
    ) -> Abstention:
        """Fits a threshold for the rejection of predictions, which `decide`, files and exports use.

        A prediction is refused if its measure is below a threshold for `"max_probability"` and `"margin"`, and above it
        for any other measure. `fit`, `leave_out` and `calibrate` remove the threshold, like conformal sets.

        Args:
            x: Held-out samples; not required with `threshold`.
            answered: Fraction of these samples to accept, in (0, 1]: the most confident ones. The same fraction of new
                samples is accepted if their distribution is the same.
            threshold: Alternatively, the threshold itself; for several outputs a list or dictionary of these, or one
                for all.
            measure: Name of a measure of `predict_uncertainty`. Defaults to `"max_probability"` for classes,
                `"total_variance"` for Gaussians, and `"variance"` (of members) otherwise; for several outputs a list or
                dictionary of these.
            sample_weight: Sample weights, as in `fit`.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The measures and thresholds.

        Raises:
            ValueError: If not exactly one of `answered` and `threshold` is set, one is out of range, or an output does
                not support its measure.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> ensemble = khe.HyperDeepEnsemble([model])
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> abstention = ensemble.abstain(x, answered=0.75, verbose=0)
        >>> int(ensemble.decide(x, verbose=0)["refused"].sum())
        50
        """
        check_abstention(answered, threshold, measure)
        if answered is None and (x is not None or sample_weight is not None or predict_arguments):
            raise ValueError(
                "`threshold` does not use samples: remove all other arguments except `measure`. Received: threshold="
                f"{threshold!r} with samples or arguments of `predict`"
            )
        if x is None and answered is not None:
            raise ValueError("`answered` is a fraction of held-out samples: pass `x`. Received: x=None")
        if answered is None:
            found = self._abstention(self.likelihoods, measure, threshold)
        else:
            found = self._fitted_abstention(x, answered, measure, sample_weight, predict_arguments)
        self._decisions = replace(self._decisions, abstention=found)
        return found

    def _abstention(self: Any, outputs: Any, measure: Any, threshold: Any) -> Abstention:
        """Returns thresholds for a structure of outputs, from settings per output or for all."""
        measures = measures_of(self, outputs, measure)
        thresholds = setting_of_each("threshold", threshold, outputs, self.output_names)
        return Abstention(measures, checked_thresholds(thresholds))

    def _fitted_abstention(
        self: Any, x: Any, answered: float, measure: Any, sample_weight: Any, predict_arguments: dict[str, Any]
    ) -> Abstention:
        def described(inputs: Any) -> tuple[Any, Any]:
            raw = self._member_outputs(inputs, training=False)
            return measured(self, raw, measure), self._counts_of(raw)

        values, counts = self._predict(("measured", repr(measure)), described, x, predict_arguments)
        measures = measures_of(self, counts, measure)
        weights = likelihoods.per_output(sample_weight, counts, self.output_names)
        each = zip(measures, values, keras.tree.flatten(counts), weights, strict=True)
        return Abstention(measures, tuple(fitted_threshold(*of_output, answered) for of_output in each))

    def decide(self: Any, x: Any, **predict_arguments: Any) -> dict[str, np.ndarray]:
        """Returns the decision for each sample: label or interval, set of plausible labels, and abstention.

        The signature `decide` of a SavedModel returns the same.

        Args:
            x: As in `predict`.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            Dictionary of arrays with the batch axis first; several outputs are prefixed with their names, as in
            `"boxes_interval"`: `"prediction"` as in `predict`. For classes `"label"`, the most probable class `[B,
            ...]` (for a single sigmoid output 0 or 1, `[B]`), and after `conformalize` `"set"`, which classes are
            plausible, boolean `[B, ..., C]` (C = 2 for a single sigmoid output). For other outputs, after
            `conformalize`, `"interval"`, the lower and upper bounds `[B, ..., D, 2]`. After `abstain` `"refused"`,
            boolean `[B, ...]`, for Gaussians and values one per target if D > 1, for quantiles one per sample.

        Raises:
            ValueError: If neither `conformalize` nor `abstain` was called.
        """
        decisions = self._decisions
        if not decisions.are_there:
            raise ValueError(
                "Call `conformalize` or `abstain` on held-out data first (`fit` and `calibrate` remove their results). "
                "Received: an ensemble without either"
            )

        def described(inputs: Any) -> dict[str, Any]:
            return decided(self, self._member_outputs(inputs, training=False), decisions)

        return self._predict(("decide", decisions.conformal, decisions.abstention), described, x, predict_arguments)

    def _set_decisions(self, decisions: Decisions) -> None:
        """Sets the results of fits on held-out data, or `None`."""
        self._decisions = decisions
