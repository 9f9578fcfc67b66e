"""What a user types: names, and which arguments have to be named."""

import inspect

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
