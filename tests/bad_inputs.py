"""Calls that must be refused, and with which words: a line for each argument, a call for each bad value of it.

A refusal is an error with a text: what was expected, and what was received. A raw traceback from the depth of a
library, a wrong number or a hang is none. `python -m tests.bad_inputs` prints what each call says.
"""

import re
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import keras_tuner
import numpy as np

import keras_hyperens as khe
from keras_hyperens import calibration
from keras_hyperens import layers
from keras_hyperens import losses
from keras_hyperens import metrics
from keras_hyperens import plots
from keras_hyperens import uncertainty
from tests.models.networks import dense_network

NAN, INFINITE = float("nan"), float("inf")
SPACE = khe.HyperparameterSpace(
    [khe.Hyperparameter("l2", 1e-6, 1e-2, "log"), khe.Hyperparameter("rate", 0.0, 0.5, "linear")]
)
MEMBERS = {"ensemble_size": 2, "space": SPACE}
P = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], "float32")  # three rows, three classes
Y = np.array([0, 1, 2])
NOT_COUNTS = (0, -1, 1.5, NAN, "two", None)
NOT_FRACTIONS = (-0.1, 1.5, NAN, "half")


@dataclass(frozen=True)
class Call:
    """One call, and a pattern that its refusal must match."""

    name: str
    call: Callable[[], Any]
    says: str

    def answer(self) -> str:
        """The error's type and text, or what else came back."""
        try:
            result = self.call()
        except Exception as error:  # noqa: BLE001  the kind of error is what is looked at
            return f"{type(error).__name__}: {error}"
        return f"accepted: {result!r:.80}"

    def is_refused(self, answer: str) -> bool:
        kind, _, text = answer.partition(": ")
        return kind in ("ValueError", "TypeError") and re.search(self.says, text) is not None


def refused(function: Callable[..., Any], says: str, argument: str, *values: Any, **others: Any) -> Iterator[Call]:
    """A call for each bad value of an argument, beside good ones of the others."""
    for value in values:
        name = f"{getattr(function, '__qualname__', function)}({argument}={value!r:.60})"
        yield Call(name, lambda value=value: function(**{**others, argument: value}), says)


def of_hyperparameters() -> Iterator[Call]:
    good = {"name": "l2", "min_value": 1e-6, "max_value": 1e-2, "sampling": "log"}
    yield from refused(khe.Hyperparameter, "name", "name", "", None, 3, b"l2", **good)
    yield from refused(
        khe.Hyperparameter, "bounds|min_value", "min_value", 1.0, 1e-2, NAN, INFINITE, "small", None, **good
    )
    yield from refused(khe.Hyperparameter, "positive|bounds|float32", "min_value", 0.0, -1.0, 1e-60, **good)
    yield from refused(
        khe.Hyperparameter, "bounds|float32", "max_value", 1e-7, NAN, INFINITE, "large", None, 1e60, **good
    )
    yield from refused(khe.Hyperparameter, "sampling", "sampling", "cubic", None, 3, **good)
    l2 = khe.Hyperparameter("l2", 1e-6, 1e-2, "log")
    yield from refused(khe.HyperparameterSpace, "Hyperparameter|distinct|once", "entries",
                       ["l2"], [l2, l2], [None], [{"name": "l2"}], 3)  # fmt: skip
    yield from refused(SPACE.column, "l2", "name", "l1", "", None)
    scope = lambda **given: khe.hyperparameter_scope(**given).__enter__()  # noqa: E731
    scope.__qualname__ = "hyperparameter_scope"
    yield from refused(scope, "values", "values", np.zeros(2), np.zeros((2, 2)), np.zeros((2, 1, 2, 1)), "l2")
    yield from refused(scope, "centers", "centers", np.zeros(2), np.zeros((2, 2)), values=np.zeros((2, 1, 2)))


KERNELS: dict[str, dict[str, Any]] = {
    "HyperBatchDense": {"units": 4},
    "HyperBatchConv1D": {"filters": 4, "kernel_size": 3},
    "HyperBatchConv2D": {"filters": 4, "kernel_size": 3},
    "HyperBatchConv3D": {"filters": 4, "kernel_size": 3},
    "HyperBatchConv1DTranspose": {"filters": 4, "kernel_size": 3},
    "HyperBatchConv2DTranspose": {"filters": 4, "kernel_size": 3},
    "HyperBatchDepthwiseConv2D": {"kernel_size": 3},
    "HyperBatchSeparableConv2D": {"filters": 4, "kernel_size": 3},
    "HyperBatchEinsumDense": {"equation": "ab,bc->ac", "output_shape": 4},
    "HyperBatchEmbedding": {"input_dim": 5, "output_dim": 4},
    "HyperBatchReversibleEmbedding": {"input_dim": 5, "output_dim": 4},
    "HyperBatchConvLSTM2D": {"filters": 4, "kernel_size": 3},
    "HyperBatchLSTM": {"units": 4},
    "HyperBatchGRU": {"units": 4},
    "HyperBatchMultiHeadAttention": {"num_heads": 2, "key_dim": 4},
}
DROPOUTS = ("HyperDropout", "HyperSpatialDropout1D", "HyperSpatialDropout2D", "HyperGaussianDropout")


def of_layers() -> Iterator[Call]:
    for name, arguments in KERNELS.items():
        layer, good = getattr(layers, name), {**arguments, **MEMBERS}
        yield from refused(layer, "ensemble_size", "ensemble_size", *NOT_COUNTS, **good)
        yield from refused(layer, "sharing", "sharing", "all", None, 3, **good)
        yield from refused(layer, "same_initialization", "same_initialization", True, None, 3, **good)
        yield from refused(layer, "space", "space", "l2", ["l2"], 3, **good)
        for argument in arguments.keys() & {"units", "filters", "input_dim"}:
            yield from refused(layer, argument, argument, 0, -1, "four", **good)
    for name in ("HyperBatchDense", "HyperBatchConv2D"):
        layer, good = getattr(layers, name), {**KERNELS[name], **MEMBERS}
        yield from refused(layer, "kernel_l2", "kernel_l2", "unknown", -1.0, NAN, ("l2", -1.0), **good)
        yield from refused(layer, "kernel_l1", "kernel_l1", "unknown", -1.0, **good)
        yield from refused(layer, "activation", "activation", "unknown", **good)
    for name in DROPOUTS:
        yield from refused(getattr(layers, name), "rate", "rate", "unknown", -0.1, 1.0, NAN, None, **MEMBERS)
    yield from refused(layers.HyperGaussianNoise, "stddev", "stddev", "unknown", -0.1, NAN, None, **MEMBERS)
    yield from refused(layers.RandomSign, "probability", "probability", *NOT_FRACTIONS)


def of_losses() -> Iterator[Call]:
    crossentropy = keras.losses.CategoricalCrossentropy(from_logits=True)
    yield from refused(
        losses.LabelSmoothing, "label_smoothing", "label_smoothing", "", 3, None, ("s", -1.0), loss=crossentropy
    )
    yield from refused(losses.LabelSmoothing, "loss", "loss", "mse", None, 3, label_smoothing="s")
    yield from refused(losses.WeightedLoss, "weight", "weight", "", None, ("w", -1.0), loss=crossentropy)
    yield from refused(losses.WeightedLoss, "loss", "loss", None, 3, weight="w")
    gaussian = lambda **given: losses.GaussianNegativeLogLikelihood()(**given)  # noqa: E731
    gaussian.__qualname__ = "GaussianNegativeLogLikelihood()"
    yield from refused(gaussian, "shape", "y_pred", np.zeros((4, 3)), np.zeros((4, 1)), y_true=np.zeros((4, 1)))


PROBABILITIES = ("AdaptiveCalibrationError", "AreaUnderRiskCoverage", "BrierScore", "ExpectedCalibrationError",
                 "NegativeLogLikelihood", "SelectiveAccuracy")  # fmt: skip


def of_metrics() -> Iterator[Call]:
    for name in ("ExpectedCalibrationError", "AdaptiveCalibrationError"):
        yield from refused(getattr(metrics, name), "num_bins", "num_bins", *NOT_COUNTS)
    for name in ("IntervalCoverage", "SelectiveAccuracy"):
        yield from refused(getattr(metrics, name), "coverage", "coverage", *NOT_FRACTIONS)
    for name in ("OutOfDistributionAUROC", "OutOfDistributionAUPR", "OutOfDistributionFPR95"):
        yield from refused(getattr(metrics, name), "measure", "measure", "unknown", 3)
    for name in PROBABILITIES:
        update = lambda name=name, **given: getattr(metrics, name)().update_state(**given)  # noqa: E731
        update.__qualname__ = f"{name}().update_state"
        yield from refused(update, "robabilities|sum|logits|finite", "y_pred", P * 8 - 3, P * NAN, P / 2, y_true=Y)
        yield from refused(update, "label|class|shape", "y_true", [0, 1], [0, 1, 7], [-1, 0, 1], y_pred=P)


def of_calibration() -> Iterator[Call]:
    for kind in (calibration.ConformalSets, calibration.ConformalIntervals):
        yield from refused(kind, "coverage", "coverage", 0.0, 1.0, -1, 2, NAN, "most", None)
    fit, good = calibration.fit_temperature, {"probabilities": P, "labels": Y}
    bad = (P * NAN, P * 2, -P, P[:0], P[0], "p")
    yield from refused(fit, "robabilities", "probabilities", *bad, **good)
    yield from refused(fit, "labels", "labels", [0, 1], [0, 1, 7], [-1, 0, 1], P * 2, [0.5, 1, 2], **good)
    yield from refused(fit, "prior_rows", "prior_rows", -1, NAN, None, "few", **good)
    variances = {"means": np.zeros(4), "variances": np.ones(4), "targets": np.zeros(4)}
    for argument in variances:
        yield from refused(
            calibration.fit_variance_scale, "shape|empty", argument, np.zeros(3), np.zeros((4, 2)), **variances
        )
    yield from refused(
        calibration.fit_variance_scale, "positive|finite", "variances", -np.ones(4), np.zeros(4), **variances
    )
    sets = lambda **given: calibration.ConformalSets().fit(**given)  # noqa: E731
    sets.__qualname__ = "ConformalSets().fit"
    yield from refused(sets, "robabilities|numbers", "probabilities", *bad, labels=Y)
    unfitted = calibration.ConformalSets().predict
    yield from refused(unfitted, "fit", "probabilities", P)


def of_decisions(ensemble: khe.HyperBatchEnsemble) -> Iterator[Call]:
    """Of an ensemble of four inputs and three values."""
    good = {"x": np.zeros((8, 4), "float32"), "y": np.zeros((8, 3)), "verbose": 0}
    conformalize = ensemble.conformalize
    yield from refused(conformalize, "coverage", "coverage", 0.0, 1.0, -1, 2, NAN, "most", None, **good)
    yield from refused(
        conformalize,
        "method",
        "method",
        "lac",
        "aps",
        "quantile",
        3,
        [],
        ["interval", 3],
        ["interval"] * 2,
        {"a": "interval"},
        **good,
    )
    yield from refused(conformalize, "per_class", "per_class", True, "yes", 1, None, **good)
    yield from refused(conformalize, "sample_weight", "sample_weight", -np.ones(8), np.zeros(8), np.ones(7), **good)
    yield from refused(
        conformalize, "abels|finite|numbers", "y", np.zeros((8, 2)), np.full((8, 3), NAN), ["a"] * 8, **good
    )
    yield from refused(ensemble.abstain, "answered", "answered", 0, -0.1, 1.5, NAN, "most", None, x=good["x"])
    yield from refused(ensemble.abstain, "threshold", "threshold", NAN, INFINITE, "low", None, [0.5, "low"], {}, [])
    measures = ({}, [], "unknown", "max_probability", "prediction_interval", 3, uncertainty.variance)
    yield from refused(ensemble.abstain, "measure", "measure", *measures, threshold=0.5)
    weights = (-np.ones(8), np.zeros(8), np.ones(7))
    yield from refused(
        ensemble.abstain, "sample_weight", "sample_weight", *weights, x=good["x"], answered=0.5, verbose=0
    )
    yield from refused(ensemble.decide, "conformalize", "x", good["x"])
    yield from refused(ensemble.detect_drift, "set_reference", "x", good["x"])
    yield from refused(
        ensemble.set_reference, "20 samples", "x", good["x"], np.full((30, 4), NAN, "float32"), verbose=0
    )
    yield from refused(ensemble.predict_uncertainty, "measures", "measures", "variance", x=good["x"], verbose=0)
    reference = khe.monitoring.Reference.of({"variance": np.arange(30)})
    both = khe.monitoring.Reference.of({"a": np.arange(30), "b": np.arange(30)})
    unequal = {"a": np.arange(30), "b": np.arange(40)}
    yield from refused(khe.monitoring.Reference.of, "easures", "measured", {}, [1, 2], None, unequal)
    yield from refused(both.compared, "easures", "measured", [1, 2], None, unequal)
    values = (np.arange(19), np.zeros((30, 2)), np.full(30, NAN), np.array(["a"] * 30), None)
    for value in values:
        yield from refused(khe.monitoring.Reference.of, "20 samples", "measured", {"variance": value})
        yield from refused(reference.compared, "20 samples", "measured", {"variance": value})
    yield from refused(reference.compared, "measures", "measured", {}, {"entropy": np.arange(30)})
    rates = (0, 1, -0.1, NAN, "few", None)
    yield from refused(reference.compared, "false_alarm_rate", "false_alarm_rate", *rates, measured={})
    yield from refused(losses.Quantile, "levels", "levels", (), (0, 0.5), (0.5, 0.1), 0.5, "low", None, (NAN,))


def of_selection() -> Iterator[Call]:
    good = {"predictions": np.stack([P, P[::-1]]), "labels": Y, "ensemble_size": 2}
    select = khe.greedy_selection
    yield from refused(select, "ensemble_size", "ensemble_size", *NOT_COUNTS, **good)
    yield from refused(select, "metric", "metric", "unknown", None, 3, **good)
    yield from refused(select, "labels", "labels", Y.astype(str), Y + 0.5, Y.astype(str).astype(object), **good)
    yield from refused(select, "stop", "stop", "never", None, **good)
    yield from refused(select, "tolerance", "tolerance", NAN, "small", **good)
    yield from refused(select, "subsample", "subsample", 0, -1, 0.0, 1.5, NAN, **good)
    yield from refused(select, "bagging", "bagging", 0, -1, 1.5, **good)
    yield from refused(select, "weights", "weights", "equal", None, [1, 2], **good)
    yield from refused(select, "prior_rows", "prior_rows", -1, NAN, None, "few", **good)
    yield from refused(select, "max_members", "max_members", 0, 1.5, "few", stop="total", **good)
    yield from refused(select, "costs", "costs", [1], [-1, 1], [NAN, 1], **good)
    yield from refused(select, "cost_weight", "cost_weight", -1, NAN, None, costs=[1, 1], **good)
    yield from refused(select, "max_cost", "max_cost", -1, NAN, "low", 0.5, costs=[1, 1], **good)
    yield from refused(select, "labels|row", "labels", [0, 1], [0, 1, 7], [-1, 0, 1], [], **good)
    yield from refused(select, "redictions|robabilities|candidate", "predictions",
                       P, P[None] * NAN, P[None] * 9, P[None][:0], "p", **good)  # fmt: skip


def of_uncertainty() -> Iterator[Call]:
    members = np.stack([P, P[::-1]])
    for name in ("combine", "disagreement", "expected_entropy", "mutual_information", "predictive_entropy", "variance"):
        function = getattr(uncertainty, name)
        yield from refused(
            function, "weights", "weights", [1.0], [1.0, 1.0, 1.0], [-1.0, 2.0], [0.0, 0.0], [NAN, 1.0], members=members
        )
    yield from refused(
        uncertainty.prediction_interval, "coverage", "coverage", 0.0, 1.0, -1.0, NAN, members=np.ones((2, 4, 2))
    )
    yield from refused(uncertainty.trimmed_mean, "n_outliers", "n_outliers", -1, 2, 1.5, members=members)
    yield from refused(uncertainty.energy, "temperature", "temperature", 0.0, -1.0, NAN, logits=members)


def of_plots() -> Iterator[Call]:
    yield from refused(plots.reliability_diagram, "robabilities|shape", "probabilities", P[0], P * NAN, P * 9, labels=Y)
    yield from refused(plots.reliability_diagram, "labels|shape|class", "labels", [0, 1], [0, 1, 7], probabilities=P)
    yield from refused(plots.risk_coverage_curve, "labels|shape|class", "labels", [0, 1], [0, 1, 7], probabilities=P)
    yield from refused(plots.scores_by_size, "scores", "scores", {}, {"a": []})
    yield from refused(plots.hyperparameter_path, "bounds", "bounds", np.zeros(3), [], np.zeros((3, 2)))
    yield from refused(plots.hyperparameter_path, "sampling", "sampling", "cubic", bounds=np.ones((3, 2, 2)))
    yield from refused(plots.image_grid, "columns", "columns", 0, -1, images=np.zeros((2, 4, 4, 1)), titles=["a", "b"])


def of_callbacks() -> Iterator[Call]:
    yield from refused(khe.HyperparameterHistory, "in_logs", "in_logs", "yes", 1, None)
    yield from refused(plots.TuningPath, "directory", "directory", None, 3, ["a"])
    for callback in (khe.HyperparameterHistory, plots.TuningPath):
        yield from refused(callback, "log_dir", "log_dir", 3, ["a"])


def of_hyper_batch_ensembles() -> Iterator[Call]:
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    make = khe.HyperBatchEnsemble
    yield from refused(make, "network|layer|members", "network", plain, None, "network", 3)
    good = {
        "network": dense_network(),
        "space": dense_network().layers[0].space,
        "ensemble_size": 3,
    }
    counts = [each for each in NOT_COUNTS if each is not None] + [7]
    yield from refused(make, "ensemble_size|members", "ensemble_size", *counts, **good)
    yield from refused(make, "space", "space", SPACE, "l2", ["l2"], **good)
    yield from refused(
        make, "combination", "combination", "mode", ("trimmed_mean",), ("trimmed_mean", -1), 3, None, **good
    )
    yield from refused(make, "output_activation", "output_activation", "relu", 3, ["softmax", "softmax"], **good)
    yield from refused(make, "initial_width", "initial_width", 0.0, -1.0, 1.5, NAN, "wide", **good)
    yield from refused(
        make,
        "initial_values|initial value|Unknown hyperparameter",
        "initial_values",
        {"l2": 9.0},
        {"unknown": 1.0},
        {"l2": NAN},
        3,
        **good,
    )
    yield from refused(make, "response", "response", "none", None, 3, **good)
    ensemble = make(**good)
    settings = {
        "tuning_every": NOT_COUNTS, "tuning_warmup": (-1, 1.5, NAN, "late", None),
        "entropy_weight": (-1.0, NAN, INFINITE, "much"),
        "prior_weight": (-1.0, NAN, None), "fast_weight_learning_rate": (-1.0, NAN, "fast"),
        "member_loss": ("mean", None, 3), "tuning_loss": ("mean", None, 3), "sampling": ("batch", None, 3),
        "member_rows": ("other", -1, 0, 1.5), "tune_temperature": ("yes", None, 3),
        "tuning_optimizer": ("unknown", 3), "optimizer": ("unknown", 3, None),
        "member_metrics": ("accuracy", ["accuracy"], 3),
    }  # fmt: skip
    for argument, values in settings.items():
        yield from refused(
            ensemble.compile, argument, argument, *values, **{"loss": "mse", "optimizer": "sgd", argument: None}
        )
    fit = {"x": np.zeros((8, 4), "float32"), "y": np.zeros((8, 3)), "verbose": 0}
    ensemble.compile("sgd", "mse", run_eagerly=True)
    yield from refused(
        ensemble.fit, "class_weight", "class_weight", "balanced", [1.0], {0: NAN}, {0: -1.0}, {"a": 1.0}, **fit
    )
    yield from of_decisions(ensemble)
    counts = [*NOT_COUNTS, 3, 7]
    yield from refused(ensemble.pruned, "ensemble_size", "ensemble_size", *counts, x=fit["x"], y=fit["y"])
    weights = (-np.ones(8), np.zeros(8), np.ones(7))
    good = {"x": fit["x"], "y": fit["y"], "ensemble_size": 2, "verbose": 0}
    yield from refused(ensemble.pruned, "sample_weight", "sample_weight", *weights, **good)
    yield from refused(ensemble.pruned, "label for each sample", "y", fit["y"][:7], np.zeros((9, 3)), **good)
    yield from refused(make.from_model, "model", "model", None, "model", keras.Model, roles={}, ensemble_size=2)
    roles = ({"unknown": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}, {"l2": 1e-3}, {"l2": "l2"}, 3)
    yield from refused(make.from_model, "role", "roles", *roles, model=plain, ensemble_size=2)
    yield from refused(make.from_hypermodel, "hypermodel", "hypermodel", None, plain, "build", ensemble_size=2)


def _build_model(hp: keras_tuner.HyperParameters) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1, "log")), "mse")
    return model


def of_builders() -> Iterator[Call]:
    make, good = khe.HyperDeepEnsembleBuilder, {"hypermodel": _build_model}
    yield from refused(make, "hypermodel", "hypermodel", None, "build", 3)
    counts = {"ensemble_size": (), "candidates_at_once": (), "max_trials": (None,), "search_pool_size": (None,)}
    for argument, legal in {**counts, "num_hyperparameter_sets": (None,), "initializations": (0, None)}.items():
        values = [value for value in NOT_COUNTS if value not in legal]
        yield from refused(make, argument, argument, *values, **good)
    yield from refused(make, "training_subset", "training_subset", 0.0, -0.5, 1.5, NAN, "half", **good)
    yield from refused(make, "tuner", "tuner", "unknown", None, 3, **good)
    yield from refused(make, "metric", "metric", "unknown", 3, **good)
    yield from refused(make, "keep", "keep", "none", "best:10", 0, -1, 1.5, True, None, **good)
    yield from refused(make, "prediction_dtype", "prediction_dtype", "float8", "int32", None, **good)
    yield from refused(make, "directory", "directory", None, 3, **good)
    yield from refused(make, "project_name", "project_name", "", "..", "../other", "/tmp", None, 3, **good)
    yield from refused(make, "objective", "objective", 3, "", **good)
    yield from refused(make, "seed", "seed", "zero", 1.5, **good)
    deep = khe.HyperDeepEnsemble
    models = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]) for _ in range(2)]
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    wider = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    yield from refused(
        deep, "member|models|shape", "members", [], [None], models[0], "members", [*models, other], [*models, wider]
    )
    yield from refused(
        deep, "member_weights", "member_weights", [1.0], [-1.0, 2.0], [0.0, 0.0], [NAN, 1.0], members=models
    )
    yield from refused(deep, "combination", "combination", "mode", ("trimmed_mean", -1), 3, None, members=models)
    yield from refused(deep, "output_activation", "output_activation", "relu", 3, members=models)


def calls() -> list[Call]:
    parts = [of_hyperparameters, of_layers, of_losses, of_metrics, of_calibration, of_selection, of_uncertainty]
    parts += [of_plots, of_callbacks, of_hyper_batch_ensembles, of_builders]
    return [call for part in parts for call in part()]


if __name__ == "__main__":
    for each in calls():
        answer = each.answer()
        print("refused " if each.is_refused(answer) else "NOT", each.name, "->", answer.replace("\n", " ")[:160])
