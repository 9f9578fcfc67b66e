"""Sections of a report."""

import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_hyperens import plots
from keras_hyperens.files import write_text
from keras_hyperens.likelihoods import Likelihood
from keras_hyperens.models import HyperBatchEnsemble
from keras_hyperens.models import HyperDeepEnsemble
from keras_hyperens.reporting import numbers
from keras_hyperens.reporting.decisions import decision_parts
from keras_hyperens.reporting.monitoring import monitoring_parts
from keras_hyperens.reporting.page import heading
from keras_hyperens.reporting.page import page
from keras_hyperens.reporting.page import pair
from keras_hyperens.reporting.page import paragraph
from keras_hyperens.reporting.page import picture
from keras_hyperens.reporting.page import table
from keras_hyperens.version import __version__

COVERAGE = 0.8
CLOSE = 0.005  # smaller differences between confidence and accuracy are reported as equal
MEASURES = ("predictive_entropy", "mutual_information")


@dataclass(frozen=True)
class Facts:
    """Data of all sections: samples, labels, and predictions of the ensemble."""

    ensemble: Any
    x: Any
    y: Any  # as the loss takes them
    labels: np.ndarray  # [N]
    members: np.ndarray  # [M, N, C]
    prediction: np.ndarray  # [N, C]
    measured: Mapping[str, np.ndarray]  # `MEASURES`, [N] each
    member_scores: Sequence[Mapping[str, float]]

    @property
    def by_nll(self) -> list[int]:
        """Indices of the members in ascending order of their NLL."""
        return sorted(range(len(self.members)), key=lambda k: self.member_scores[k]["nll"])

    @property
    def best(self) -> int:
        """The member with the lowest NLL."""
        return self.by_nll[0]

    @property
    def weights(self) -> np.ndarray:
        """Weights of the members, with a sum of 1."""
        weights = self.ensemble.member_weights
        return np.ones(len(self.members)) / len(self.members) if weights is None else np.divide(weights, sum(weights))


def report(
    ensemble: HyperBatchEnsemble | HyperDeepEnsemble,
    x: Any,
    y: Any,
    ood: Any = None,
    path: str | pathlib.Path = "report.html",
    title: str = "Ensemble report",
    batch_size: int = 500,
) -> pathlib.Path:
    """Writes a self-contained page on accuracy, calibration, uncertainty and members, compared with the best member.

    Args:
        ensemble: A trained classifier: a `HyperBatchEnsemble` or a `HyperDeepEnsemble`.
        x, y: Test samples and their classes, arrays.
        ood: Out-of-distribution samples: an array, or a dictionary of arrays by name.
        path: File to write.
        title: Title of the page.
        batch_size: Batch size of predictions.

    Returns:
        The path.

    Raises:
        TypeError: If `ensemble` is not an ensemble of this package.
        ValueError: If it is not a classifier with one output, or labels do not match.
    """
    if not isinstance(ensemble, HyperBatchEnsemble | HyperDeepEnsemble):
        raise TypeError(f"A report needs an ensemble of this package. Received: {type(ensemble).__name__}")
    of_outputs = keras.tree.flatten(ensemble.likelihoods)
    if keras.tree.is_nested(ensemble.likelihoods) or not of_outputs[0].has_class_probabilities:
        raise ValueError(
            "A report needs a classifier with one output, compiled with its loss. "
            f"Received: outputs that are {' and '.join(likelihood.description for likelihood in of_outputs)}"
        )
    foreign = _foreign(ood)
    facts = _facts(ensemble, x, np.asarray(y), batch_size)
    sections = [_summary, _calibration, _certainty, _members, _hyperparameters]
    parts = [part for section in sections for part in section(facts)]
    parts += decision_parts(ensemble, x, facts.labels, batch_size)
    if foreign:
        parts += _out_of_distribution(facts, foreign, batch_size)
    parts += monitoring_parts(ensemble, {"test data": x, **foreign}, batch_size)
    parts.append(paragraph(f"Written by keras_hyperens {__version__}.", "small"))
    path, text = pathlib.Path(path), page(title, parts)
    write_text(path, text)
    return path


def _foreign(ood: Any) -> Mapping[str, Any]:
    """Returns out-of-distribution datasets by name.

    Raises:
        ValueError: If a dataset is empty.
    """
    if ood is None:
        return {}
    foreign = ood if isinstance(ood, Mapping) else {"out of distribution": ood}
    for name, rows in foreign.items():
        if not len(keras.tree.flatten(rows)[0]):
            raise ValueError(f"`ood` must have samples: remove empty datasets. Received: no samples in {name!r}")
    return foreign


def _plain(name: str) -> str:
    """Escapes dollar signs in a name for matplotlib."""
    return name.replace("$", r"\$")


def _facts(ensemble: keras.Model, x: Any, y: Any, batch_size: int) -> Facts:
    members = _classes(ensemble.predict_members(x, batch_size=batch_size, verbose=0), ensemble)
    labels = numbers.checked_rows(members, y)
    said = ensemble.predict_uncertainty(x, MEASURES, batch_size=batch_size, verbose=0)
    scores = [numbers.scores(labels, each) for each in members]
    return Facts(ensemble, x, y, labels, members, _classes(said["prediction"], ensemble), _by_row(said), scores)


def _by_row(said: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {measure: said[measure].ravel() for measure in MEASURES}


def _classes(probabilities: np.ndarray, ensemble: keras.Model) -> np.ndarray:
    likelihood: Likelihood = ensemble.likelihoods
    return likelihood.class_probabilities(probabilities)


def _summary(facts: Facts) -> Iterator[str]:
    ensemble, single = numbers.scores(facts.labels, facts.prediction), facts.member_scores[facts.best]
    count = len(facts.labels)
    wrong = [round((1 - each["accuracy"]) * count) for each in (ensemble, single)]
    yield paragraph(
        f"On {count:,} test samples this ensemble of {len(facts.members)} members has an accuracy of "
        f"{ensemble['accuracy']:.1%} ({wrong[0]} errors); its best single member has {single['accuracy']:.1%} "
        f"({wrong[1]} errors).",
        "lead",
    )
    mean = {name: np.mean([each[name] for each in facts.member_scores]) for name in numbers.SCORES}
    rows = [
        [name, *(f"{each[score]:.4f}" for score in numbers.SCORES)]
        for name, each in (("ensemble", ensemble), ("best single member", single), ("mean of the members", mean))
    ]
    yield table(["", *numbers.SCORES.values()], rows)
    yield paragraph(
        "The negative log-likelihood (NLL) measures accuracy and calibration together; Brier is the squared error of "
        "the probabilities; ECE is the difference between confidence and accuracy; AURC is the error rate after the "
        "rejection of uncertain samples, averaged over the fraction that is kept. All are better when lower. The best "
        "single member is selected by its NLL on these samples, so the comparison favors it.",
        "small",
    )


def _calibration(facts: Facts) -> Iterator[str]:
    confidence = facts.prediction.max(-1).mean()
    accuracy = (facts.prediction.argmax(-1) == facts.labels).mean()
    yield heading("Calibration")
    direction = "underconfident" if confidence < accuracy else "overconfident"
    advice = "" if facts.ensemble.temperatures else " `ensemble.calibrate` on held-out data corrects this."
    yield paragraph(f"The mean confidence is {confidence:.1%} and the accuracy is {accuracy:.1%}: {direction}.{advice}")
    yield pair(
        *(
            picture(plots.reliability_diagram(facts.labels, probabilities), caption)
            for probabilities, caption in (
                (facts.prediction, "Ensemble: on the diagonal, confidence equals accuracy."),
                (facts.members[facts.best], f"Member {facts.best}, the best single member."),
            )
        )
    )


def _certainty(facts: Facts) -> Iterator[str]:
    yield heading("Selective prediction")
    surest = numbers.accuracy_of_the_surest(facts.labels, facts.prediction, COVERAGE)
    yield paragraph(f"The accuracy on the {COVERAGE:.0%} most confident samples is {surest:.2%}.")
    curves = {"ensemble": facts.prediction, "best single member": facts.members[facts.best]}
    yield picture(
        plots.risk_coverage_curve(facts.labels, curves),
        "Error rate of the most confident samples by coverage, the fraction of samples that is kept.",
    )
    if np.ndim(facts.x) == 4 and np.shape(facts.x)[-1] in (1, 3) and len(facts.labels) >= 12:
        yield picture(
            _images(facts), "Images with the lowest and the highest entropy: true class, predicted class, entropy."
        )


def _images(facts: Facts) -> Any:
    images = np.asarray(facts.x, "float32")
    images = (images - images.min()) / max(float(np.ptp(images)), 1e-12)
    said = facts.prediction.argmax(-1)
    titles = [
        f"{true}, predicted {one}\n{h:.2g} nats"
        for true, one, h in zip(facts.labels, said, facts.measured["predictive_entropy"])
    ]
    return plots.certain_images(images, facts.measured["predictive_entropy"], titles)


def _members(facts: Facts) -> Iterator[str]:
    yield heading("Members")
    values = facts.ensemble.hyperparameter_values()
    rows = []
    for k in facts.by_nll:
        of_member = [f"{facts.member_scores[k][name]:.4f}" for name in ("accuracy", "nll", "ece")]
        rows.append([f"member {k}", f"{facts.weights[k]:.3f}", *of_member, *(each[k] for each in values.values())])
    yield table(["", "weight", "accuracy", "NLL", "ECE", *values], rows)
    yield picture(
        plots.diversity_matrix(facts.members),
        "Fraction of samples for which two members predict different classes. Identical members add no information.",
    )


def _hyperparameters(facts: Facts) -> Iterator[str]:
    ensemble = facts.ensemble
    if not isinstance(ensemble, HyperBatchEnsemble) or not len(ensemble.space) or not ensemble.compiled:
        return
    yield heading("Hyperparameter response")
    curves = ensemble.response_curves(facts.x, facts.y, points=11, verbose=0)
    tuned = ensemble.hyperparameter_values()
    pictures = []
    for name, curve in curves.items():
        scale = ensemble.space[name].sampling
        figure = plots.response_curve(curve.values, curve.losses, _plain(name), scale, curve.members, tuned[name])
        pictures.append(picture(figure, f"Loss on these samples by {name}, from the one trained network."))
    yield pair(*pictures)


def _out_of_distribution(facts: Facts, ood: Mapping[str, Any], batch_size: int) -> list[str]:
    usual = facts.measured
    strange = {
        name: _by_row(facts.ensemble.predict_uncertainty(rows, MEASURES, batch_size=batch_size, verbose=0))
        for name, rows in ood.items()
    }
    rows = [
        [name, len(said[MEASURES[0]]), *(numbers.auroc(usual[each], said[each]) for each in MEASURES)]
        for name, said in strange.items()
    ]
    entropies = {_plain(name): said["predictive_entropy"] for name, said in strange.items()}
    return [
        heading("Out-of-distribution detection"),
        table(["", "samples", "AUROC of the entropy", "AUROC of the mutual information"], rows),
        paragraph("AUROC: probability that such a sample has a higher uncertainty than a test sample.", "small"),
        picture(
            plots.uncertainty_histograms(usual["predictive_entropy"], entropies),
            "Predictive entropy of test samples and out-of-distribution samples, in nats.",
        ),
    ]
