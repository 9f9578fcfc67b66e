"""Scores of candidates, and inputs of the greedy selection for their outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np

from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.likelihoods import named
from keras_hyperens.models.compiled_loss import CompiledLoss
from keras_hyperens.search.assembly import networks_of
from keras_hyperens.search.candidate import CHECKPOINTS
from keras_hyperens.search.candidate import INITIALIZATIONS
from keras_hyperens.search.candidate import SEARCH
from keras_hyperens.search.candidate import Candidate
from keras_hyperens.search.directory import SearchDirectory
from keras_hyperens.search.scores import SCORES
from keras_hyperens.search.selection import Selection
from keras_hyperens.search.selection import greedy_selection
from keras_hyperens.search.validation_rows import ValidationRows


@dataclass(frozen=True)
class Target:
    """Targets of an output.

    Attributes:
        labels: Labels as the loss takes them.
        loss: Compiled loss of this output, or `None`.
        weights: Sample weights, or `None`.
        name: Name of the output, if there are several.
        loss_weight: Weight of its loss in the compiled loss.
    """

    labels: np.ndarray
    loss: Any = None
    weights: np.ndarray | None = None
    name: str = ""
    loss_weight: float = 1.0


class Scorer:
    """Scores candidates of a search by the metric of its builder.

    Args:
        directory: Directory of the search.

    Attributes:
        label_names: Names of the outputs, in the order of labels with names.
    """

    def __init__(self, directory: SearchDirectory) -> None:
        self.directory, self.pool, self.metric = directory, directory.pool, directory.settings.metric
        self.label_names: tuple[str, ...] = ()

    def score(
        self, predictions: list[np.ndarray], likelihoods: Sequence[Likelihood], targets: list[Target] | None = None
    ) -> float:
        """Returns the score of a prediction of each output; lower is better, NaN for non-finite predictions."""
        if not all(np.isfinite(each).all() for each in predictions):
            return float("nan")
        problem = as_problem([predictions], targets or self._targets_on_disk(), likelihoods, self.metric)
        return greedy_selection(**problem, ensemble_size=1).trajectory[0]

    def select(
        self,
        candidates: list[Candidate],
        size: int,
        metric: Any,
        rows: ValidationRows | None = None,
        **selection: Any,
    ) -> Selection:
        """Selects candidates by a metric, on the data of the search or on other data.

        Args:
            candidates: Candidates, with weights for other data.
            size, metric, **selection: As in `greedy_selection`.
            rows: The other data.
        """
        problem = self.problem(candidates, metric, rows)
        return greedy_selection(**problem, ensemble_size=size, **selection)

    def best_ensemble(
        self, predictions: Sequence[Sequence[np.ndarray]], likelihoods: Sequence[Likelihood], outputs: Sequence[str]
    ) -> Selection:
        """Selects as many members as the builder among candidates with these predictions."""
        problem = as_problem(predictions, self._targets_on_disk(outputs), likelihoods, self.metric)
        size = min(len(predictions), self.directory.settings.ensemble_size)
        return greedy_selection(**problem, ensemble_size=size, tolerance=-math.inf)

    def problem(self, candidates: list[Candidate], metric: Any, rows: ValidationRows | None = None) -> dict[str, Any]:
        """Returns arguments of `greedy_selection`, as in `select`."""
        return as_problem(*(self._on_disk(candidates) if rows is None else self._on_rows(candidates, rows)), metric)

    def _on_disk(
        self, candidates: list[Candidate]
    ) -> tuple[list[list[np.ndarray]], list[Target], Sequence[Likelihood]]:
        predictions = [self.pool.predictions(each) for each in candidates]
        targets = self._targets_on_disk(candidates[0].outputs)
        rows = len(targets[0].labels)
        if any(len(of_candidate[0]) == rows for of_candidate in predictions):  # otherwise the labels are wrong
            for each, of_candidate in zip(candidates, predictions):
                self.pool.check_predictions(each, of_candidate, rows)
        return predictions, targets, named(candidates[0].likelihoods)

    def _on_rows(
        self, candidates: list[Candidate], rows: ValidationRows
    ) -> tuple[list[list[np.ndarray]], list[Target], Sequence[Likelihood]]:
        """Predicts with the models of all candidates, which are loaded one after the other."""
        settings, predictions = self.directory.settings, []
        likelihoods: Sequence[Likelihood] = ()
        for number, each in enumerate(candidates):
            networks = networks_of(settings.hypermodel, self.pool, each)
            if number == 0:
                rows.leave_out_masked(networks[0], None)
            of_networks = []
            for network in networks:
                outputs = rows.outputs(network, None)
                of_network, likelihoods = rows.predictions(network, outputs, settings.prediction_dtype)
                of_networks.append(of_network)
            predictions.append(list(map(mean_of, likelihoods, zip(*of_networks, strict=True))))
        return predictions, self.targets(rows.labels, rows.weights, rows.names or ()), likelihoods

    def score_again(self) -> None:
        """Scores candidates by another metric, with the predictions on disk."""
        for candidate in self.pool.finished(SEARCH, INITIALIZATIONS, CHECKPOINTS):
            score = self.score(self.pool.predictions(candidate), named(candidate.likelihoods))
            self.pool.change_score(candidate, score)

    def targets(
        self, labels: list[np.ndarray], weights: list[np.ndarray | None], names: Sequence[str] = ()
    ) -> list[Target]:
        """Returns the targets of each output, in the order of their labels."""
        facts, names = self.directory.facts(), names or self.label_names
        number = len(labels)
        of_outputs = facts.losses(names, number), weights, facts.names(names, number), facts.factors(names, number)
        return [Target(*parts) for parts in zip(labels, *of_outputs)]

    def _targets_on_disk(self, names: Sequence[str] = ()) -> list[Target]:
        return self.targets(self.pool.labels(), self.pool.weights(), names)


def mean_of(likelihood: Likelihood, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the combined prediction of equally weighted networks for one output."""
    if len(predictions) == 1:
        return predictions[0]
    return likelihood.from_moments(np.mean([likelihood.moments(each) for each in predictions], axis=0))


def as_problem(
    predictions: Sequence[Sequence[np.ndarray]],
    targets: Sequence[Target],
    likelihoods: Sequence[Likelihood],
    metric: Any,
) -> dict[str, Any]:
    """Returns arguments of `greedy_selection`.

    Args:
        predictions: For each candidate, an array `[N, ..., C]` per output.
        targets: One per output.
        likelihoods: Likelihood of each output.
        metric: Metric of `greedy_selection`; `"loss"` for the compiled loss; or `"auto"`, that of the likelihood. For
            several outputs also a dictionary of these, by name.

    Raises:
        ValueError: If there is not one target, or not one metric, per output.
    """
    number = len(likelihoods)
    if len(targets) != number:
        raise ValueError(f"There must be labels for each of {number} outputs. Received: labels for {len(targets)}")
    metrics = metric if isinstance(metric, dict) else {target.name: metric for target in targets}
    names = [target.name for target in targets]
    if set(names) != set(metrics):
        raise ValueError(f"`metric` must have one entry per output in {names}. Received: metric={metric!r}")
    outputs = [
        _output([candidate[number] for candidate in predictions], target, likelihood, metrics[target.name])
        for number, (target, likelihood) in enumerate(zip(targets, likelihoods))
    ]
    if len(outputs) == 1:
        return outputs[0]
    return {key: {str(number): output[key] for number, output in enumerate(outputs)} for key in outputs[0]}


def _output(predictions: list[np.ndarray], target: Target, likelihood: Likelihood, metric: Any) -> dict[str, Any]:
    if predictions[0].ndim == 1:
        predictions = [each[:, None] for each in predictions]
    shape = predictions[0].shape
    if len(target.labels) != shape[0]:
        raise ValueError(
            f"There must be one label for each of {shape[0]} samples. Received: labels of shape {target.labels.shape}"
        )
    loss_weight = target.loss_weight if isinstance(metric, str) and metric == "loss" else 1.0
    if isinstance(metric, str) and metric == "auto":
        metric = likelihood.default_metric(target.labels, shape, target.loss)
    if metric in likelihood.metrics_of_loss:
        return _of_loss(predictions, replace(target, loss_weight=loss_weight), likelihood)
    labels, weights = _without_ignored(target)
    by_class = isinstance(metric, str) and metric in SCORES and metric != "mse"
    predictions, labels = likelihood.scored(predictions, labels, by_class)
    return {"predictions": predictions, "labels": labels, "metric": metric, "sample_weight": weights}


def _of_loss(predictions: list[np.ndarray], target: Target, likelihood: Likelihood) -> dict[str, Any]:
    if target.loss is None:
        raise ValueError('`metric="loss"` requires a compiled loss for each output. Received: an output without one')
    score = CompiledLoss(
        target.loss, likelihood, target.labels, target.weights, predictions[0].shape, target.loss_weight
    )
    rows = np.arange(len(predictions[0]))
    columns = [score.columns_of(each) for each in predictions]
    return {"predictions": columns, "labels": rows, "metric": score, "sample_weight": None}


def _without_ignored(target: Target) -> tuple[np.ndarray, Any]:
    """Returns labels and weights; labels that the loss ignores have a weight of 0."""
    ignored = getattr(target.loss, "ignore_class", None)
    if ignored is None:
        return target.labels, target.weights
    labels = target.labels
    is_read = labels != ignored
    if target.weights is not None:
        missing = labels.ndim - target.weights.ndim
        is_read = is_read * target.weights.reshape(target.weights.shape + (1,) * missing)
    return np.where(labels == ignored, 0, labels), is_read.astype("float64")
