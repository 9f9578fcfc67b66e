"""What a user types: names, and which arguments have to be named."""

import importlib
import inspect

import keras
import pytest

import keras_hyperens as khe
from keras_hyperens import layers
from keras_hyperens.layers.plain import is_penalty

FACTORIES = (
    khe.HyperBatchEnsemble,
    khe.HyperBatchEnsemble.from_model,
    khe.HyperBatchEnsemble.from_hypermodel,
    khe.HyperDeepEnsemble,
    khe.HyperDeepEnsembleBuilder,
    khe.HyperDeepEnsembleBuilder.from_tuner,
)


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__qualname__)
def test_all_but_the_first_argument_have_to_be_named(factory):
    kinds = [parameter.kind for parameter in inspect.signature(factory).parameters.values()]
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds[1:]) <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


BASES = (
    keras.Model, keras.layers.Layer, keras.losses.Loss, keras.metrics.Metric, keras.callbacks.Callback,
    keras.initializers.Initializer, object,
)  # fmt: skip
MODULES = (
    "calibration", "callbacks", "conversion", "decisions", "hyperparameters", "layers", "losses", "metrics", "models",
    "monitoring", "reporting", "search", "uncertainty",
)  # fmt: skip
OF_LAYERS = {  # what conversion, models and groups of candidates ask of a class over `HyperLayer`
    "adopt", "adopt_each", "from_plain", "has_kernels", "hyperparameters_used", "member_layer", "member_weights",
    "plain", "roles", "settings",
}  # fmt: skip
OF_KERNELS = OF_LAYERS | {  # and of one over `HyperBatchLayer`
    "apply", "draw", "embeddings", "fast_weights", "fold", "is_conditioned", "is_shared", "penalties",
}  # fmt: skip
OF_ENSEMBLES = {
    "calibrate", "combination", "hyperparameter_values", "member_weights", "predict_members", "predict_uncertainty",
    "abstain", "abstention", "conformal", "conformalize", "decide", "detect_drift", "reference", "set_reference",
    "temperatures", "likelihoods", "likelihoods_of", "to_functional",
}  # fmt: skip
PUBLIC = {
    "HyperBatchEnsemble": OF_ENSEMBLES | {
        "conversion_summary", "from_hypermodel", "from_model", "hyperparameter_bounds", "hyperparameter_distributions",
        "leave_out", "left_out",
        "member", "pruned", "response_curves", "temperature_values",
    },
    "HyperDeepEnsemble": OF_ENSEMBLES | {"devices", "on_devices", "reweight"},
    "HyperDeepEnsembleBuilder": {
        "build_deep_ensemble", "build_ensemble", "candidates", "cost_frontier", "from_tuner", "results_summary",
        "retrain", "scores_by_size", "search", "search_hyperparameters", "select_hyperparameters",
        "train_initializations", "weights_by_name",
    },
    "HyperparameterSpace": {
        "column", "from_config", "from_keras_tuner", "get_config", "mean_values", "names", "positions",
        "to_keras_tuner", "values",
    },
    "HyperLayer": OF_LAYERS,
    "HyperBatchLayer": OF_KERNELS,
    "HyperBatchTimeDistributed": set(),
    "ConformalIntervals": {"fit", "predict"},
    "ConformalSets": {"fit", "predict"},
    "Abstention": {"from_config", "of_output", "refused"},
    "ClassSets": {"fitted", "of", "penalty", "rank", "scores", "thresholds"},
    "Conformal": {"from_config"},
    "Intervals": {"fitted", "of"},
    "Drift": {"alarm", "p_value"},
    "Reference": {"compared", "from_config", "of"},
    "Sharing": {"converter"},
    "Candidate": {
        "best_epoch", "build_config", "failure", "fold_weights", "likelihoods", "outputs", "reason", "score", "seconds",
        "weights",
    },
    "Record": {"became", "driven_by", "reason", "trained", "weights"},
    "Selection": {"best_prefix", "convex", "excluded", "members", "weights"},
}  # fmt: skip


def public_classes():
    found = {name: getattr(khe, name) for name in khe.__all__}
    for module in MODULES:
        ours = importlib.import_module(f"keras_hyperens.{module}")
        found |= {name: getattr(ours, name) for name in ours.__all__}
    return [value for value in found.values() if inspect.isclass(value)]


def may_have(kind):
    """The public names that a class of ours adds to those of its base in Keras."""
    if kind.__name__ in PUBLIC or not issubclass(kind, layers.HyperLayer):
        return PUBLIC.get(kind.__name__, set())
    return (OF_KERNELS if issubclass(kind, layers.HyperBatchLayer) else OF_LAYERS) | {"plain_layer"}


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_what_is_not_for_users_begins_with_an_underscore(kind):
    base = next(each for each in BASES if issubclass(kind, each))
    public = {name for name in dir(kind) if not name.startswith("_")} - set(dir(base))
    assert public - may_have(kind) == set()
    assert kind.__name__ not in PUBLIC or public == PUBLIC[kind.__name__]


REQUIRED = {
    "units": 3, "filters": 3, "kernel_size": 3, "input_dim": 3, "output_dim": 3, "num_heads": 2, "key_dim": 3,
    "head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 1, "equation": "ab,bc->ac", "output_shape": 3,
    "rate": 0.1, "stddev": 0.1, "ensemble_size": 2,
}  # fmt: skip
VARIED = [each for each in vars(layers).values() if hasattr(each, "plain_layer")]


@pytest.mark.parametrize("layer", VARIED, ids=lambda layer: layer.__name__)
def test_signatures_name_every_argument_of_a_layer(layer):
    parameters = inspect.signature(layer).parameters
    plain = inspect.signature(layer.plain_layer.__init__).parameters
    expected = {name for name in plain if name not in ("self", "kwargs") and not is_penalty(name)}
    assert {*expected, *layer.settings, "ensemble_size", "space"} <= set(parameters)
    assert not any(map(is_penalty, parameters)) and ("sharing" in parameters) == layer.has_kernels
    required = [name for name, each in parameters.items() if each.default is each.empty and name != "kwargs"]
    given = {name: each.default for name, each in parameters.items() if name not in (*required, "kwargs")}
    layer(**given, **{name: REQUIRED[name] for name in required})  # takes what it says


def test_a_signature_is_of_the_class_alone():
    layer = khe.HyperBatchDense(3, ensemble_size=2)
    assert list(inspect.signature(khe.HyperBatchDense).parameters)[:3] == ["units", "activation", "use_bias"]
    assert "units" not in inspect.signature(layer).parameters
    with pytest.raises(ValueError, match="`kernel_l2=`.*kernel_regularizer='l2'"):
        khe.HyperBatchDense(3, "relu", True, "ones", "zeros", "l2", ensemble_size=2)
