"""What a user types: names, and which arguments have to be named."""

import inspect

import pytest

import keras_hyperens as khe

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
