import numpy as np
import pytest
import scipy.stats

from keras_hyperens.uncertainty import combine
from keras_hyperens.uncertainty import median
from keras_hyperens.uncertainty import mutual_information
from keras_hyperens.uncertainty import predictive_entropy
from keras_hyperens.uncertainty import trimmed_mean

MEMBERS = np.random.default_rng(0).dirichlet(np.ones(5), (4, 7)).astype("float32")  # [M, B, C]


def test_entropies_equal_scipy():
    total = scipy.stats.entropy(MEMBERS.mean(0), axis=-1)
    np.testing.assert_allclose(predictive_entropy(MEMBERS), total, rtol=1e-4)
    expected = scipy.stats.entropy(MEMBERS, axis=-1).mean(0)
    np.testing.assert_allclose(mutual_information(MEMBERS), total - expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("measure", [combine, predictive_entropy, mutual_information])
def test_weights_count_as_repetitions(measure):
    repeated = np.repeat(MEMBERS, [1, 0, 2, 1], axis=0)
    np.testing.assert_allclose(measure(MEMBERS, [0.5, 0.0, 1.0, 0.5]), measure(repeated), rtol=1e-4, atol=1e-6)


def test_one_member_has_no_disagreement():
    np.testing.assert_allclose(mutual_information(MEMBERS[:1]), 0, atol=1e-6)


def test_bounds_and_certain_rows():
    certain = np.eye(5, dtype="float32")[None, [0, 1]].repeat(3, 0)
    np.testing.assert_allclose(predictive_entropy(certain), 0, atol=1e-6)
    opposed = np.eye(5, dtype="float32")[:4, None]
    np.testing.assert_allclose(mutual_information(opposed), np.log(4), rtol=1e-5)
    assert (np.asarray(mutual_information(MEMBERS)) >= 0).all()
    assert (np.asarray(predictive_entropy(MEMBERS)) <= np.log(5)).all()


def test_axes_between_rows_and_classes():
    images = np.random.default_rng(0).dirichlet(np.ones(3), (2, 4, 5, 6))
    assert predictive_entropy(images).shape == (4, 5, 6) and combine(images).shape == (4, 5, 6, 3)


def test_wrong_weights_are_named():
    with pytest.raises(ValueError, match=r"shape \(4,\). Received: shape=\(3,\)"):
        combine(MEMBERS, [1.0, 1.0, 1.0])


@pytest.mark.parametrize("weights", [None, [1, 1, 1, 1], [1, 0, 2, 3], [5, 1, 1, 1]])
def test_median_equals_numpy_on_repeated_members(weights):
    repeated = np.repeat(MEMBERS, [1] * 4 if weights is None else weights, axis=0)
    np.testing.assert_allclose(median(MEMBERS, weights), np.median(repeated, 0), rtol=1e-6)


@pytest.mark.parametrize("n_outliers", [0, 1, 2, 3])
def test_trimmed_mean_leaves_out_the_farthest_from_the_median(n_outliers):
    distances = ((MEMBERS - np.median(MEMBERS, 0)) ** 2).sum(-1)
    for row in range(MEMBERS.shape[1]):
        kept = np.argsort(distances[:, row], kind="stable")[: 4 - n_outliers]
        expected = MEMBERS[kept, row].mean(0)
        np.testing.assert_allclose(trimmed_mean(MEMBERS, n_outliers=n_outliers)[row], expected, rtol=1e-5)
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    kept = np.argsort(((MEMBERS[:, 0] - np.asarray(median(MEMBERS, weights))[0]) ** 2).sum(-1))[: 4 - n_outliers]
    expected = np.average(MEMBERS[kept, 0], 0, weights[kept])
    np.testing.assert_allclose(trimmed_mean(MEMBERS, weights, n_outliers)[0], expected, rtol=1e-5)


def test_trimming_must_leave_a_member():
    with pytest.raises(ValueError, match=r"`n_outliers` must be in \[0, 4\).*Received: 4"):
        trimmed_mean(MEMBERS, n_outliers=4)
