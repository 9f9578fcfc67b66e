import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def graphs_as_traced():
    """Small graphs that run a few times: optimizing them takes longer than it saves."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
