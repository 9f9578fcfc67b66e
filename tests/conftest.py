import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def cleared():
    """Once for each file: to clear Keras' session takes longer than most tests."""
    yield
    keras.backend.clear_session()


@pytest.fixture
def mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")
