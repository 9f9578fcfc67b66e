"""What an ensemble knows of the data it was made for, so that it notices others."""

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
    """The part of every ensemble that compares data with a reference. Abstract; `Ensemble` has what it asks for."""

    @property
    def reference(self: Any) -> Reference | None:
        """What `set_reference` found, if it was called after the last `fit` and the last `calibrate`."""
        return self._decisions.reference

    def set_reference(self: Any, x: Any, **predict_arguments: Any) -> Reference:
        """Remembers how sure the ensemble is of held-out data, for `detect_drift`.

        Of classes entropy, mutual information and disagreement of members are remembered, of Gaussians the three
        variances, of other values the variance of members; each as a mean over the positions of a sample that count.
        The reference is saved with the ensemble, with 1,000 samples at most. `fit`, `leave_out` and `calibrate`, after
        which the ensemble is sure in another way, forget it.

        Args:
            x: Held-out samples of the kind that the ensemble will see, at least 20; not those that it was trained on,
                of which it is surer.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The reference.

        Raises:
            ValueError: If there are fewer than 20 samples, or predictions of them are not finite.

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
        """Compares new data with those of `set_reference`: whether the ensemble is as sure of them.

        Data on which it is as sure as before raise no alarm, even if they are of another kind: look at measures of the
        inputs too.

        Args:
            x: New samples, at least 20: the more, the smaller changes are seen.
            false_alarm_rate: The probability of an alarm, at most, if the samples are independent and of the same kind
                as the reference; in (0, 1). Whoever looks at many batches has so many false alarms a batch.
            **predict_arguments: As in `predict`: `batch_size`, `verbose`.

        Returns:
            The comparison: `alarm`, `p_value`, `measures`; `print` shows it in words.

        Raises:
            ValueError: If there is no reference, there are fewer than 20 samples, or the rate is not in (0, 1).
        """
        reference = self.reference
        if reference is None:
            raise ValueError(
                "Call `set_reference` on held-out data first (`fit` and `calibrate` forget what it found). Received: "
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
    """One number for each sample, `[B]`, from measures `[B, ...]` and which positions count."""
    if len(values.shape) > len(counts.shape):  # one for each question or target
        values = ops.mean(values, axis=-1)
    axes = tuple(range(1, len(counts.shape)))
    counts = ops.cast(counts, values.dtype)
    return ops.sum(values * counts, axis=axes) / ops.maximum(ops.sum(counts, axis=axes), 1) if axes else values
