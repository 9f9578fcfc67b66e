import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_hyperens import plots
from tests.plots.data import FOREIGN
from tests.plots.data import KNOWN


def auroc(known, foreign):
    return roc_auc_score(np.repeat([0, 1], [len(known), len(foreign)]), np.concatenate([known, foreign]))


@pytest.mark.parametrize("digits", [1, 9])  # with many ties, and without
def test_title_has_the_area_of_scikit_learn(digits, ax):
    known, foreign = KNOWN.round(digits), FOREIGN.round(digits)
    plots.uncertainty_histograms(known, foreign, "mutual information", ax=ax)
    assert ax.get_title() == f"In and out of distribution (AUROC {auroc(known, foreign):.3f})"
    assert ax.get_xlabel() == "mutual information"


def test_densities_over_common_bins(ax):
    plots.uncertainty_histograms(KNOWN, FOREIGN, ax=ax)
    drawn = [patch.get_data() for patch in ax.patches]
    edges = np.linspace(min(KNOWN.min(), FOREIGN.min()), max(KNOWN.max(), FOREIGN.max()), 31)
    for values, data in zip((KNOWN, FOREIGN), drawn, strict=True):
        np.testing.assert_allclose(data.edges, edges)
        shares = np.array([np.sum((values >= low) & (values < high)) for low, high in zip(edges, edges[1:])])
        shares[-1] += np.sum(values == edges[-1])
        np.testing.assert_allclose(data.values, shares / len(values) / np.diff(edges))
        np.testing.assert_allclose(np.sum(data.values * np.diff(data.edges)), 1)


def test_legend_has_the_areas_of_several(ax):
    foreign = {"noise": FOREIGN, "letters": FOREIGN / 2}
    plots.uncertainty_histograms(KNOWN, foreign, ax=ax)
    expected = [f"{name} (AUROC {auroc(KNOWN, values):.3f})" for name, values in foreign.items()]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["in distribution", *expected]


def test_ticks_suit_any_unit(ax):
    for unit in (1e-6, 1.0, 1e6):
        ax.clear()
        plots.uncertainty_histograms(KNOWN * unit, FOREIGN * unit, ax=ax)
        low, high = ax.get_ylim()
        assert low == 0 and 3 <= sum(low <= tick <= high for tick in ax.get_yticks()) <= 8


@pytest.mark.parametrize(
    ("known", "foreign", "message"),
    [
        ([[0.1]], [0.2], r"`in_distribution` must be \[N\]. Received: shape=\(1, 1\)"),
        ([0.1], {"noise": []}, r"`out_of_distribution` must be \[K\]. Received: shape=\(0,\)"),
        ([0.1], [np.inf, 0.2], "`out_of_distribution` must be finite. Received: 1 values"),
        ([0.1], {}, r"At least one dataset is required. Received: out_of_distribution=\{\}"),
    ],
)
def test_wrong_uncertainties(known, foreign, message):
    with pytest.raises(ValueError, match=message):
        plots.uncertainty_histograms(known, foreign)


def test_a_reference_and_new_data_have_the_same_densities_and_names_of_their_own(ax):
    plots.drift_histograms(KNOWN, {"today": FOREIGN}, "disagreement", ax=ax)
    other = plots.uncertainty_histograms(KNOWN, FOREIGN).axes[0]
    for patch, expected in zip(ax.patches, other.patches, strict=True):
        np.testing.assert_array_equal(patch.get_data().values, expected.get_data().values)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["reference", "today"]
    assert "distribution" not in ax.get_title() and ax.get_xlabel() == "disagreement"
    with pytest.raises(ValueError, match=r"At least one dataset is required. Received: new=\{\}"):
        plots.drift_histograms(KNOWN, {})
    with pytest.raises(ValueError, match="`reference` must be finite"):
        plots.drift_histograms([np.nan], FOREIGN)
