"""How candidates are scored and chosen: what the greedy selection is given for their outputs."""

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
    """What an output should be.

    Attributes:
        labels: As the loss takes them.
        loss: With which the hypermodel compiles this output, or `None`.
        weights: Of samples, or `None`.
        name: Of the output, if there are several.
        loss_weight: Of its loss in the compiled one.
    """

    labels: np.ndarray
    loss: Any = None
    weights: np.ndarray | None = None
    name: str = ""
    loss_weight: float = 1.0


class Scorer:
    """Scores candidates of a search by the metric of its builder.

    Args:
        directory: Of the search.

    Attributes:
        label_names: Of the outputs, in the order of labels that have names.
    """

    def __init__(self, directory: SearchDirectory) -> None:
        self.directory, self.pool, self.metric = directory, directory.pool, directory.settings.metric
        self.label_names: tuple[str, ...] = ()

    def score(
        self, predictions: list[np.ndarray], likelihoods: Sequence[Likelihood], targets: list[Target] | None = None
    ) -> float:
        """The score of a prediction of each output; lower is better, NaN if one is not finite."""
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
        """So many of these candidates, by a metric; on the rows of the search, or on others.

        Args:
            candidates: With weights, if there are other rows.
            size, metric, **selection: As in `greedy_selection`.
            rows: The others.
        """
        problem = self.problem(candidates, metric, rows)
        return greedy_selection(**problem, ensemble_size=size, **selection)

    def best_ensemble(
        self, predictions: Sequence[Sequence[np.ndarray]], likelihoods: Sequence[Likelihood], outputs: Sequence[str]
    ) -> Selection:
        """The best members of these predictions of outputs of these names, so many as the builder wants."""
        problem = as_problem(predictions, self._targets_on_disk(outputs), likelihoods, self.metric)
        size = min(len(predictions), self.directory.settings.ensemble_size)
        return greedy_selection(**problem, ensemble_size=size, tolerance=-math.inf)

    def problem(self, candidates: list[Candidate], metric: Any, rows: ValidationRows | None = None) -> dict[str, Any]:
        """Arguments of `greedy_selection`, as in `select`."""
        return as_problem(*(self._on_disk(candidates) if rows is None else self._on_rows(candidates, rows)), metric)

    def _on_disk(
        self, candidates: list[Candidate]
    ) -> tuple[list[list[np.ndarray]], list[Target], Sequence[Likelihood]]:
        predictions = [self.pool.predictions(each) for each in candidates]
        targets = self._targets_on_disk(candidates[0].outputs)
        rows = len(targets[0].labels)
        if any(len(of_candidate[0]) == rows for of_candidate in predictions):  # else the labels are wrong
            for each, of_candidate in zip(candidates, predictions):
                self.pool.check_predictions(each, of_candidate, rows)
        return predictions, targets, named(candidates[0].likelihoods)

    def _on_rows(
        self, candidates: list[Candidate], rows: ValidationRows
    ) -> tuple[list[list[np.ndarray]], list[Target], Sequence[Likelihood]]:
        """What models of all candidates predict now; those are read one after the other, and not kept."""
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
        """By another metric than that of the search so far: predictions are on disk."""
        for candidate in self.pool.finished(SEARCH, INITIALIZATIONS, CHECKPOINTS):
            score = self.score(self.pool.predictions(candidate), named(candidate.likelihoods))
            self.pool.change_score(candidate, score)

    def targets(
        self, labels: list[np.ndarray], weights: list[np.ndarray | None], names: Sequence[str] = ()
    ) -> list[Target]:
        """What each output should be, in the order of their labels."""
        facts, names = self.directory.facts(), names or self.label_names
        number = len(labels)
        of_outputs = facts.losses(names, number), weights, facts.names(names, number), facts.factors(names, number)
        return [Target(*parts) for parts in zip(labels, *of_outputs)]

    def _targets_on_disk(self, names: Sequence[str] = ()) -> list[Target]:
        return self.targets(self.pool.labels(), self.pool.weights(), names)


def mean_of(likelihood: Likelihood, predictions: Sequence[np.ndarray]) -> np.ndarray:
    """The prediction of one output by networks of equal weight."""
    if len(predictions) == 1:
        return predictions[0]
    return likelihood.from_moments(np.mean([likelihood.moments(each) for each in predictions], axis=0))


def as_problem(
    predictions: Sequence[Sequence[np.ndarray]],
    targets: Sequence[Target],
    likelihoods: Sequence[Likelihood],
    metric: Any,
) -> dict[str, Any]:
    """Arguments of `greedy_selection`.

    Args:
        predictions: Of each candidate, an array `[N, ..., C]` for each output.
        targets: One for each output.
        likelihoods: Of each output.
        metric: Of `greedy_selection`; `"loss"`: the compiled one; or `"auto"`, that of the likelihood. For several
            outputs also a dictionary of these, by name.

    Raises:
        ValueError: If there is not one target, or not one metric, for each output.
    """
    number = len(likelihoods)
    if len(targets) != number:
        raise ValueError(f"There must be labels for each of {number} outputs. Received: labels for {len(targets)}")
    metrics = metric if isinstance(metric, dict) else {target.name: metric for target in targets}
    names = [target.name for target in targets]
    if set(names) != set(metrics):
        raise ValueError(f"`metric` must have one for each of the outputs {names}. Received: metric={metric!r}")
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
            f"There must be a label for each of {shape[0]} rows. Received: labels of shape {target.labels.shape}"
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
        raise ValueError('`metric="loss"` needs a compiled loss for each output. Received: an output without one')
    score = CompiledLoss(
        target.loss, likelihood, target.labels, target.weights, predictions[0].shape, target.loss_weight
    )
    rows = np.arange(len(predictions[0]))
    columns = [score.columns_of(each) for each in predictions]
    return {"predictions": columns, "labels": rows, "metric": score, "sample_weight": None}


def _without_ignored(target: Target) -> tuple[np.ndarray, Any]:
    """Labels and weights; labels that the loss ignores have no weight."""
    ignored = getattr(target.loss, "ignore_class", None)
    if ignored is None:
        return target.labels, target.weights
    labels = target.labels
    is_read = labels != ignored
    if target.weights is not None:
        missing = labels.ndim - target.weights.ndim
        is_read = is_read * target.weights.reshape(target.weights.shape + (1,) * missing)
    return np.where(labels == ignored, 0, labels), is_read.astype("float64")
