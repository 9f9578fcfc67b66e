"""Training, tuning, evaluation and prediction compile whole for a TPU: by XLA, with no shape left open.

No TPU is at hand; XLA for the CPU refuses the same operations, and its programs show every dynamic dimension.
"""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import conv_network
from tests.models.networks import dense_network
from tests.models.networks import images

INTEGRATION = pytest.mark.integration
ROWS = 16
NETWORKS = {"dense": (dense_network, blobs), "conv": (conv_network, images)}  # dropout in both, batch norm in one


def built(kind, sampling):
    """An ensemble with tuning rows and all its variables, and one batch."""
    make, data = NETWORKS[kind]
    x, y = data(48)
    ensemble = compiled(make(), sampling=sampling, metrics=["accuracy"], tuning_every=2)
    ensemble._trainer.build(tf.TensorSpec((None, *x.shape[1:])))
    ensemble._trainer._set_tuning_rows((x, y), None)
    ensemble.test_step((x[:ROWS], y[:ROWS]))  # makes the metrics' variables
    return ensemble, tf.constant(x[:ROWS]), tf.constant(y[:ROWS])


def program(function, *arguments):
    """What XLA makes of a function, as text."""
    compiled_function = tf.function(function, jit_compile=True, autograph=False)
    return compiled_function.experimental_get_compiler_ir(*arguments)(stage="hlo")


@INTEGRATION
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("sampling", ["member", "example"])
def test_every_step_compiles_with_static_shapes(kind, sampling):
    ensemble, x, y = built(kind, sampling)
    texts = {"train": program(lambda x, y: ensemble.train_step((x, y)), x, y)}
    if sampling == "member":  # no matter elsewhere
        texts["test"] = program(lambda x, y: ensemble.test_step((x, y)), x, y)
        texts["predict"] = program(lambda x: ensemble.predict_step((x,)), x)
    for name, text in texts.items():
        assert re.search(rf"f32\[3,{ROWS},3\]|f32\[{3 * ROWS},3\]", text), name  # members' outputs are in there
        assert "<=" not in text, name  # how XLA writes a bounded, dynamic dimension
        assert "custom-call" not in text or "callback" not in text, name  # nothing goes back to Python
    assert "conditional" in texts["train"]  # the tuning branch


@INTEGRATION
def test_fit_compiled_by_xla_trains_tunes_and_evaluates():
    x, y = blobs(64)
    ensemble = compiled(jit_compile=True, tuning_every=2, optimizer=keras.optimizers.Adam(0.03), metrics=["accuracy"])
    before = np.stack(ensemble.distribution.bounds())
    history = ensemble.fit(x, y, batch_size=ROWS, epochs=4, tuning_data=(x, y), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert int(ensemble.tuning_optimizer.iterations) == 8
    assert np.abs(np.stack(ensemble.distribution.bounds()) - before).max() > 1e-3
    compiled_logs = ensemble.evaluate(x, y, batch_size=ROWS, return_dict=True, verbose=0)
    ensemble.jit_compile, ensemble.test_function = False, None
    plain_logs = ensemble.evaluate(x, y, batch_size=ROWS, return_dict=True, verbose=0)
    for name, value in plain_logs.items():
        np.testing.assert_allclose(compiled_logs[name], value, rtol=1e-4, err_msg=name)
