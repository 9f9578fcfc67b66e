"""Report section on decisions: conformal sets and abstention."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_hyperens.reporting.page import heading
from keras_hyperens.reporting.page import paragraph
from keras_hyperens.reporting.page import table

LARGEST = 5  # larger sets share a table row


def decision_parts(ensemble: Any, x: Any, labels: np.ndarray, batch_size: int) -> Iterator[str]:
    """Yields the results of `conformalize` and `abstain` on test data; nothing if neither was called.

    Args:
        ensemble: A classifier with one output.
        x: Test data.
        labels: Classes of every position, `[N]`.
        batch_size: Batch size of the prediction.
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
        f"Conformal sets ({conformal.outputs[0].method}) target a coverage of {conformal.coverage:.0%}"
        f"{' for every class' if conformal.per_class else ''}; the coverage on the test data is {inside.mean():.1%}. "
        f"The mean set size is {sizes.mean():.2f}."
    )
    last = min(LARGEST, sets.shape[-1])
    groups = {"all": sizes >= 0, **{str(size): sizes == size for size in range(last)}, f"{last} or more": sizes >= last}
    rows = [
        [name, int(chosen.sum()), f"{chosen.mean():.1%}", f"{inside[chosen].mean():.1%}"]
        for name, chosen in groups.items()
        if chosen.any()
    ]
    yield table(["set size", "samples", "fraction", "coverage"], rows)


def _of_refusals(refused: np.ndarray, right: np.ndarray) -> Iterator[str]:
    rows = [
        [name, int(chosen.sum()), f"{chosen.mean():.1%}", f"{right[chosen].mean():.2%}"]
        for name, chosen in (("answered", ~refused), ("refused", refused))
        if chosen.any()
    ]
    yield table(["", "samples", "fraction", "accuracy"], rows)
    yield paragraph("Refused: less confident than the threshold of `abstain`.", "small")
