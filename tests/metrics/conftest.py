import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    """Without clearing the session, which takes longer than most of these tests."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def cleared():
    yield
    keras.backend.clear_session()
