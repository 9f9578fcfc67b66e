"""Predictions as an ensemble might make them, and every picture of them."""

import numpy as np

from keras_hyperens import plots
from keras_hyperens.search import FrontierPoint

GENERATOR = np.random.default_rng(0)
ROWS, MEMBERS, CLASSES = 400, 4, 5
LABELS = GENERATOR.integers(0, CLASSES, ROWS)
LOGITS = GENERATOR.normal(size=(MEMBERS, ROWS, CLASSES)) + GENERATOR.normal(size=(ROWS, CLASSES))
LOGITS[:, np.arange(ROWS), LABELS] += 2
MEMBER_PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
PROBABILITIES = MEMBER_PROBABILITIES.mean(0)
IMAGES = GENERATOR.uniform(size=(20, 4, 6, 1))
UNCERTAINTY = GENERATOR.permutation(20) / 10
VALUES = np.geomspace(1e-5, 1e-1, 9)
LOSSES = 0.3 + 0.1 * GENERATOR.uniform(size=(MEMBERS, 9))
BOUNDS = np.sort(10 ** GENERATOR.uniform(-5, -1, (12, MEMBERS, 2)))
KNOWN, FOREIGN = GENERATOR.beta(0.2, 4, 300), GENERATOR.beta(3, 2, 200)
FRONTIER = [FrontierPoint(("a",), (1.0,), 1e3, 0.5), FrontierPoint(("a", "b"), (0.5, 0.5), 5e3, 0.4)]
SCORES = {"single network": [0.2, 0.5, 0.9], "batch ensemble": [0.2, 0.4, 0.7], "hyper-batch ensemble": [0.1, 0.3, 0.6]}

PICTURES = {
    "reliability_diagram": lambda **at: plots.reliability_diagram(LABELS, PROBABILITIES, **at),
    "risk_coverage_curve": lambda **at: plots.risk_coverage_curve(LABELS, PROBABILITIES, **at),
    "risk_coverage_curve of several": lambda **at: plots.risk_coverage_curve(
        LABELS, {f"network number {k}": MEMBER_PROBABILITIES[k] for k in range(MEMBERS)}, **at
    ),
    "uncertainty_histograms": lambda **at: plots.uncertainty_histograms(KNOWN, FOREIGN, **at),
    "uncertainty_histograms of several": lambda **at: plots.uncertainty_histograms(
        KNOWN, {"noise": FOREIGN, "letters": FOREIGN / 2}, **at
    ),
    "drift_histograms": lambda **at: plots.drift_histograms(KNOWN, FOREIGN, **at),
    "drift_histograms of several": lambda **at: plots.drift_histograms(
        KNOWN, {"today": FOREIGN, "the day before": FOREIGN / 2}, **at
    ),
    "certain_images": lambda **at: plots.certain_images(IMAGES, UNCERTAINTY, **at),
    "image_grid": lambda **at: plots.image_grid(IMAGES[:8], [f"is {k}\nsays 3 (40%)" for k in range(8)], **at),
    "hyperparameter_path": lambda **at: plots.hyperparameter_path(BOUNDS, "l2", **at),
    "response_curve": lambda **at: plots.response_curve(
        VALUES, LOSSES.mean(0), "l2", members=LOSSES, at=[2e-5, 1e-4, 1e-3, 1e-2], **at
    ),
    "scores_by_size": lambda **at: plots.scores_by_size(SCORES, **at),
    "cost_frontier": lambda **at: plots.cost_frontier(FRONTIER, **at),
    "diversity_matrix": lambda **at: plots.diversity_matrix(MEMBER_PROBABILITIES, **at),
    "corruption_curves": lambda **at: plots.corruption_curves(SCORES, **at),
}
