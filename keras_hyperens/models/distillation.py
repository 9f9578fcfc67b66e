"""Distillation: one network that is trained to predict what an ensemble predicts."""

from collections.abc import Callable
from typing import Any

import keras
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
from keras_hyperens.types import Tensor

OWN_LABELS = ("y", "validation_data")


def distill(
    ensemble: Any, student: keras.Model, x: Any, *, temperature: float = 1.0, **fit_arguments: Any
) -> keras.Model:
    """Trains a student network to predict what an ensemble predicts: one network, at the cost of one.

    The labels are the ensemble's predictions at its own temperatures (that of tuning, and those of `calibrate`), so `x`
    needs none. The loss is the cross-entropy to the ensemble's probabilities; for Gaussians the expected negative
    log-likelihood under the members' mixture, which depends on its mean and variance alone; for other values, quantiles
    among them, the mean squared error. At its minimum the student predicts what the ensemble predicts; what the members
    disagree about is lost: a student has no mutual information.

    Args:
        ensemble: Trained.
        student: A compiled Keras model with the ensemble's inputs and outputs. Its loss says what its outputs are, as
            for members, and its optimizer trains it; during the distillation the loss is another one, and the compiled
            metrics, which want labels, are left out.
        x: Samples as in `fit`: arrays, whose predictions are made once; or a `tf.data.Dataset` of batches, whose
            predictions are made batch by batch, augmented as the samples are. Labels in a dataset are not used, sample
            weights are.
        temperature: T of the loss. Probabilities of ensemble and student are tempered, `p ** (1 / T)`, and the loss is
            multiplied by T²: above 1 improbable classes count more. The student predicts without it.
        **fit_arguments: As in `keras.Model.fit`: `epochs`, `validation_split`, `callbacks`, `sample_weight`.

    Returns:
        The student, compiled as it was; `student.history` has the history of the training.

    Raises:
        TypeError: If `student` is not a Keras model, or labels are given.
        ValueError: If the student is not compiled, if its outputs are of another kind than the ensemble's, or if the
            temperature is not positive or has nothing to temper.

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
    >>> student.predict(x, verbose=0).shape  # logits, as its loss takes them
    (64, 2)

    References:
        - Hinton et al., [Distilling the Knowledge in a Neural Network](https://arxiv.org/abs/1503.02531)
        - Bucila et al., Model Compression, KDD 2006
    """
    _check(student, temperature, fit_arguments)
    data, prediction = _with_predictions(ensemble, x, fit_arguments.get("batch_size"))
    kinds = _kinds(ensemble, student, prediction, temperature)
    losses = [soft_loss(kind, float(temperature)) for kind in kinds]
    given = compile_arguments_of(student)
    own = {"loss": keras.tree.pack_sequence_as(prediction, losses), "metrics": [], "weighted_metrics": None}
    try:
        student.compile(**given | own | {"loss_weights": None})
        student.fit(*data, **fit_arguments)
    finally:
        student.compile(**given)
    return student


def soft_loss(likelihood: Likelihood, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss `[B, ...]` of a student's raw output whose labels are predictions.

    Args:
        likelihood: Of the student's output.
        temperature: T.
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


def _check(student: Any, temperature: Any, fit_arguments: dict[str, Any]) -> None:
    if not isinstance(student, keras.Model):
        raise TypeError(f"`student` must be a Keras model. Received: student={student!r}")
    if not student.compiled or student.loss is None:
        raise ValueError(
            "`student` must be compiled: its loss says what its outputs are, its optimizer trains it. Received: "
            f"compiled={student.compiled}, loss={getattr(student, 'loss', None)!r}"
        )
    if not is_number(temperature) or temperature <= 0:
        raise ValueError(f"`temperature` must be a positive number. Received: temperature={temperature!r}")
    if given := [name for name in OWN_LABELS if name in fit_arguments]:
        raise TypeError(
            "The labels are the ensemble's predictions: leave out others, and hold out samples by `validation_split`. "
            f"Received: {given}"
        )


def _with_predictions(ensemble: Any, x: Any, batch_size: int | None) -> tuple[tuple[Any, ...], Any]:
    """What to fit with, arrays `(x, predictions)` or a dataset of them, and a prediction or its specification."""
    if not isinstance(x, tf.data.Dataset):
        if isinstance(x, keras.utils.PyDataset) or hasattr(x, "__next__"):
            raise TypeError(f"`x` must be arrays or a `tf.data.Dataset`. Received: x of type {type(x).__name__}")
        predictions = ensemble.predict(x, batch_size=batch_size, verbose=0)
        return (x, predictions), predictions

    def labelled(*element: Any) -> tuple[Any, ...]:
        samples, _, weights = keras.utils.unpack_x_y_sample_weight(element[0] if len(element) == 1 else element)
        predictions = ensemble(samples, training=False)
        return (samples, predictions) if weights is None else (samples, predictions, weights)

    dataset = x.map(labelled)
    return (dataset,), dataset.element_spec[1]


def _kinds(ensemble: Any, student: keras.Model, prediction: Any, temperature: float) -> list[Likelihood]:
    """The likelihood of each of the student's outputs."""
    names = getattr(student, "output_names", None)
    kinds = likelihoods.of_each_output(likelihoods.of_model(student), prediction, names)
    wanted = [each.description for each in keras.tree.flatten(ensemble.likelihoods_of(prediction))]
    if (found := [each.description for each in kinds]) != wanted:
        raise ValueError(
            "The outputs of student and ensemble must mean the same: compile the student with a loss that says so. "
            f"Received: a student of {found}, an ensemble of {wanted}"
        )
    if temperature != 1 and not any(kind.has_class_probabilities for kind in kinds):
        raise ValueError(
            f"Only probabilities are tempered: leave `temperature` out. Received: temperature={temperature} for "
            f"outputs of {found}"
        )
    return kinds
