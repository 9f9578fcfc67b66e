# %% [markdown]
# # 8. Distributed training and search
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# Both ensembles run unchanged on several devices and machines: a hyper-batch ensemble is one model under a
# `tf.distribute` strategy, and the search for a hyper-deep ensemble uses several processes. This tutorial runs on any
# machine: two logical CPU devices, a chief and two workers.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="EPOCHS, TRIALS = 1, 2"
EPOCHS, TRIALS = 20, 8

# %%
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_hyperens as khe

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.utils.set_random_seed(0)
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
x, y = (digits.images[order, ..., None] / 16).astype("float32"), digits.target[order]
x_train, y_train, x_val, y_val, x_test, y_test = x[:800], y[:800], x[800:1000], y[800:1000], x[1000:], y[1000:]


def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, kernel_regularizer=l2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


# %% [markdown]
# ## Replicas
#
# Build the ensemble in the strategy's scope; `batch_size` is the global batch size. Each replica draws its own
# hyperparameters; gradients are averaged over replicas, and all replicas have the same weights and intervals. On a
# machine with GPUs omit the list of devices; on a TPU use `tf.distribute.TPUStrategy`.

# %%
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
history = ensemble.fit(
    x_train,
    y_train,
    batch_size=32 * strategy.num_replicas_in_sync,
    tuning_split=0.15,
    validation_data=(x_val, y_val),
    epochs=EPOCHS,
    verbose=0,
)
print(strategy.num_replicas_in_sync, "replicas; test:", ensemble.evaluate(x_test, y_test, verbose=0, return_dict=True))

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(history.history["loss"], label="training loss of both replicas, with penalties")
ax.plot(history.history["val_loss"], label="validation loss")
ax.set(xlabel="epoch", yscale="log")
ax.legend();

# %% [markdown]
# Predictions are also distributed over the replicas, and equal those of one device.

# %%
single = ensemble.member(0)  # plain Keras
difference = keras.ops.softmax(single(x_test[:100])) - ensemble.predict_members(x_test[:100], verbose=0)[0]
print("largest difference between member 0 on one device and on the replicas:", float(np.abs(difference).max()))

# %% [markdown]
# ## Search with several processes
#
# `workers=2` starts a chief and two workers on this machine. On a cluster, start the same Python file on every host
# with KerasTuner's environment variables: `examples/cluster` has scripts for Slurm and Kubernetes. If a worker is
# killed, only its current candidate is trained again; the chief can be restarted.

# %%
builder = khe.HyperDeepEnsembleBuilder(
    build_model,
    ensemble_size=3,
    max_trials=TRIALS,
    num_hyperparameter_sets=2,
    initializations=2,
    directory=tempfile.mkdtemp(),
    seed=0,
)
builder.search(x_train, y_train, validation_data=(x_val, y_val), epochs=EPOCHS, batch_size=32, workers=2, verbose=0)
deep = builder.build_ensemble()
builder.results_summary(5)

# %% [markdown]
# The same seed gives the same ensemble for any number of processes.
#
# ## Members on several devices
#
# Members that are too large or too slow for one device can be distributed:

# %%
distributed = deep.on_devices(["CPU:0", "CPU:1"])
difference = distributed.predict(x_test, verbose=0) - deep.predict(x_test, verbose=0)
print("largest difference:", np.abs(difference).max())
distributed.export("served")  # does not store devices

# %% [markdown]
# `docs/scale.md` estimates the cost in time, memory, network and storage; `docs/distributed.md` covers several
# machines and failures of workers.
