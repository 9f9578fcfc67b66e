"""Greedy selection against the same rule by brute force."""

import math

import numpy as np
import pytest

from keras_hyperens.search import greedy_selection
from keras_hyperens.search import score_inputs
from keras_hyperens.search import scores


def loss(metric, labels, mean):
    """One score of one prediction, from its definition."""
    if callable(metric):
        return metric(labels, mean)
    if metric == "mse":
        return np.mean((mean - labels.reshape(mean.shape)) ** 2)
    if mean.shape[1] == 1:
        mean = np.concatenate([1 - mean, mean], 1)
        scale = 0.5  # the Brier score of one probability is over one class
    else:
        scale = 1.0
    if metric == "nll":
        return -np.log(np.maximum(mean[np.arange(len(labels)), labels], scores.SMALLEST)).mean()
    if metric == "brier":
        return scale * ((mean - np.eye(mean.shape[1])[labels]) ** 2).sum(-1).mean()
    return 1 - (mean.argmax(-1) == labels).mean()


def brute_force(predictions, labels, size, metric, replacement, stop, tolerance):
    chosen, trajectory = [], []
    while len(set(chosen) if stop == "unique" else chosen) < size:
        best, best_score = None, math.inf
        for t in range(len(predictions)):
            if replacement or t not in chosen:
                score = loss(metric, labels, np.mean([predictions[i] for i in [*chosen, t]], 0))
                if score < best_score - 1e-11:
                    best, best_score = t, score
        if best is None or (chosen and not trajectory[-1] - best_score > tolerance + 1e-11 * (tolerance >= 0)):
            break
        chosen.append(best)
        trajectory.append(best_score)
    return chosen, trajectory


def problem(seed, metric, candidates=7, rows=23, classes=4):
    random = np.random.default_rng(seed)
    if metric == "mse":
        return random.normal(size=(candidates, rows, classes)), random.normal(size=(rows, classes))
    labels = random.integers(0, max(classes, 2), rows)
    if classes == 1:
        return random.uniform(size=(candidates, rows, 1)), labels
    logits = random.normal(size=(candidates, rows, classes)) + 1.5 * np.eye(classes)[labels]
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(-1, keepdims=True), labels


def absolute_error(labels, mean):
    return np.abs(mean - np.eye(mean.shape[1])[labels]).sum()


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy", "mse", absolute_error])
@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("stop,tolerance", [("unique", 0.0), ("total", 0.0), ("total", -math.inf), ("unique", 0.02)])
def test_equals_brute_force(metric, replacement, stop, tolerance):
    for seed in range(12):
        predictions, labels = problem(seed, metric)
        settings = dict(metric=metric, replacement=replacement, stop=stop, tolerance=tolerance)
        expected, trajectory = brute_force(predictions, labels, 4, **settings)
        selection = greedy_selection(predictions, labels, 4, **settings)
        assert selection.indices == tuple(expected)
        np.testing.assert_allclose(selection.trajectory, trajectory, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy", "mse"])
def test_one_column_and_many_rows_in_blocks(metric, monkeypatch):
    monkeypatch.setattr(scores, "BLOCK_BYTES", 128)
    predictions, labels = problem(3, metric, classes=1)
    expected, trajectory = brute_force(predictions, labels, 4, metric, True, "total", -math.inf)
    selection = greedy_selection(predictions, labels, 4, metric, stop="total", tolerance=-math.inf)
    assert selection.indices == tuple(expected)
    np.testing.assert_allclose(selection.trajectory, trajectory, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy", "mse"])
def test_never_worse_than_the_best_single_and_ties_go_to_the_first(metric):
    for seed in range(10):
        predictions, labels = problem(seed, metric)
        twice = np.concatenate([predictions, predictions[::-1]])
        selection = greedy_selection(twice, labels, 3, metric)
        singles = [loss(metric, labels, each) for each in predictions]
        assert min(selection.trajectory) <= min(singles) + 1e-12
        assert set(selection.indices) <= set(range(len(predictions)))
        assert list(selection.trajectory) == sorted(selection.trajectory, reverse=True)


def test_weights_members_and_the_best_prefix():
    predictions, labels = problem(0, "nll")
    selection = greedy_selection(predictions, labels, 9, stop="total", tolerance=-math.inf)
    assert len(selection.indices) == 9 and selection.members == tuple(dict.fromkeys(selection.indices))
    assert selection.weights == tuple(selection.indices.count(member) / 9 for member in selection.members)
    mean = np.average(predictions[list(selection.members)], 0, selection.weights)
    np.testing.assert_allclose(loss("nll", labels, mean), selection.trajectory[-1])
    best = selection.best_prefix()
    assert best.trajectory[-1] == min(selection.trajectory) and best.indices == selection.indices[: len(best.indices)]


@pytest.mark.parametrize("metric", ["nll", "brier"])
def test_without_tolerance_there_are_always_k_members(metric):
    predictions, labels = problem(2, metric, candidates=9)
    predictions[3] = np.where(np.eye(4)[labels] == 1, 0.997, 0.001)  # alone it is better than any company
    assert greedy_selection(predictions, labels, 4, metric).members == (3,)
    selection = greedy_selection(predictions, labels, 4, metric, tolerance=-math.inf)
    assert selection.indices[0] == 3 and len(selection.members) == 4
    for step in range(1, len(selection.indices)):
        before, chosen = list(selection.indices[:step]), selection.indices[step]
        options = [loss(metric, labels, predictions[[*before, t]].mean(0)) for t in range(9)]
        if chosen in before:
            np.testing.assert_allclose(options[chosen], min(options))
            assert options[chosen] < min(selection.trajectory[:step])
        else:
            np.testing.assert_allclose(options[chosen], min(options[t] for t in range(9) if t not in before))


def test_finer_and_finer_weights_end():
    random = np.random.default_rng(0)
    predictions = random.dirichlet(np.ones(3), (3, 50))
    labels = random.integers(0, 3, 50)
    predictions[2] = np.roll(predictions[2], 1, -1) * 1e-3 + 1 / 3  # of no use to anyone
    predictions[2] /= predictions[2].sum(-1, keepdims=True)
    assert len(greedy_selection(predictions, labels, 3, stop="unique").indices) <= 300


def test_rows_with_axes_between_and_one_hot_labels():
    predictions, labels = problem(1, "nll", rows=24)
    flat = greedy_selection(predictions, labels, 3)
    assert greedy_selection(predictions.reshape(7, 4, 6, 4), labels.reshape(4, 6), 3) == flat
    assert greedy_selection(predictions, np.eye(4)[labels], 3) == flat
    assert greedy_selection(list(predictions), labels[:, None], 3) == flat


def weighted_error(labels, mean, sample_weight=None):
    return np.average(np.abs(mean - np.eye(mean.shape[1])[labels]).sum(-1), weights=sample_weight)


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy", "mse", weighted_error])
@pytest.mark.parametrize("classes", [4, 1])
def test_weights_equal_repeated_rows(metric, classes):
    for seed in range(6):
        predictions, labels = problem(seed, metric, classes=max(classes, 2 if callable(metric) else 1))
        counts = np.random.default_rng(seed).integers(0, 4, len(labels))
        repeated = np.repeat(predictions, counts, 1), np.repeat(labels, counts, 0)
        expected = greedy_selection(*repeated, 3, metric, stop="total", tolerance=-math.inf)
        unread = predictions.copy(), labels.copy()
        unread[0][:, counts == 0] = np.nan
        unread[1][counts == 0] = 99
        for weights in (counts, counts * 0.5):
            selection = greedy_selection(*unread, 3, metric, sample_weight=weights, stop="total", tolerance=-math.inf)
            assert selection.indices == expected.indices
            np.testing.assert_allclose(selection.trajectory, expected.trajectory, rtol=1e-9, atol=1e-12)


def test_weights_of_several_outputs_of_axes_between_and_of_a_subsample():
    predictions, labels = problem(1, "nll", rows=24)
    weights = np.random.default_rng(0).uniform(size=24)
    whole = greedy_selection(predictions, labels, 3, sample_weight=weights)
    shaped = predictions.reshape(7, 4, 6, 4), labels.reshape(4, 6)
    assert greedy_selection(*shaped, 3, sample_weight=weights.reshape(4, 6)) == whole
    rows = greedy_selection(predictions, labels, 3, sample_weight=np.repeat(weights[:4], 6))
    assert greedy_selection(*shaped, 3, sample_weight=weights[:4, None]) == rows
    kept = np.sort(np.random.default_rng(0).choice(24, 9, replace=False))
    part = greedy_selection(predictions[:, kept], labels[kept], 3, sample_weight=weights[kept])
    assert greedy_selection(predictions, labels, 3, sample_weight=weights, subsample=9, seed=0) == part
    two = {"a": predictions, "b": predictions[::-1]}, {"a": labels, "b": labels}
    only_a = greedy_selection(*two, 3, sample_weight={"a": weights, "b": None})
    means = predictions[list(only_a.indices)].mean(0), predictions[::-1][list(only_a.indices)].mean(0)
    first = -np.average(np.log(means[0][np.arange(24), labels]), weights=weights)
    np.testing.assert_allclose(only_a.trajectory[-1], first + loss("nll", labels, means[1]))


def test_several_outputs_add_their_scores():
    first, labels = problem(1, "nll")
    values, targets = problem(2, "mse")
    selection = greedy_selection(
        {"a": first, "b": values}, {"a": labels, "b": targets}, 3, metric={"a": "nll", "b": "mse"}, stop="total"
    )
    means = first[list(selection.indices)].mean(0), values[list(selection.indices)].mean(0)
    expected = loss("nll", labels, means[0]) + loss("mse", targets, means[1])
    np.testing.assert_allclose(selection.trajectory[-1], expected)
    singles = [loss("nll", labels, a) + loss("mse", targets, b) for a, b in zip(first, values)]
    assert selection.indices[0] == np.argmin(singles)


def test_what_the_metric_reads_must_be_finite():
    predictions, labels = problem(0, "nll")
    best = greedy_selection(predictions, labels, 1).indices[0]
    wrong_class = predictions.copy()
    wrong_class[best, 0, (labels[0] + 1) % 4] = np.nan
    assert greedy_selection(wrong_class, labels, 3).excluded == ()
    for metric in ("brier", "accuracy", absolute_error):
        selection = greedy_selection(wrong_class, labels, 3, metric)
        assert selection.excluded == (best,) and best not in selection.indices
    wrong_class[best, 0, labels[0]] = np.inf
    assert greedy_selection(wrong_class, labels, 3).excluded == (best,)
    with pytest.raises(ValueError, match=r"ensemble_size=7, 7 candidates, of which \[\d\] have non-finite values"):
        greedy_selection(wrong_class, labels, 7)


@pytest.mark.parametrize("metric", ["nll", "brier", "accuracy"])
@pytest.mark.parametrize("wrong", [lambda p: 3 * p, np.log, lambda p: p * 0.5])
def test_probabilities_of_every_candidate_sum_to_one(metric, wrong):
    predictions, labels = problem(0, "nll")
    predictions[5] = wrong(predictions[5])
    with pytest.raises(ValueError, match="must be probabilities that sum to 1.*candidate 5"):
        greedy_selection(predictions, labels, 3, metric)


@pytest.mark.parametrize("held", [2**30, 0])
def test_memory_mapped_files_give_the_same_and_their_memory_is_given_back(tmp_path, monkeypatch, held):
    predictions, labels = problem(4, "brier")
    for t, each in enumerate(predictions.astype("float32")):
        np.save(tmp_path / f"{t}.npy", each)
    mapped = [np.load(tmp_path / f"{t}.npy", mmap_mode="r") for t in range(len(predictions))]
    given_back, forget = [], score_inputs._forget
    monkeypatch.setattr(score_inputs, "MAPPED_BYTES", held)
    monkeypatch.setattr(score_inputs, "_forget", lambda array: (given_back.append(array), forget(array)))
    for metric in ("nll", "brier", "accuracy"):
        in_memory = greedy_selection(predictions.astype("float32"), labels, 3, metric)
        given_back.clear()
        assert greedy_selection(mapped, labels, 3, metric) == in_memory
        assert bool(given_back) == (held == 0)


def test_subsample_uses_some_rows_and_the_seed():
    predictions, labels = problem(5, "nll", rows=200)
    runs = [greedy_selection(predictions, labels, 3, subsample=50, seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    rows = np.sort(np.random.default_rng(0).choice(200, 50, replace=False))
    assert runs[0] == greedy_selection(predictions[:, rows], labels[rows], 3)
    assert greedy_selection(predictions, labels, 3, subsample=0.25, seed=0) == runs[0]
    assert greedy_selection(predictions, labels, 3, subsample=1.0, seed=0).indices


def test_bagging_keeps_what_most_halves_choose():
    predictions, labels = problem(6, "nll", candidates=12, rows=60)
    selection = greedy_selection(predictions, labels, 3, bagging=20, seed=0)
    assert selection == greedy_selection(predictions, labels, 3, bagging=20, seed=0)
    assert len(selection.members) == 3 and len(selection.indices) == len(selection.trajectory) > 20
    mean = np.average(predictions[list(selection.members)], 0, selection.weights)
    np.testing.assert_allclose(loss("nll", labels, mean), selection.trajectory[-1])
    random, chosen = np.random.default_rng(0), []
    for _ in range(20):
        half = np.sort(random.choice(12, 6, replace=False))
        chosen += [int(half[i]) for i in greedy_selection(predictions[half], labels, 3).indices]
    counts = {member: chosen.count(member) for member in set(chosen)}
    assert sorted(counts[member] for member in selection.members) == sorted(counts.values())[-3:]
    assert len(selection.indices) == sum(counts[member] for member in selection.members)


PREDICTIONS, LABELS = problem(0, "nll")


def test_a_score_that_is_no_number_is_never_the_lowest():
    def score(labels, predictions):
        return np.nan if np.array_equal(predictions, PREDICTIONS[0]) else absolute_error(labels, predictions)

    without = greedy_selection(PREDICTIONS[1:], LABELS, 3, absolute_error, replacement=False)
    chosen = greedy_selection(PREDICTIONS, LABELS, 3, score, replacement=False)
    assert chosen.indices[0] == without.indices[0] + 1 and chosen.trajectory[0] == without.trajectory[0]
    assert np.isnan(greedy_selection(PREDICTIONS[:1], LABELS, 1, score).trajectory[0])


@pytest.mark.parametrize(
    "change,message",
    [
        (dict(metric="auc"), r"`metric` must be one of .*metric='auc'"),
        (dict(stop="never"), "`stop` must be one of"),
        (dict(ensemble_size=0), "ensemble_size=0"),
        (dict(ensemble_size=8), "ensemble_size=8, 7 candidates"),
        (dict(bagging=0), "bagging=0"),
        (dict(tolerance=math.nan), "tolerance=nan"),
        (dict(subsample=24), "subsample=24"),
        (dict(subsample=0.0), "subsample=0.0"),
        (dict(predictions=[]), "At least one candidate"),
        (dict(labels=LABELS[:-1]), r"labels of shape \(22,\)"),
        (dict(labels=LABELS + 0.5), "class indices"),
        (dict(labels=LABELS.astype(str)), "`labels` must be numbers: encode strings.*dtype=<U"),
        (dict(predictions=PREDICTIONS.astype(object)), "`predictions` must be numbers.*dtype=object"),
        (dict(labels=LABELS + 1), r"values in \[1, 4\]"),
        (dict(labels=np.full((23, 4), 0.25)), "one-hot"),
        (dict(predictions=np.log(PREDICTIONS)), "must be probabilities"),
        (dict(predictions=np.log(PREDICTIONS), metric="brier"), "must be probabilities"),
        (dict(predictions=[PREDICTIONS[0], PREDICTIONS[1][:5]], ensemble_size=1), "of shapes"),
        (dict(metric="mse"), "requires a value for each of 4 outputs"),
        (dict(metric="mse", labels=LABELS[:, None]), "requires a value for each of 4 outputs"),
        (dict(metric=absolute_error, sample_weight=np.arange(23)), "must take `sample_weight`"),
        (dict(sample_weight=np.zeros(23)), "not all 0. Received: sample_weight from 0.0 to 0.0"),
        (dict(sample_weight=-np.ones(23)), "at least 0"),
        (dict(sample_weight=np.full(23, np.nan)), "must be finite"),
        (dict(sample_weight=np.ones(22)), r"shape \(23,\).*Received: sample_weight of shape \(22,\)"),
        (dict(predictions={"a": PREDICTIONS}, labels={"b": LABELS}), "same keys"),
        (dict(predictions={"a": PREDICTIONS}, labels=LABELS), "same keys"),
    ],
)
def test_bad_input(change, message):
    arguments = {"predictions": PREDICTIONS, "labels": LABELS, "ensemble_size": 3, **change}
    with pytest.raises(ValueError, match=message):
        greedy_selection(**arguments)
