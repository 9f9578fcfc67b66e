"""How outputs of every kind are scored, against plain Keras losses of combined predictions."""

import math

import keras
import numpy as np
import pytest

import keras_hyperens as khe
from keras_hyperens.likelihoods import Bernoulli
from keras_hyperens.likelihoods import Categorical
from keras_hyperens.likelihoods import Gaussian
from keras_hyperens.likelihoods import Value
from keras_hyperens.models.compiled_loss import CompiledLoss
from keras_hyperens.search.pool import Pool
from keras_hyperens.search.scorer import Target
from keras_hyperens.search.scorer import as_problem
from keras_hyperens.search.selection import greedy_selection

RANDOM = np.random.default_rng(0)
N, C, T = 20, 3, 5
PROBABILITIES = RANDOM.dirichlet(np.ones(C), (T, N)).astype("float32")
SIGMOIDS = RANDOM.uniform(0.05, 0.95, (T, N, C)).astype("float32")
GAUSSIANS = np.concatenate([RANDOM.normal(size=(T, N, 2)), RANDOM.uniform(0.5, 2, (T, N, 2))], -1)
CLASSES, SOFT = RANDOM.integers(0, C, N), RANDOM.dirichlet(np.ones(C), N).astype("float32")
SHARES, TARGETS = RANDOM.uniform(size=(N, C)).astype("float32"), RANDOM.normal(size=(N, 2)).astype("float32")
sparse, categorical = keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy
binary = keras.losses.BinaryCrossentropy
LOGITS = Categorical(from_logits=True)


def focal(y_true, y_pred):
    y_true = keras.ops.one_hot(keras.ops.cast(y_true, "int32"), C)
    return keras.ops.sum(-y_true * (1 - y_pred) ** 2 * keras.ops.log(y_pred), -1)


def select(predictions, target, likelihood, metric="auto", size=3):
    problem = as_problem([[each] for each in predictions], [target], [likelihood], metric)
    return greedy_selection(**problem, ensemble_size=size, stop="total", tolerance=-math.inf)


def mean_of(predictions, indices):
    return predictions[list(indices)].mean(0)


def mixture(indices):
    means, variances = np.split(GAUSSIANS[list(indices)], 2, -1)
    mean = means.mean(0)
    return np.concatenate([mean, np.log((variances + means**2).mean(0) - mean**2) / 2], -1)


CASES = {
    "classes by their own loss": (PROBABILITIES, CLASSES, sparse(), Categorical(), "loss", mean_of),
    "logits": (PROBABILITIES, CLASSES, sparse(from_logits=True), LOGITS, "loss", lambda p, i: np.log(mean_of(p, i))),
    "soft labels": (PROBABILITIES, SOFT, categorical(), Categorical(), "auto", mean_of),
    "a loss of one's own": (PROBABILITIES, CLASSES, focal, Categorical(), "loss", mean_of),
    "shares": (SIGMOIDS, SHARES, binary(), Bernoulli(), "auto", mean_of),
    "a name": (SIGMOIDS, SHARES, "mean_absolute_error", Value(), "loss", mean_of),
    "Gaussians": (
        GAUSSIANS, TARGETS, khe.losses.GaussianNegativeLogLikelihood(), Gaussian(), "auto", lambda p, i: mixture(i)
    ),
    "the likelihood of Gaussians": (
        GAUSSIANS, TARGETS, khe.losses.GaussianNegativeLogLikelihood(), Gaussian(), "nll", lambda p, i: mixture(i)
    ),
}  # fmt: skip


def value(loss, labels, raw):
    loss = keras.losses.get(loss)
    return float(keras.ops.mean(loss(keras.ops.convert_to_tensor(labels), keras.ops.cast(raw, "float32"))))


@pytest.mark.parametrize("case", CASES)
def test_the_compiled_loss_is_that_of_the_combined_prediction(case):
    predictions, labels, loss, likelihood, metric, combined = CASES[case]
    selection = select(predictions, Target(labels, loss), likelihood, metric)
    expected = [value(loss, labels, combined(predictions, selection.indices[: k + 1])) for k in range(3)]
    np.testing.assert_allclose(selection.trajectory, expected, rtol=1e-5)
    singles = [value(loss, labels, combined(predictions, [t])) for t in range(T)]
    assert selection.indices[0] == np.argmin(singles)


@pytest.mark.parametrize("case", CASES)
def test_weights_equal_repeated_samples_in_the_compiled_loss(case):
    predictions, labels, loss, likelihood, metric, _ = CASES[case]
    counts = np.random.default_rng(1).integers(0, 4, N)
    repeated = select(np.repeat(predictions, counts, 1), Target(np.repeat(labels, counts, 0), loss), likelihood, metric)
    weighted = select(predictions, Target(labels, loss, counts), likelihood, metric)
    assert weighted.indices == repeated.indices
    np.testing.assert_allclose(weighted.trajectory, repeated.trajectory, rtol=1e-5)


def test_a_loss_of_one_number_cannot_weigh_samples():
    def total(y_true, y_pred):
        return keras.ops.mean((y_true - y_pred) ** 2)

    target = Target(SHARES, total, np.arange(N))
    with pytest.raises(ValueError, match="must return one value per sample.*Received: loss='total'"):
        select(SIGMOIDS, target, Value(), "loss")


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy", "loss"])
@pytest.mark.parametrize("weights", [None, np.arange(N) % 3])
def test_ignored_labels_are_as_if_they_were_not_there(metric, weights):
    loss = sparse(ignore_class=-1)
    labels = np.where(np.arange(N) % 4 == 0, -1, CLASSES)
    read = labels != -1
    kept = Target(labels[read], sparse(), None if weights is None else weights[read])
    expected = select(PROBABILITIES[:, read], kept, Categorical(), metric)
    selection = select(PROBABILITIES, Target(labels, loss, weights), Categorical(), metric)
    assert selection.indices == expected.indices
    np.testing.assert_allclose(selection.trajectory, expected.trajectory, rtol=1e-5)


def test_ignored_pixels_of_images():
    images, labels = PROBABILITIES.reshape(T, 4, 5, C), CLASSES.reshape(4, 5, 1)
    labels = np.where(np.arange(N).reshape(4, 5, 1) % 3 == 0, 255, labels)
    read = labels.reshape(-1) != 255
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    kept = Target(labels.reshape(-1)[read], sparse(), np.repeat(weights, 5)[read])
    expected = select(PROBABILITIES[:, read], kept, Categorical(), "nll")
    found = select(images, Target(labels, sparse(ignore_class=255), weights), Categorical(), "nll")
    np.testing.assert_allclose(found.trajectory, expected.trajectory, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, np.arange(N)])
def test_many_yes_or_no_questions_are_scored_one_by_one(weights):
    labels = (SHARES > 0.5).astype("float32")
    selection = select(SIGMOIDS, Target(labels, "binary_crossentropy", weights), Bernoulli(), "auto")
    p = mean_of(SIGMOIDS, selection.indices)
    nll = -np.log(np.where(labels, p, 1 - p)).mean(-1)
    np.testing.assert_allclose(selection.trajectory[-1], np.average(nll, weights=weights), rtol=1e-6)


def test_the_squared_error_of_gaussians_is_that_of_their_means():
    target = Target(TARGETS, khe.losses.GaussianNegativeLogLikelihood())
    selection = select(GAUSSIANS, target, Gaussian(), "mse")
    means = mean_of(GAUSSIANS, selection.indices)[:, :2]
    np.testing.assert_allclose(selection.trajectory[-1], np.square(means - TARGETS).mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("likelihood", "labels", "shape", "loss", "metric"),
    [
        (LOGITS, CLASSES, (N, C), sparse(), "nll"),
        (Categorical(), CLASSES[:, None], (N, C), focal, "nll"),
        (Categorical(), np.eye(C)[CLASSES], (N, C), categorical(), "nll"),
        (Categorical(), SOFT, (N, C), categorical(), "loss"),
        (LOGITS, np.zeros((N, 7), int), (N, 11, C), "ctc", "loss"),
        (Bernoulli(), CLASSES % 2, (N, 1), binary(), "nll"),
        (Bernoulli(from_logits=True), SHARES, (N, C), binary(from_logits=True), "loss"),
        (Bernoulli(), SHARES + 1, (N, C), binary(), "nll"),  # and that refuses them
        (Gaussian(), TARGETS, (N, 4), khe.losses.GaussianNegativeLogLikelihood(), "loss"),
        (Value(), TARGETS, (N, 2), "mse", "mse"),
        (Value(), TARGETS[:, 0], (N, 1), focal, "mse"),
        (Value(), CLASSES, (N, C), "mse", "mse"),  # and that refuses them
        (Value(), CLASSES, (N, C), focal, "loss"),
        (Value(), TARGETS, (N, 2), None, "mse"),
    ],
)
def test_the_metric_follows_from_output_and_labels(likelihood, labels, shape, loss, metric):
    assert likelihood.default_metric(labels, shape, loss) == metric


def test_labels_that_would_only_broadcast_are_refused():
    with pytest.raises(ValueError, match="requires a value for each of 3 outputs"):
        select(SIGMOIDS, Target(CLASSES, "mse"), Value())
    with pytest.raises(ValueError, match="requires a compiled loss"):
        select(SIGMOIDS, Target(SHARES), Value(), "loss")


def test_twelve_outputs_meet_their_own_labels(tmp_path):
    labels = [np.full((N, 1), float(k)) for k in range(12)]
    weights = [np.arange(N) + k if k % 5 == 0 else None for k in range(12)]
    pool = Pool(tmp_path)
    pool.write_labels(labels, weights)
    for read, written in ((pool.labels(), labels), (pool.weights(), weights)):
        assert len(read) == 12 and all(map(np.array_equal, read, written))
    predictions = [[np.full((N, 1), k + 0.1 * t) for k in range(12)] for t in range(3)]
    targets = [Target(*parts) for parts in zip(pool.labels(), ["mse"] * 12, pool.weights())]
    problem = as_problem(predictions, targets, [Value()] * 12, "auto")
    assert greedy_selection(**problem, ensemble_size=1).indices == (0,)
    np.testing.assert_allclose(greedy_selection(**problem, ensemble_size=1).trajectory, 0, atol=1e-12)


def test_a_metric_for_each_output():
    targets = [Target(CLASSES, sparse(), name="kind"), Target(SHARES, "mse", name="size")]
    predictions = [[PROBABILITIES[t], SIGMOIDS[t]] for t in range(T)]
    problem = as_problem(predictions, targets, [Categorical(), Value()], {"size": "mse", "kind": "accuracy"})
    (score,) = greedy_selection(**problem, ensemble_size=1).trajectory
    errors = (PROBABILITIES.argmax(-1) != CLASSES).mean(-1) + np.square(SIGMOIDS - SHARES).mean((1, 2))
    np.testing.assert_allclose(score, errors.min(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"per output in \['kind', 'size'\]. Received: metric={'kind': 'nll'}"):
        as_problem(predictions, targets, [Categorical(), Value()], {"kind": "nll"})
    with pytest.raises(ValueError, match=r"per output in \['kind', 'size'\]"):
        as_problem(predictions, targets, [Categorical(), Value()], {"kind": "nll", "size": "mse", "more": "mse"})


def test_the_compiled_loss_has_its_weights_and_other_metrics_have_none():
    predictions = [[PROBABILITIES[t], SIGMOIDS[t]] for t in range(T)]
    weighted = [Target(CLASSES, sparse(), None, "kind", 0.5), Target(SHARES, "mse", None, "size", 10.0)]
    plain = [Target(CLASSES, sparse(), None, "kind"), Target(SHARES, "mse", None, "size")]

    def score(targets, metric):
        return greedy_selection(
            **as_problem(predictions[:1], targets, [Categorical(), Value()], metric), ensemble_size=1
        ).trajectory[0]

    kind, size = (score(plain, {"kind": a, "size": b}) for a, b in (("loss", "mse"), ("accuracy", "loss")))
    kind -= np.square(SIGMOIDS[0] - SHARES).mean()
    size -= (PROBABILITIES[0].argmax(-1) != CLASSES).mean()
    np.testing.assert_allclose(score(weighted, "loss"), 0.5 * kind + 10 * size, rtol=1e-5)
    assert score(weighted, "auto") == score(plain, "auto")


@pytest.mark.parametrize("reduction", [None, "none", "sum_over_batch_size"])
def test_a_loss_without_a_reduction_is_averaged(reduction):
    labels, columns = np.arange(4.0)[:, None], np.ones((4, 1))
    loss = CompiledLoss(keras.losses.MeanSquaredError(reduction=reduction), Value(), labels, None, (4, 1))
    assert loss(np.array([0, 2, 3]), columns[:3]) == pytest.approx(np.mean([1, 1, 4]))
