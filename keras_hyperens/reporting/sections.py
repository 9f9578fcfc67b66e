"""What is in a report, section by section."""

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
CLOSE = 0.005  # confidence and accuracy nearer than this are said to be equal
MEASURES = ("predictive_entropy", "mutual_information")


@dataclass(frozen=True)
class Facts:
    """What all sections are about: rows, labels, and what the ensemble says of them."""

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
        """Numbers of the members, the one with the lowest NLL first."""
        return sorted(range(len(self.members)), key=lambda k: self.member_scores[k]["nll"])

    @property
    def best(self) -> int:
        """The member with the lowest NLL."""
        return self.by_nll[0]

    @property
    def weights(self) -> np.ndarray:
        """Of the members, with sum 1."""
        weights = self.ensemble.member_weights
        return np.ones(len(self.members)) / len(self.members) if weights is None else np.divide(weights, sum(weights))


def report(
    ensemble: HyperBatchEnsemble | HyperDeepEnsemble,
    x: Any,
    y: Any,
    ood: Any = None,
    path: str | pathlib.Path = "report.html",
    title: str = "What the ensemble knows",
    batch_size: int = 500,
) -> pathlib.Path:
    """Writes one self-contained page: how accurate, how calibrated, how sure; which members; against the best member.

    Args:
        ensemble: A trained classifier: a `HyperBatchEnsemble` or a `HyperDeepEnsemble`.
        x, y: Test rows and their classes, arrays.
        ood: Rows that are out of distribution, an array, or several by name.
        path: The file to write.
        title: Of the page.
        batch_size: Rows at a time.

    Returns:
        The path.

    Raises:
        TypeError: If the ensemble is none.
        ValueError: If it is no classifier with one output, or labels do not fit.
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
    """Sets of rows that are out of distribution, by name.

    Raises:
        ValueError: If one has no rows.
    """
    if ood is None:
        return {}
    foreign = ood if isinstance(ood, Mapping) else {"out of distribution": ood}
    for name, rows in foreign.items():
        if not len(keras.tree.flatten(rows)[0]):
            raise ValueError(f"`ood` must have rows: leave a set without any out. Received: no rows in {name!r}")
    return foreign


def _plain(name: str) -> str:
    """A name for a picture, where dollars would be taken for formulas."""
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
        f"Of {count:,} test rows this ensemble of {len(facts.members)} members gets {ensemble['accuracy']:.1%} right "
        f"({wrong[0]} wrong); its best single member gets {single['accuracy']:.1%} ({wrong[1]} wrong).",
        "lead",
    )
    mean = {name: np.mean([each[name] for each in facts.member_scores]) for name in numbers.SCORES}
    rows = [
        [name, *(f"{each[score]:.4f}" for score in numbers.SCORES)]
        for name, each in (("ensemble", ensemble), ("best single member", single), ("members on average", mean))
    ]
    yield table(["", *numbers.SCORES.values()], rows)
    yield paragraph(
        "NLL, the negative log-likelihood, judges accuracy and honesty together; Brier is the squared error of the "
        "probabilities; ECE is how far confidence is from accuracy; AURC is the error rate when the least sure rows "
        "are left out, averaged over how many are. All are better when lower. The best single member is the one with "
        "the lowest NLL on these very rows, so the comparison flatters it.",
        "small",
    )


def _calibration(facts: Facts) -> Iterator[str]:
    confidence = facts.prediction.max(-1).mean()
    accuracy = (facts.prediction.argmax(-1) == facts.labels).mean()
    yield heading("Is it as right as it says?")
    direction = "less sure than it is right" if confidence < accuracy else "surer than it is right"
    advice = "" if facts.ensemble.temperatures else " `ensemble.calibrate` on held-out rows mends that."
    yield paragraph(
        f"On average it says {confidence:.1%} and is right {accuracy:.1%} of the time: {direction}.{advice}"
    )
    yield pair(
        *(
            picture(plots.reliability_diagram(facts.labels, probabilities), caption)
            for probabilities, caption in (
                (facts.prediction, "The ensemble: on the diagonal, confidence is accuracy."),
                (facts.members[facts.best], f"Member {facts.best}, the best by itself."),
            )
        )
    )


def _certainty(facts: Facts) -> Iterator[str]:
    yield heading("Does it know when it is wrong?")
    surest = numbers.accuracy_of_the_surest(facts.labels, facts.prediction, COVERAGE)
    yield paragraph(f"On the {COVERAGE:.0%} of rows that it is surest of, it is right {surest:.2%} of the time.")
    curves = {"ensemble": facts.prediction, "best single member": facts.members[facts.best]}
    yield picture(
        plots.risk_coverage_curve(facts.labels, curves),
        "Error rate among the surest rows, against how many rows are answered at all.",
    )
    if np.ndim(facts.x) == 4 and np.shape(facts.x)[-1] in (1, 3) and len(facts.labels) >= 12:
        yield picture(
            _images(facts), "The images that it is surest and least sure of: true class, class said, entropy."
        )


def _images(facts: Facts) -> Any:
    images = np.asarray(facts.x, "float32")
    images = (images - images.min()) / max(float(np.ptp(images)), 1e-12)
    said = facts.prediction.argmax(-1)
    titles = [
        f"{true}, said {one}\n{h:.2g} nats"
        for true, one, h in zip(facts.labels, said, facts.measured["predictive_entropy"])
    ]
    return plots.certain_images(images, facts.measured["predictive_entropy"], titles)


def _members(facts: Facts) -> Iterator[str]:
    yield heading("Its members")
    values = facts.ensemble.hyperparameter_values()
    rows = []
    for k in facts.by_nll:
        of_member = [f"{facts.member_scores[k][name]:.4f}" for name in ("accuracy", "nll", "ece")]
        rows.append([f"member {k}", f"{facts.weights[k]:.3f}", *of_member, *(each[k] for each in values.values())])
    yield table(["", "weight", "accuracy", "NLL", "ECE", *values], rows)
    yield picture(
        plots.diversity_matrix(facts.members),
        "How often two members say different classes. Members that never differ add nothing to each other.",
    )


def _hyperparameters(facts: Facts) -> Iterator[str]:
    ensemble = facts.ensemble
    if not isinstance(ensemble, HyperBatchEnsemble) or not len(ensemble.space) or not ensemble.compiled:
        return
    yield heading("What its hyperparameters are worth")
    curves = ensemble.response_curves(facts.x, facts.y, points=11, verbose=0)
    tuned = ensemble.hyperparameter_values()
    pictures = []
    for name, curve in curves.items():
        scale = ensemble.space[name].sampling
        figure = plots.response_curve(curve.values, curve.losses, _plain(name), scale, curve.members, tuned[name])
        pictures.append(picture(figure, f"The loss on these rows for any {name}, from the one trained network."))
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
        heading("Does it notice what it was not trained for?"),
        table(["", "rows", "AUROC of the entropy", "AUROC of the mutual information"], rows),
        paragraph("AUROC: how often such a row is less sure than a test row; 0.5 is chance, 1 is always.", "small"),
        picture(
            plots.uncertainty_histograms(usual["predictive_entropy"], entropies),
            "Predictive entropy of test rows and of the others, in nats.",
        ),
    ]
