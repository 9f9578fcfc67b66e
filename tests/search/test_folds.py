"""Folds: every sample is held out once, classes are split evenly, groups stay together."""

import numpy as np
import pytest
from sklearn import model_selection

from keras_hyperens.search.folds import digest_of_folds
from keras_hyperens.search.folds import folds_of

LABELS = np.random.default_rng(0).permutation([0] * 23 + [1] * 11 + [2] * 6)
GROUPS = np.random.default_rng(1).integers(0, 9, 40)


def held_out(folds, samples=40):
    """Returns the fold that holds out each sample; checks that it is unique, and that the other samples train."""
    places = np.full(samples, -1)
    for number, fold in enumerate(folds):
        assert (places[fold.held_out] == -1).all()
        places[fold.held_out] = number
        assert sorted([*fold.training, *fold.held_out]) == list(range(samples))
    assert places.min() == 0
    return places


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.eye(3)[LABELS], LABELS.astype("float32")])
def test_a_number_of_folds_shares_out_the_classes(labels):
    places = held_out(folds_of(4, [labels], None, 0))
    assert np.bincount(places).tolist() == [10] * 4
    for label in range(3):
        counts = np.bincount(places[LABELS == label], minlength=4)
        assert counts.max() - counts.min() <= 1
    assert (places != held_out(folds_of(4, [labels], None, 1))).any()
    assert (places == held_out(folds_of(4, [labels], None, 0))).all()


def test_values_sequences_and_several_outputs_are_shuffled():
    values = np.random.default_rng(0).normal(size=40)
    for labels in ([values], [np.tile(LABELS[:, None], 5)], [LABELS, values]):
        places = held_out(folds_of(3, labels, None, 0))
        assert np.bincount(places).tolist() == [14, 13, 13]
        assert (places != held_out(folds_of(3, labels, None, 1))).any()


def test_groups_stay_together_and_fill_folds_evenly():
    places = held_out(folds_of(3, [LABELS], GROUPS, 0))
    assert all(len(set(places[group == GROUPS])) == 1 for group in range(9))
    assert np.ptp(np.bincount(places)) <= np.bincount(GROUPS).max()
    names = np.array([f"person {group}" for group in GROUPS])
    assert (places == held_out(folds_of(3, [LABELS], names, 0))).all()


@pytest.mark.parametrize(
    "splitter",
    [
        model_selection.KFold(5),
        model_selection.StratifiedKFold(4, shuffle=True, random_state=3),
        model_selection.GroupKFold(3),
        model_selection.LeaveOneGroupOut(),
        model_selection.StratifiedGroupKFold(2),
        model_selection.TimeSeriesSplit(3),
        model_selection.ShuffleSplit(3, random_state=0),
    ],
)
def test_splitters_of_scikit_learn_split_as_there(splitter):
    groups = GROUPS if "Group" in type(splitter).__name__ else None  # the others warn
    folds = folds_of(splitter, [np.eye(3)[LABELS]], groups, 0)
    expected = list(splitter.split(np.zeros((40, 1)), LABELS, groups))
    for fold, (training, held) in zip(folds, expected, strict=True):
        np.testing.assert_array_equal(fold.training, training)
        np.testing.assert_array_equal(fold.held_out, held)


class Wrong:
    """Splitter with given folds."""

    def __init__(self, *folds):
        self.folds = folds

    def split(self, x, y, groups):
        return iter(self.folds)


@pytest.mark.parametrize(
    ("splitter", "groups", "message"),
    [
        (41, None, "at least as many samples as folds.*cross_validation=41, 40 samples"),
        (10, GROUPS, "at least as many groups as folds.*cross_validation=10, 9 groups"),
        (2, GROUPS[:5], r"`groups` must have one entry for each of 40 samples. Received: groups of shape \(5,\)"),
        (Wrong(), None, "must have folds. Received: none"),
        (Wrong(([0, 1], [1, 2])), None, "of other, held-out samples. Received: fold 0 of .*with 2 and 2 indices"),
        (Wrong(([0, 1], [40])), None, "indices below 40"),
        (Wrong(([0, 1], [-1])), None, "indices below 40"),
        (Wrong(([0, 1], [2]), ([], [2])), None, "fold 1 of .*with 0 and 1 indices"),
        (Wrong(([0.5, 1], [2])), None, "indices below 40"),
    ],
)
def test_what_is_no_fold(splitter, groups, message):
    with pytest.raises(ValueError, match=message):
        folds_of(splitter, [LABELS], groups, 0)


def test_a_digest_knows_the_folds():
    digests = {digest_of_folds(folds_of(number, [LABELS], None, seed)) for number in (2, 3) for seed in (0, 1)}
    assert len(digests) == 4 and digest_of_folds(folds_of(2, [LABELS], None, 0)) in digests
