"""Is it one model? How much members differ, on test images and on images of another kind."""

import numpy as np

import keras_hyperens as khe
from benchmarks import shifts
from benchmarks.data import Data
from benchmarks.data import load
from benchmarks.experiment import Run
from keras_hyperens.reporting.numbers import auroc

MEASURES = ("predictive_entropy", "mutual_information")


def unfamiliar(data: Data, data_dir: str | None) -> np.ndarray:
    """MNIST's test images, in the size and the colors of the data; of digits a quarter turn of their own."""
    if data.name in ("digits", "mnist"):
        return shifts.rotated(data.test[0])
    return shifts.fitted(load("mnist", data_dir, 1, 1).test[0], data.image_shape)


def measured(ensemble: khe.HyperBatchEnsemble | khe.HyperDeepEnsemble, data: Data, others: np.ndarray) -> Run:
    """Disagreement of pairs of members, mutual information in nats, and how well uncertainty detects the others."""
    usual, unusual = (
        ensemble.predict_uncertainty(images, MEASURES, batch_size=500, verbose=0) for images in (data.test[0], others)
    )
    wrong = float((usual["prediction"].argmax(1) != data.test[1]).mean())
    disagreement = khe.metrics.Disagreement()
    disagreement.update_state(None, ensemble.predict_members(data.test[0], batch_size=500, verbose=0))
    differing = float(disagreement.result())
    return {
        "disagreement": differing,
        "disagreement_over_error": differing / max(wrong, 1e-12),
        "mutual_information": float(usual["mutual_information"].mean()),
        "mutual_information_out_of_distribution": float(unusual["mutual_information"].mean()),
        "auroc_entropy": auroc(usual["predictive_entropy"], unusual["predictive_entropy"]),
        "auroc_mutual_information": auroc(usual["mutual_information"], unusual["mutual_information"]),
    }
