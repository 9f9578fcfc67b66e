"""Two replicas on one machine: in a process of their own, because logical devices are set before TensorFlow starts."""

import subprocess
import sys

import pytest

MIRRORED = """
import benchmarks
import keras
import numpy as np
import tensorflow as tf
from tests.models.networks import blobs, compiled, dense_network

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = blobs(64)
keras.utils.set_random_seed(0)
with strategy.scope():
    arguments = dict(fast_weight_learning_rate=0.5, tuning_every=2, tuning_optimizer=keras.optimizers.Adam(1e-2))
    arguments["optimizer"] = keras.optimizers.Adam(0.03)
    ensemble = compiled(dense_network(), metrics=["accuracy"], **arguments)
history = ensemble.fit(x, y, batch_size=32, tuning_data=(x, y), shuffle=False, epochs=4, verbose=0).history
assert history["loss"][-1] < history["loss"][0], history
for variable in [*ensemble.weights, *ensemble.optimizer.variables, *ensemble.tuning_optimizer.variables]:
    copies = strategy.experimental_local_results(variable.value)
    if len(copies) == 2:
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)
iterations = strategy.experimental_local_results(ensemble.tuning_optimizer.iterations.value)[0]
assert int(iterations) == 4, iterations
before = np.stack(ensemble.distribution.bounds())
ensemble.fit(x, y, batch_size=32, tuning_data=(x, y), epochs=1, verbose=0)
assert np.abs(np.stack(ensemble.distribution.bounds()) - before).max() > 1e-3
print("DONE")
"""


@pytest.mark.slow
def test_mirrored_replicas_stay_equal():
    result = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True)
    assert "DONE" in result.stdout, result.stderr[-3000:]
