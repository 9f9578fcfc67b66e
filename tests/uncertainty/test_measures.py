"""Every measure: against SciPy and NumPy, its bounds, its identities, in a graph under XLA."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_hyperens import uncertainty
from keras_hyperens.uncertainty import by_kind

OF_PROBABILITIES = [measure for measure in by_kind.OF_PROBABILITIES if measure is not uncertainty.energy]
OF_FINAL_OUTPUT = [*by_kind.OF_FINAL_OUTPUT, *by_kind.OF_MEMBERS_AND_COMBINATION]
EVERY = [*OF_PROBABILITIES, uncertainty.energy, *by_kind.OF_GAUSSIANS]
GENERATOR = np.random.default_rng(0)
MEMBERS = GENERATOR.dirichlet(np.ones(5), (4, 7)).astype("float32")  # [M, B, C]
GAUSSIANS = np.concatenate([GENERATOR.normal(size=(4, 7, 2)), GENERATOR.gamma(2, size=(4, 7, 2))], -1)  # [M, B, 2D]


def arguments(measure):
    return GAUSSIANS if measure in by_kind.OF_GAUSSIANS else MEMBERS


def close(actual, expected, rtol=2e-4, atol=2e-6):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=rtol, atol=atol)


def test_equal_scipy_and_numpy():
    mean = MEMBERS.astype("float64").mean(0)
    close(uncertainty.expected_entropy(MEMBERS), scipy.stats.entropy(MEMBERS, axis=-1).mean(0))
    divergences = scipy.special.rel_entr(MEMBERS.astype("float64"), mean).sum(-1)
    close(uncertainty.sum_kl_divergence(MEMBERS), divergences.sum(0))
    close(uncertainty.mean_kl_divergence(MEMBERS), divergences.mean(0))
    close(uncertainty.variance(MEMBERS), MEMBERS.var(0))
    close(uncertainty.standard_deviation(MEMBERS), MEMBERS.std(0))
    close(uncertainty.max_probability(MEMBERS), mean.max(-1))
    ordered = np.sort(mean)
    close(uncertainty.margin(MEMBERS), ordered[:, -1] - ordered[:, -2])
    close(uncertainty.energy(MEMBERS, temperature=2), -2 * scipy.special.logsumexp(MEMBERS / 2, -1).mean(0))
    close(uncertainty.log_mean_exp(np.log(MEMBERS)), np.log(mean))


def test_votes_equal_counting():
    votes = MEMBERS.argmax(-1)  # [M, B]
    for row, of_row in enumerate(votes.T):
        counts = np.bincount(of_row, minlength=5)
        close(uncertainty.variation_ratio(MEMBERS)[row], 1 - counts.max() / 4)
        pairs = [a != b for a in of_row for b in of_row]
        close(uncertainty.disagreement(MEMBERS)[row], np.mean(pairs))


def test_score_range_is_that_of_the_chosen_classes():
    close(uncertainty.score_range(MEMBERS), MEMBERS.max((0, 2)) - MEMBERS.min((0, 2)))
    chosen = MEMBERS[..., [1, 3]]
    close(uncertainty.score_range(MEMBERS, classes=[1, 3]), chosen.max((0, 2)) - chosen.min((0, 2)))
    close(uncertainty.score_range(MEMBERS, classes=[2]), np.ptp(MEMBERS[..., 2], 0))
    for classes in ([], [5], [-1]):
        with pytest.raises(ValueError, match=r"in \[0, 5\). Received: classes="):
            uncertainty.score_range(MEMBERS, classes=classes)


@pytest.mark.parametrize("measure", EVERY)
def test_weights_count_as_repetitions(measure):
    members = arguments(measure)
    repeated = measure(np.repeat(members, [1, 0, 2, 1], axis=0))
    close(measure(members, [0.5, 0.0, 1.0, 0.5]), repeated, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("measure", EVERY)
def test_order_of_members_does_not_matter(measure):
    members, weights = arguments(measure), np.array([1.0, 2.0, 3.0, 4.0])
    close(measure(members[::-1], weights[::-1]), measure(members, weights), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.integration)])
@pytest.mark.parametrize("measures", [[*OF_PROBABILITIES, uncertainty.energy], by_kind.OF_GAUSSIANS])
def test_in_a_graph_with_any_number_of_rows(measures, jit_compile):
    members, weights = arguments(measures[0]).astype("float32"), [1.0, 2.0, 3.0, 4.0]
    traced = tf.function(
        lambda rows, of_members: [measure(rows, of_members) for measure in measures],
        input_signature=[tf.TensorSpec((4, 7 if jit_compile else None, members.shape[-1])), tf.TensorSpec((4,))],
        jit_compile=jit_compile,
        autograph=False,
    )
    for measure, value in zip(measures, traced(members, weights)):
        close(value, measure(members, weights), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("measure", OF_FINAL_OUTPUT)
def test_final_output_that_is_not_the_mean(measure):
    close(measure(MEMBERS, None, MEMBERS.mean(0)), measure(MEMBERS), rtol=1e-3, atol=1e-5)
    middle = np.median(MEMBERS, 0)
    middle /= middle.sum(-1, keepdims=True)
    assert not np.allclose(measure(MEMBERS, None, middle), measure(MEMBERS), atol=1e-4)


def test_one_member_knows_all_there_is_to_know():
    for measure in (
        uncertainty.mutual_information,
        uncertainty.mean_kl_divergence,
        uncertainty.sum_kl_divergence,
        uncertainty.variance,
        uncertainty.variation_ratio,
        uncertainty.disagreement,
    ):
        close(measure(MEMBERS[:1]), 0, atol=1e-6)
    close(uncertainty.epistemic_variance(GAUSSIANS[:1]), 0)
    close(uncertainty.gaussian_mixture(GAUSSIANS[:1]), GAUSSIANS[0])


distributions = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.just(seed), st.integers(1, 6), st.integers(1, 5), st.integers(2, 7), st.floats(0.02, 5))
)


@settings(max_examples=40, deadline=None)
@given(distributions)
def test_bounds_and_decompositions(drawn):
    seed, number, rows, classes, concentration = drawn
    generator = np.random.default_rng(seed)
    members = generator.dirichlet(np.full(classes, concentration), (number, rows)).astype("float32")
    members = np.nan_to_num(members, nan=1 / classes)
    members /= members.sum(-1, keepdims=True)
    weights = generator.uniform(0.1, 1, number)
    value = {measure.__name__: np.asarray(measure(members, weights)) for measure in OF_PROBABILITIES}
    rounding = 1e-4
    close(value["predictive_entropy"], value["expected_entropy"] + value["mutual_information"], atol=rounding)
    close(value["mean_kl_divergence"], value["mutual_information"], rtol=1e-2, atol=rounding)
    close(value["sum_kl_divergence"], number * value["mean_kl_divergence"], atol=rounding)
    assert (value["predictive_entropy"] <= np.log(classes) + rounding).all()
    assert (value["mutual_information"] >= 0).all()
    assert (value["mutual_information"] <= np.log(min(number, classes)) + rounding).all()
    assert (value["max_probability"] >= 1 / classes - rounding).all() and (
        value["max_probability"] <= 1 + rounding
    ).all()
    assert (value["margin"] >= 0).all() and (value["margin"] <= value["max_probability"] + rounding).all()
    most = 1 - 1 / number + rounding if number == 1 else 1 + rounding
    assert (value["variation_ratio"] >= 0).all() and (value["variation_ratio"] <= most).all()
    assert (value["disagreement"] >= 0).all() and (value["disagreement"] <= most).all()
    assert (value["score_range"] >= 0).all() and (value["score_range"] <= 1).all()
    assert (value["variance"] <= 0.25 + rounding).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0.5, 0.99))
def test_gaussian_mixtures(seed, number, coverage):
    generator = np.random.default_rng(seed)
    means, variances = generator.normal(0, 3, (number, 4, 2)), generator.gamma(2, 1, (number, 4, 2)) + 0.01
    members, weights = np.concatenate([means, variances], -1), generator.uniform(0.1, 1, number)
    shares = weights / weights.sum()
    mean = np.tensordot(shares, means, 1)
    second = np.tensordot(shares, variances + means**2, 1)
    close(uncertainty.gaussian_mixture(members, weights), np.concatenate([mean, second - mean**2], -1), rtol=1e-3)
    total = uncertainty.aleatoric_variance(members, weights) + uncertainty.epistemic_variance(members, weights)
    close(uncertainty.total_variance(members, weights), total)
    interval = np.asarray(uncertainty.prediction_interval(members, weights, coverage))
    below = scipy.stats.norm.cdf(interval[None], means[..., None], np.sqrt(variances)[..., None])
    tails = np.tensordot(shares, below, 1)
    close(tails[..., 0], (1 - coverage) / 2, rtol=1e-3, atol=1e-5)
    close(tails[..., 1], (1 + coverage) / 2, rtol=1e-3, atol=1e-5)


def test_log_mean_exp_does_not_underflow():
    close(uncertainty.log_mean_exp(np.array([[[-2000.0]], [[-2001.0]]])), [[-2000 + np.log((1 + np.exp(-1)) / 2)]])
    close(uncertainty.log_mean_exp(np.array([[0.0], [-np.log(3)]]), [1, 3]), [np.log(0.5)])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (MEMBERS[0], r"axes \[M, B, ..., C\]. Received: shape=\(7, 5\)"),
        (MEMBERS[:, :0], r"at least one member, one sample and one value. Received: shape=\(4, 0, 5\)"),
        (MEMBERS[..., :1], r"at least two classes.*Received: shape=\(4, 7, 1\)"),
        (MEMBERS * 2, r"sum to 1.*sums from 2 to 2"),
        (MEMBERS - MEMBERS.mean(), "at least 0"),
        (np.where(MEMBERS > 0.9 * MEMBERS.max(), np.nan, MEMBERS), "must be finite. Received: [0-9]+ values"),
    ],
)
@pytest.mark.parametrize("measure", [uncertainty.predictive_entropy, uncertainty.disagreement])
def test_bad_members_are_named(members, message, measure):
    with pytest.raises(ValueError, match=message):
        measure(members)


@pytest.mark.parametrize("weights", [[1, 1, 1, -1], [0, 0, 0, 0], [1, 1, 1, np.nan], np.zeros(4)])
@pytest.mark.parametrize("measure", [uncertainty.combine, uncertainty.median, uncertainty.mutual_information])
def test_bad_weights_are_named(weights, measure):
    with pytest.raises(ValueError, match="`weights` must be at least 0, and not all 0. Received: weights="):
        measure(MEMBERS, weights)


def test_bad_gaussians_and_settings_are_named():
    with pytest.raises(ValueError, match=r"must be even. Received: shape=\(4, 7, 3\)"):
        uncertainty.total_variance(GAUSSIANS[..., :3])
    with pytest.raises(ValueError, match="must be at least 0. Received: negative"):
        uncertainty.total_variance(-np.abs(GAUSSIANS))
    with pytest.raises(ValueError, match="coverage=1"):
        uncertainty.prediction_interval(GAUSSIANS, coverage=1)
    with pytest.raises(ValueError, match="temperature=0"):
        uncertainty.energy(MEMBERS, temperature=0)


def test_half_precision_is_measured_in_single():
    assert keras.backend.standardize_dtype(uncertainty.combine(MEMBERS.astype("float16")).dtype) == "float32"
    close(uncertainty.predictive_entropy(MEMBERS.astype("float16")), uncertainty.predictive_entropy(MEMBERS), rtol=1e-2)
