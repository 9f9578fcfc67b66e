import gc

import benchmarks  # noqa: F401  TensorFlow starts without a word

# isort: split
import keras
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that use what their file trains once run in one worker, where it is trained once."""
    for item in items:
        scopes = {name: found[-1].scope for name, found in item._fixtureinfo.name2fixturedefs.items()}
        if any(scope == "module" and name != "cleared" for name, scope in scopes.items()):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def pytest_collection_finish():
    """Of half a million imported objects none becomes garbage: KerasTuner looks for it twice before every trial."""
    gc.collect()
    gc.freeze()


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
