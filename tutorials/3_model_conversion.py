# %% [markdown]
# # 3. Conversion of a trained model
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# `from_model` converts any Keras model, here a MobileNetV2 of `keras.applications` with its weights, to an ensemble
# whose members initially predict the same as the model. Fine-tuning then makes the members different. A summary lists
# shared and member-specific layers.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="PRETRAINING, FINE_TUNING, MEMBERS, LAST_LAYER = 1, 1, 2, 'block_2_add'"
PRETRAINING, FINE_TUNING, MEMBERS = 15, 24, 4
LAST_LAYER = "out_relu"  # an earlier layer reduces the size of the network

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import keras_hyperens as khe

keras.utils.set_random_seed(0)
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
images = np.repeat(
    np.repeat(digits.images[order, ..., None] / 8 - 1, 4, axis=1), 4, axis=2
)  # [B, 32, 32, 1] in [-1, 1]
x, y = np.repeat(images, 3, axis=3).astype("float32"), digits.target[order]

# %% [markdown]
# ## Pretrained network
#
# With a network connection this would be `MobileNetV2(weights="imagenet")`. To run offline, this tutorial first
# trains the network on the digits 0 to 4, and then replaces the last layer for the digits 5 to 9.

# %%
known = y < 5
mobile = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, include_top=False)
features = keras.layers.GlobalAveragePooling2D()(mobile.get_layer(LAST_LAYER).output)
model = keras.Model(mobile.input, keras.layers.Dense(5, name="predictions")(features), name="mobilenet")
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.9  # the default of 0.999 requires thousands of steps
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
model.fit(x[known], y[known], batch_size=32, epochs=PRETRAINING, verbose=0)
print("accuracy on the digits 0 to 4:", round(model.evaluate(x[known], y[known], verbose=0)[1], 3))

body = keras.Model(model.input, model.layers[-2].output)  # all but the last layer
network = keras.Sequential([keras.Input((32, 32, 3)), body, keras.layers.Dropout(0.2), keras.layers.Dense(5)])
network.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])

x_new, y_new = x[~known], y[~known] - 5
x_train, y_train = x_new[:300], y_new[:300]
x_val, y_val = x_new[300:400], y_new[300:400]
x_test, y_test = x_new[400:], y_new[400:]

# %% [markdown]
# ## Conversion
#
# `roles` selects what varies between members and is tuned: the L2 coefficient of every kernel, and the rate of every
# dropout layer. (`from_hypermodel` detects the roles from the hypermodel.)

# %%
roles = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-3, "log"), "dropout": khe.Hyperparameter("dropout", 0.0, 0.5, "linear")}
ensemble = khe.HyperBatchEnsemble.from_model(network, roles=roles, ensemble_size=MEMBERS, seed=0)
before = keras.ops.convert_to_numpy(keras.ops.softmax(network.predict(x_test, verbose=0)))
members = ensemble.predict_members(x_test, verbose=0)
print("members:", members.shape, " largest difference from the network:", np.abs(members - before).max())
print(f"{network.count_params():,} parameters, {ensemble.count_params():,} of four members")

# %% [markdown]
# The summary describes the conversion of each layer. Batch normalization is shared. Convolutions have a shared
# kernel, a shared response that the hyperparameters scale, and rank-1 factors per member. (The network has 150
# layers; the output shows the first and the last ones.)

# %%
texts = []
ensemble.conversion_summary(print_fn=texts.append)
lines = texts[0].splitlines()
print("\n".join([*lines[:10], "...", *lines[-12:]]))

# %% [markdown]
# ## Fine-tuning
#
# The network and the ensemble are fine-tuned on the same 300 images. The ensemble reserves 45 of them for tuning.


# %%
def fine_tune(model, **arguments):
    stop = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    return model.fit(
        x_train,
        y_train,
        batch_size=16,
        epochs=FINE_TUNING,
        validation_data=(x_val, y_val),
        callbacks=[stop],
        verbose=0,
        **arguments,
    )


ensemble.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
histories = {"ensemble": fine_tune(ensemble, tuning_split=0.15), "network": fine_tune(network)}

# %%
predictions = {
    "network": keras.ops.convert_to_numpy(keras.ops.softmax(network.predict(x_test, verbose=0))),
    "ensemble": ensemble.predict(x_test, verbose=0),
}
for name, probabilities in predictions.items():
    calibration = khe.metrics.ExpectedCalibrationError()
    calibration.update_state(y_test, probabilities)
    nll = -np.log(probabilities[np.arange(len(y_test)), y_test]).mean()
    accuracy = (probabilities.argmax(1) == y_test).mean()
    print(f"{name:<10} NLL {nll:.4f}   accuracy {accuracy:.4f}   ECE {float(calibration.result()):.4f}")

figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
for name, history in histories.items():
    axes[0].plot(history.history["val_loss"], label=name)
axes[0].set(title="Validation loss", xlabel="epoch")
axes[0].legend()
khe.plots.reliability_diagram(y_test, predictions["ensemble"], ax=axes[1])
khe.plots.diversity_matrix(ensemble.predict_members(x_test, verbose=0), ax=axes[2]);

# %% [markdown]
# ## Options of the conversion
#
# - `include=` and `exclude=` select layers by name or class; frozen layers (`trainable = False`) stay shared.
# - `sharing="batch"` creates a batch ensemble (rank-1 factors only), `sharing="independent"` separate members.
# - Layers that mix the samples of a batch cannot be converted: the error names the layer.
# - `ensemble.member(2)` returns one member as a plain Keras model.

# %%
plain = ensemble.member(MEMBERS // 2)
difference = keras.ops.softmax(plain.predict(x_test, verbose=0)) - ensemble.predict_members(x_test, verbose=0)[MEMBERS // 2]
print(type(plain).__name__, "of", len(plain.layers), "layers; largest difference:", float(np.abs(difference).max()))

# %% [markdown]
# Next: [uncertainty estimation](4_uncertainty.ipynb).
