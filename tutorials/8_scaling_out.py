# %% [markdown]
# # 8. Scaling out
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# Both ensembles run unchanged on many devices and many machines: a hyper-batch ensemble is one model under a
# `tf.distribute` strategy, and the search for a hyper-deep ensemble is as many processes as you start. Here on what
# any machine has: two logical devices of one processor, a chief and two workers.

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
# ## One model, several replicas
#
# Build it in the strategy's scope; `batch_size` is that of all replicas together. Each replica draws its own
# hyperparameters; the tuning gradient is averaged over replicas, and all of them keep the same weights and intervals.
# On a machine with GPUs leave the list of devices out; on a TPU take `tf.distribute.TPUStrategy`.

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
# Prediction is spread over the replicas, too, and equals that of one device.

# %%
single = ensemble.member(0)  # plain Keras
difference = keras.ops.softmax(single(x_test[:100])) - ensemble.predict_members(x_test[:100], verbose=0)[0]
print("member 0 alone on one device, against its share of the replicas' prediction:", float(np.abs(difference).max()))

# %% [markdown]
# ## A search in several processes
#
# `workers=2` starts a chief and two workers on this machine. On a cluster, start the same Python file on every host
# with KerasTuner's environment variables: `examples/cluster` has it for Slurm and Kubernetes. A worker that is killed
# loses nothing but its candidate; the chief may be killed and started again.

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
# The same seed gives the same ensemble, however many processes there were.
#
# ## Members on several devices
#
# Members that are too large for one device, or too slow one after the other, are spread:

# %%
spread = deep.on_devices(["CPU:0", "CPU:1"])
difference = spread.predict(x_test, verbose=0) - deep.predict(x_test, verbose=0)
print("largest difference:", np.abs(difference).max())
spread.export("served")  # names no device: whoever serves it says where it runs

# %% [markdown]
# What all of it costs, in time, memory, network and storage, is in `docs/scale.md`; several machines, and what a lost
# worker costs, in `docs/distributed.md`.
