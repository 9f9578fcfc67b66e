import numpy as np
import pytest

from keras_hyperens import hyperparameter_scope
from keras_hyperens.hyperparameters import current_hyperparameters


def test_scopes_nest_and_end():
    outer, inner = np.zeros((2, 1, 1)), np.ones((2, 1, 1))
    assert current_hyperparameters() is None
    with hyperparameter_scope(outer):
        with hyperparameter_scope(inner):
            assert current_hyperparameters() is inner
        assert current_hyperparameters() is outer
    assert current_hyperparameters() is None


def test_a_scope_ends_on_errors():
    with pytest.raises(RuntimeError), hyperparameter_scope(np.zeros((2, 1, 1))):
        raise RuntimeError
    assert current_hyperparameters() is None


def test_a_wrong_rank_is_named():
    with pytest.raises(ValueError, match=r"shape=\(2, 1\)"), hyperparameter_scope(np.zeros((2, 1))):
        pass
