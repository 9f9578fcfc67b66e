"""Two samples of a measure against SciPy and plain formulas, and how often alarms are false."""

import json
from dataclasses import asdict
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from keras_hyperens.monitoring import Reference


def measured(generator, number, shift=0.0):
    """An entropy, a mutual information that goes with it, and a disagreement of four members, in steps."""
    strange = generator.gamma(1.0, size=number) + shift
    return {
        "predictive_entropy": strange,
        "mutual_information": strange * generator.uniform(0, 0.3, number),
        "disagreement": np.minimum(generator.poisson(strange / 2), 3) / 4,
    }


def test_numbers_equal_scipy_and_the_formula():
    generator = np.random.default_rng(0)
    old, new = measured(generator, 300), measured(generator, 80, 0.3)
    drift = Reference.of(old).compared(new)
    assert drift.samples == 80 and [each.name for each in drift.measures] == list(old)
    for each in drift.measures:
        expected = scipy.stats.ks_2samp(old[each.name], new[each.name], method="asymp")
        np.testing.assert_allclose([each.distance, each.distance_p_value], expected, rtol=1e-9)
        np.testing.assert_allclose(each.median_change, np.median(new[each.name]) - np.median(old[each.name]))
    edges = np.quantile(old["predictive_entropy"], np.arange(1, 10) / 10)
    shares = []
    for values in (old["predictive_entropy"], new["predictive_entropy"]):
        parts = [((low < values) & (values <= high)).sum() for low, high in zip([-9, *edges], [*edges, 99])]
        shares.append((np.array(parts) + 0.5) / (len(values) + 5))
    index = sum((n - r) * np.log(n / r) for r, n in zip(*shares))
    np.testing.assert_allclose(drift.measures[0].stability_index, index, rtol=1e-9)
    chance = scipy.stats.chi2.sf(index / (1 / 300 + 1 / 80), 9)
    np.testing.assert_allclose(drift.measures[0].stability_p_value, chance, rtol=1e-9)
    lowest = min(min(each.distance_p_value, each.stability_p_value) for each in drift.measures)
    assert drift.p_value == 6 * lowest


@pytest.mark.parametrize("number", [30, 200])
def test_false_alarms_are_as_rare_as_stated(number):
    generator = np.random.default_rng(number)
    found = [Reference.of(measured(generator, 400)).compared(measured(generator, number)) for _ in range(300)]
    for rate in (0.05, 0.2):
        alarms = [replace(each, false_alarm_rate=rate).alarm for each in found]
        error = 3 * np.sqrt(rate * (1 - rate) / 300)
        assert 0.1 * rate < np.mean(alarms) <= rate + error


def test_changes_are_seen_the_better_the_more_samples_there_are():
    generator = np.random.default_rng(0)
    reference = Reference.of(measured(generator, 1000))
    seen = [
        np.mean([reference.compared(measured(generator, number, shift)).alarm for _ in range(20)])
        for number, shift in ((30, 0.1), (300, 0.2), (300, 1.0))
    ]
    assert seen[0] < seen[1] <= seen[2] == 1
    surer = {name: values / 3 for name, values in measured(generator, 300).items()}
    assert reference.compared(surer).alarm and reference.compared(surer).measures[0].median_change < 0


def test_measures_that_are_all_equal_raise_no_alarm():
    same = {"disagreement": np.zeros(50)}
    drift = Reference.of(same).compared(same)
    assert not drift.alarm and drift.p_value == 1
    assert Reference.of(same).compared({"disagreement": np.full(50, 0.25)}).alarm


def test_a_reference_is_small_and_files_hold_it():
    values = np.random.default_rng(0).normal(size=5000)
    reference = Reference.of({"variance": values})
    assert len(reference.values[0]) == 1000 and set(reference.values[0]) <= set(values)
    assert scipy.stats.ks_2samp(values, reference.values[0]).pvalue > 0.1
    assert Reference.from_config(json.loads(json.dumps(asdict(reference)))) == reference


def test_words():
    generator = np.random.default_rng(0)
    reference = Reference.of(measured(generator, 200))
    assert "are consistent with the reference" in str(reference.compared(measured(generator, 50)))
    text = str(reference.compared(measured(generator, 50, 2.0)))
    assert text.startswith("These 50 samples differ from the reference") and "predictive_entropy: median +" in text
