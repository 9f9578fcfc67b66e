import gc

import pytest


def pytest_collection():
    """Not at the top: the process that hands out tests to others never comes here, and needs no TensorFlow."""
    gc.disable()  # what is imported is no garbage
    import benchmarks  # noqa: F401  TensorFlow starts without a word

    # isort: split
    import keras
    import tensorflow as tf

    keras.config.disable_traceback_filtering()  # what hides frames from users costs a tenth of every tracing
    tf.debugging.disable_traceback_filtering()


def pytest_collection_finish():
    """Of half a million imported objects none becomes garbage: KerasTuner looks for it twice before every trial."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # a traced graph is a hundred thousand objects, none of them garbage
    gc.enable()


LONGEST = (
    *("test_zoo", "test_tutorials", "test_readme", "test_multi_worker", "test_speed", "test_applications"),
    *("test_serving", "test_builder", "test_processes", "test_faults", "test_recipes", "test_bad_starts", "test_paper"),
    *("test_replicas", "test_endurance", "test_cluster", "test_group_search", "test_devices", "test_from_model"),
    *("test_training", "test_family", "test_together", "test_scale", "test_candidate_group", "test_saving"),
    *("test_uncertainty", "test_sequences", "test_images", "test_control", "test_places", "test_search_memory"),
    *("test_hyper_batch_ensemble", "test_hyper_deep_ensemble", "test_cross_validation", "test_kernel", "test_site"),
)


def pytest_collection_modifyitems(items):
    """The longest files first (the Makefile keeps this order): else one worker is left alone with one at the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True, scope="session")
def short_batches():
    from tests import batches

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batches.ArrayDataAdapter, "get_tf_dataset", batches.short)
        yield


@pytest.fixture(autouse=True)
def seeded():
    import keras

    keras.utils.set_random_seed(0)


def pytest_runtest_setup(item):
    """Unit tests run graphs as they are traced: to optimize one takes longer than the few steps that it makes."""
    import tensorflow as tf

    is_unit = item.get_closest_marker("integration") is None
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": is_unit})


@pytest.fixture(autouse=True)
def eager_examples(request, monkeypatch):
    """Of docstrings: to trace a model takes longer than the few steps that it makes there."""
    if request.node.nodeid.startswith("keras_hyperens/"):
        import keras

        monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda self: True, lambda self, value: None))


@pytest.fixture(autouse=True, scope="module")
def cleared():
    """Once for each file: to clear Keras' session takes longer than most tests.

    Within a file TensorFlow keeps its kernels, which every new seed would clear. Only random operations that have a
    state need that, and there are none here; to make the kernels again takes a quarter of the time of all tests.
    """
    import keras
    from tensorflow.python import pywrap_tfe

    from keras_hyperens.search.tuner_hooks import forgotten_gradients

    with forgotten_gradients(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(pywrap_tfe, "TFE_ContextClearCaches", lambda context: None)
        yield
    keras.backend.clear_session()
    gc.freeze()  # what is left now stays


@pytest.fixture
def mixed_float16():
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")
