"""Comparison of new data with the reference data of an ensemble."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.models.decision_outputs import outputs_of
from keras_hyperens.models.uncertainty_outputs import measured_of
from keras_hyperens.monitoring import Drift
from keras_hyperens.monitoring import Reference

OF_CLASSES = ("predictive_entropy", "mutual_information", "disagreement")


class DriftModel(keras.Model):
    """Mixin of all ensembles for drift detection. Abstract; `Ensemble` implements its requirements."""

    @property
    def reference(self: Any) -> Reference | None:
        """Result of `set_reference`, if it was called after the last `fit` and the last `calibrate`."""
        return self._decisions.reference

    def set_reference(self: Any, x: Any, **predict_arguments: Any) -> Reference:
        """Stores uncertainty measures of held-out data, for `detect_drift`.

        The measures are entropy, mutual information and disagreement for classes, the three variances for Gaussians,
        and the variance of members for other values; each is a mean over the unmasked positions of a sample. The
        reference is saved with the ensemble, with 1,000 samples at most. `fit`, `leave_out` and `calibrate` change the
        uncertainty and remove it.

        Args:
            x: Held-out samples like those in production, at least 20; not training samples, for which the uncertainty
                is lower.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The reference.

        Raises:
            ValueError: If there are fewer than 20 samples, or their predictions are not finite.

        Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_hyperens as khe
        >>> models = [keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")]) for _ in range(2)]
        >>> ensemble = khe.HyperDeepEnsemble(models, output_activation="categorical")
        >>> x = np.random.default_rng(0).normal(size=(300, 3))
        >>> reference = ensemble.set_reference(x[:200], verbose=0)
        >>> ensemble.detect_drift(x[200:], verbose=0).alarm
        False
        """
        found = Reference.of(self._measured_for_reference(x, predict_arguments))
        self._decisions = replace(self._decisions, reference=found)
        return found

    def detect_drift(self: Any, x: Any, *, false_alarm_rate: float = 0.01, **predict_arguments: Any) -> Drift:
        """Compares the uncertainty on new data with that of `set_reference`.

        Drift that does not change the uncertainty raises no alarm: also monitor statistics of the inputs.

        Args:
            x: New samples, at least 20; more samples reveal smaller changes.
            false_alarm_rate: Maximum probability of an alarm per call, in (0, 1), if the samples are independent and
                distributed like the reference.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The comparison, with `alarm`, `p_value` and `measures`; `print` shows a summary.

        Raises:
            ValueError: If there is no reference, there are fewer than 20 samples, or the rate is not in (0, 1).
        """
        reference = self.reference
        if reference is None:
            raise ValueError(
                "Call `set_reference` on held-out data first (`fit` and `calibrate` remove it). Received: "
                "an ensemble without a reference"
            )
        return reference.compared(self._measured_for_reference(x, predict_arguments), false_alarm_rate)

    def _measured_for_reference(self: Any, x: Any, predict_arguments: dict[str, Any]) -> Mapping[str, np.ndarray]:
        def described(inputs: Any) -> dict[str, Any]:
            raw = self._member_outputs(inputs, training=False)
            found: dict[str, Any] = {}
            counts = keras.tree.flatten(self._counts_of(raw))
            for (prefix, output), count in zip(outputs_of(self, raw), counts, strict=True):
                measured = measured_of(output, self, _names(output.likelihood))
                found |= {prefix + name: _mean_over_positions(values, count) for name, values in measured.items()}
            return found

        return self._predict("reference", described, x, predict_arguments)


def _names(likelihood: Likelihood) -> tuple[str, ...]:
    return OF_CLASSES if likelihood.has_class_probabilities else likelihood.default_measures


def _mean_over_positions(values: Any, counts: Any) -> Any:
    """Returns one number per sample, `[B]`, from measures `[B, ...]` and the mask of positions."""
    if len(values.shape) > len(counts.shape):  # one per label or target
        values = ops.mean(values, axis=-1)
    axes = tuple(range(1, len(counts.shape)))
    counts = ops.cast(counts, values.dtype)
    return ops.sum(values * counts, axis=axes) / ops.maximum(ops.sum(counts, axis=axes), 1) if axes else values
