"""The models of the zoo as ensembles: a few in the unit tests, every step of all in the integration tests."""

import functools

import pytest

from tests.zoo import checking
from tests.zoo.models import ZOO

FEW = ("hand_made_attention", "basis_expansion")
OPTIONAL = [name for name in ZOO if name.startswith("keras_hub")]
pytestmark = pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer")  # by Keras, of blocks in the zoo


once = functools.cache(checking.converted)  # two tests have these


@pytest.mark.parametrize("name", FEW)
def test_members_first_predict_what_the_model_predicts(name):
    _, _, _, row = once(name)
    assert row.difference < 1e-5 and row.share > 0.9


@pytest.mark.integration
@pytest.mark.parametrize("name", ZOO)
def test_training_files_and_export(name, tmp_path):
    if name in OPTIONAL:
        pytest.importorskip("keras_hub")
    _, ensemble, x, row = (once if name in FEW else checking.converted)(name)
    checking.trained(ensemble, x, row, epochs=1)
    expected = checking.saved(ensemble, x, row, tmp_path)
    row.exported = checking.difference(expected, checking.served_here(x, tmp_path))
    assert row.is_good, row


@pytest.mark.integration
@pytest.mark.parametrize("name", [name for name in ZOO if name not in (*OPTIONAL, "application")])
def test_hyperparameters_of_a_hypermodel(name):
    ensemble, driven = checking.from_hypermodel(name)
    assert set(driven) == set(ensemble.space.names) and len(driven) > 0
