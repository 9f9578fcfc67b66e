"""Distillation: training of a single network on the predictions of an ensemble."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_hyperens import likelihoods
from keras_hyperens.checks import is_number
from keras_hyperens.conversion.compiled import compile_arguments_of
from keras_hyperens.likelihoods import Bernoulli
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.losses import GaussianNegativeLogLikelihood
from keras_hyperens.models.ensemble import Ensemble
from keras_hyperens.types import Tensor
from keras_hyperens.uncertainty import combine
from keras_hyperens.uncertainty import variance

SPREAD_WEIGHT = 3e-3  # with larger weights, held-out predictions of the digits become worse, and the spread no better
TINY = 1e-30  # members that are all certain of one class do not differ
LARGEST = 1e4  # sum of concentrations of members without differences
OWN_LABELS = ("y", "validation_data")


def distill(
    ensemble: Any,
    student: keras.Model,
    x: Any,
    *,
    temperature: float = 1.0,
    spread: bool = False,
    **fit_arguments: Any,
) -> keras.Model:
    """Trains a student network on the predictions of an ensemble, for inference at the cost of one network.

    The labels are the predictions of the ensemble at its temperatures (of tuning and of `calibrate`), so `x` needs no
    labels. The loss is the cross-entropy to the probabilities of the ensemble; for Gaussians the expected negative
    log-likelihood under the members' mixture, which only depends on its mean and variance; for other values, including
    quantiles, the mean squared error. At its minimum the student predicts the same as the ensemble. It only
    represents the disagreement between members with `spread=True`.

    Args:
        ensemble: A trained ensemble.
        student: A compiled Keras model with the inputs and outputs of the ensemble. Its loss determines the kind of its
            outputs, as for members, and its optimizer is used for training. During the distillation the loss is
            replaced, and the compiled metrics, which require labels, are disabled.
        x: Samples as in `fit`: arrays, which are predicted once, or a `tf.data.Dataset` of batches, which is predicted
            batch by batch, so that augmented samples have matching labels. Labels in a dataset are ignored, sample
            weights are used.
        temperature: Temperature T of the loss. The probabilities of ensemble and student become `p ** (1 / T)`, and the
            loss is multiplied by T²: above 1, improbable classes have more influence. The predictions of the trained
            student do not include it.
        spread: Whether the logits of the student also represent the variance of the members' probabilities: the
            exponentials of the logits become the concentrations of a Dirichlet distribution, whose mean, the softmax,
            is the prediction, and whose sum of variances is that of the members before the temperature of the ensemble.
            `keras_hyperens.uncertainty.dirichlet_variance` computes it. The loss is increased by 0.003 times the
            squared error of the logarithm of the sum of concentrations.
        **fit_arguments: As in `keras.Model.fit`: `epochs`, `validation_split`, `callbacks`, `sample_weight`.

    Returns:
        The student, compiled as before; `student.history` is the history of the training.

    Raises:
        TypeError: If `ensemble` is not an ensemble, `student` is not a Keras model, or labels are passed.
        ValueError: If the student is not compiled, its outputs are of another kind than those of the ensemble, or the
            temperature is not positive, or is set for outputs without class probabilities; if `spread` is set for a
            single member, or for a student whose outputs are not logits of classes; or if predictions of the ensemble
            for arrays are not finite.

    Example:
    >>> import keras
    >>> import numpy as np
    >>> import keras_hyperens as khe
    >>> def network():
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    ...     model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ...     return model
    >>> ensemble = khe.HyperDeepEnsemble([network(), network()])
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> student = khe.distill(ensemble, network(), x, epochs=2, verbose=0)
    >>> student.predict(x, verbose=0).shape  # logits, as in its loss
    (64, 2)

    References:
        - Hinton et al., [Distilling the Knowledge in a Neural Network](https://arxiv.org/abs/1503.02531)
        - Bucila et al., Model Compression, KDD 2006
        - Malinin et al., [Ensemble Distribution Distillation](https://arxiv.org/abs/1905.00076)
    """
    _check(ensemble, student, temperature, spread, fit_arguments)
    data, prediction = _with_predictions(ensemble, x, fit_arguments.get("batch_size"), spread)
    kinds = _kinds(ensemble, student, prediction, temperature)
    losses = [soft_loss(kind, float(temperature)) for kind in kinds]
    if spread:
        losses = [with_spread(*each) for each in zip(losses, kinds, strict=True)]
    given = compile_arguments_of(student)
    own = {"loss": keras.tree.pack_sequence_as(prediction, losses), "metrics": [], "weighted_metrics": None}
    try:
        student.compile(**given | own | {"loss_weights": None})
        student.fit(*data, **fit_arguments)
    finally:
        student.compile(**given)
    return student


def soft_loss(likelihood: Likelihood, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the loss `[B, ...]` of a student's raw output, with predictions as labels.

    Args:
        likelihood: Likelihood of the student's output.
        temperature: Temperature T.
    """

    def cross_entropy(predicted: Tensor, raw: Tensor) -> Tensor:
        target, raw = likelihood.temper(predicted, temperature), likelihood.temper_raw(raw, temperature)
        kind = isinstance(likelihood, Categorical)
        loss = keras.losses.categorical_crossentropy if kind else keras.losses.binary_crossentropy
        return loss(target, raw, from_logits=likelihood.from_logits) * temperature**2

    def expected_likelihood(predicted: Tensor, raw: Tensor) -> Tensor:
        means, variances = ops.split(predicted, 2, axis=-1)
        _, log_scales = ops.split(raw, 2, axis=-1)
        of_means = GaussianNegativeLogLikelihood(reduction=None)(means, raw)
        return of_means + ops.mean(variances * ops.exp(-2 * log_scales), axis=-1) / 2

    if isinstance(likelihood, Categorical | Bernoulli):
        return cross_entropy
    return expected_likelihood if isinstance(likelihood, Gaussian) else keras.losses.mean_squared_error


def with_spread(loss: Callable[[Tensor, Tensor], Tensor], likelihood: Likelihood) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the loss `[B, ...]` of logits with labels `[B, ..., C + 1]`: predictions, and `log_concentration`.

    Args:
        loss: `soft_loss` of the predictions.
        likelihood: Likelihood of the student's output.
    """
    if not isinstance(likelihood, Categorical) or not likelihood.from_logits:
        raise ValueError(
            "`spread` requires a student of classes with logits: remove its last activation, and compile it with a "
            f"loss with from_logits=True. Received: a student of {likelihood.description}"
        )

    def of_both(labels: Tensor, raw: Tensor) -> Tensor:
        errors = ops.logsumexp(raw, axis=-1) - labels[..., -1]
        return loss(labels[..., :-1], raw) + SPREAD_WEIGHT * ops.square(errors)

    return of_both


def log_concentration(members: Tensor, weights: Any) -> Tensor:
    """Logarithm of the sum of concentrations of the Dirichlet distribution with the variance of members, `[B, ...]`.

    The variances of a Dirichlet distribution of mean p are `p (1 - p) / (a + 1)` for a sum of concentrations a, so that
    `a = sum_c p_c (1 - p_c) / sum_c v_c - 1` for members of variance v.

    Args:
        members: Probabilities, `[M, B, ..., C]`.
        weights: `[M]`, or `None` for equal weights.
    """
    mean, total = combine(members, weights), ops.sum(variance(members, weights), axis=-1)
    largest = ops.sum(mean * (1 - mean), axis=-1)
    concentration = (largest + LARGEST * TINY) / (ops.maximum(total, largest / LARGEST) + TINY) - 1
    return ops.log(ops.clip(concentration, 1 / LARGEST, LARGEST))


def _check(ensemble: Any, student: Any, temperature: Any, spread: Any, fit_arguments: dict[str, Any]) -> None:
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"`ensemble` must be an ensemble of this package. Received: ensemble={ensemble!r}")
    if not isinstance(student, keras.Model):
        raise TypeError(f"`student` must be a Keras model. Received: student={student!r}")
    if not student.compiled or student.loss is None:
        raise ValueError(
            "`student` must be compiled: its loss determines the kind of its outputs. Received: "
            f"compiled={student.compiled}, loss={getattr(student, 'loss', None)!r}"
        )
    if not is_number(temperature) or temperature <= 0:
        raise ValueError(f"`temperature` must be a positive number. Received: temperature={temperature!r}")
    if not isinstance(spread, bool):
        raise ValueError(f"`spread` must be True or False. Received: spread={spread!r}")
    if spread and ensemble.ensemble_size == 1:
        raise ValueError("`spread` requires at least two members. Received: an ensemble of one")
    if given := [name for name in OWN_LABELS if name in fit_arguments]:
        raise TypeError(
            "The labels are the predictions of the ensemble: remove other labels, and use `validation_split`. "
            f"Received: {given}"
        )


def _with_predictions(ensemble: Any, x: Any, batch_size: int | None, spread: bool) -> tuple[tuple[Any, ...], Any]:
    """Returns training data, arrays `(x, labels)` or a dataset of these, and labels or their specification."""

    def with_concentration(prediction: Any, members: Any) -> Any:
        concentration = log_concentration(members, ensemble.member_weights)
        return ops.concatenate([prediction, concentration[..., None]], axis=-1)

    def labels_of(samples: Any) -> Any:
        members = ensemble._member_predictions(samples, training=False)
        predictions = ensemble._combine(members)
        return keras.tree.map_structure(with_concentration, predictions, members) if spread else predictions

    if not isinstance(x, tf.data.Dataset):
        if isinstance(x, keras.utils.PyDataset) or hasattr(x, "__next__"):
            raise TypeError(f"`x` must be arrays or a `tf.data.Dataset`. Received: x of type {type(x).__name__}")
        labels = ensemble._predict(("labels", spread), labels_of, x, {"batch_size": batch_size, "verbose": 0})
        if not all(np.isfinite(each).all() for each in keras.tree.flatten(labels)):
            raise ValueError("The predictions of the ensemble must be finite: check `x`. Received: NaN or infinity")
        return (x, labels), labels

    def labeled(*element: Any) -> tuple[Any, ...]:
        samples, _, weights = keras.utils.unpack_x_y_sample_weight(element[0] if len(element) == 1 else element)
        labels = labels_of(samples)
        return (samples, labels) if weights is None else (samples, labels, weights)

    dataset = x.map(labeled)
    return (dataset,), dataset.element_spec[1]


def _kinds(ensemble: Any, student: keras.Model, prediction: Any, temperature: float) -> list[Likelihood]:
    """Returns the likelihood of each output of the student."""
    names = getattr(student, "output_names", None)
    kinds = likelihoods.of_each_output(likelihoods.of_model(student), prediction, names)
    wanted = [each.description for each in keras.tree.flatten(ensemble.likelihoods_of(prediction))]
    if (found := [each.description for each in kinds]) != wanted:
        raise ValueError(
            "Student and ensemble must have outputs of the same kind: compile the student with a corresponding loss. "
            f"Received: a student of {found}, an ensemble of {wanted}"
        )
    if temperature != 1 and not any(kind.has_class_probabilities for kind in kinds):
        raise ValueError(
            "Only class probabilities have a temperature: remove `temperature`. "
            f"Received: temperature={temperature} for outputs of {found}"
        )
    return kinds
