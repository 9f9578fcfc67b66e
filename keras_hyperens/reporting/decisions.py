"""The section of a report on decisions: conformal sets, and predictions that are refused."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_hyperens.reporting.page import heading
from keras_hyperens.reporting.page import paragraph
from keras_hyperens.reporting.page import table

LARGEST = 5  # sets of more classes share a row


def decision_parts(ensemble: Any, x: Any, labels: np.ndarray, batch_size: int) -> Iterator[str]:
    """What `conformalize` and `abstain` come to on test data; nothing if neither was called.

    Args:
        ensemble: A classifier with one output.
        x: Test data.
        labels: Its classes, of every position, `[N]`.
        batch_size: Of the prediction.
    """
    if ensemble.conformal is None and ensemble.abstention is None:
        return
    decided = ensemble.decide(x, batch_size=batch_size, verbose=0)
    yield heading("Decisions")
    if ensemble.conformal is not None:
        sets = decided["set"].reshape(-1, decided["set"].shape[-1])
        yield from _of_sets(ensemble.conformal, sets, labels)
    if ensemble.abstention is not None:
        yield from _of_refusals(decided["refused"].reshape(-1), decided["label"].reshape(-1) == labels)


def _of_sets(conformal: Any, sets: np.ndarray, labels: np.ndarray) -> Iterator[str]:
    inside, sizes = sets[np.arange(len(labels)), labels], sets.sum(-1)
    yield paragraph(
        f"Conformal sets ({conformal.outputs[0].method}) promise to hold the true class of {conformal.coverage:.0%} of "
        f"samples{' of every class' if conformal.per_class else ''}; here they hold that of {inside.mean():.1%}. "
        f"They have {sizes.mean():.2f} classes on average."
    )
    last = min(LARGEST, sets.shape[-1])
    groups = {"all": sizes >= 0, **{str(size): sizes == size for size in range(last)}, f"{last} or more": sizes >= last}
    rows = [
        [name, int(chosen.sum()), f"{chosen.mean():.1%}", f"{inside[chosen].mean():.1%}"]
        for name, chosen in groups.items()
        if chosen.any()
    ]
    yield table(["classes in the set", "samples", "share", "hold the true class"], rows)


def _of_refusals(refused: np.ndarray, right: np.ndarray) -> Iterator[str]:
    rows = [
        [name, int(chosen.sum()), f"{chosen.mean():.1%}", f"{right[chosen].mean():.2%}"]
        for name, chosen in (("answered", ~refused), ("refused", refused))
        if chosen.any()
    ]
    yield table(["", "samples", "share", "accuracy"], rows)
    yield paragraph("Refused: less sure than the threshold of `abstain`.", "small")
