# %% [markdown]
# # 1. From a Keras model to a calibrated ensemble
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A single network is often overconfident where it is wrong. An ensemble whose members differ in their weights and in
# their hyperparameters is more accurate and better calibrated. A hyper-batch ensemble trains all members in one
# `model.fit` call, in one network with about twice the parameters. This tutorial uses few samples of a real image
# dataset: the handwritten digits of scikit-learn.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="EPOCHS = 1"
EPOCHS = 80

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import keras_hyperens as khe

keras.utils.set_random_seed(0)
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
x, y = (digits.images[order, ..., None] / 16).astype("float32"), digits.target[order]
x_train, y_train = x[:500], y[:500]
x_val, y_val = x[500:600], y[500:600]
x_test, y_test = x[600:], y[600:]
khe.plots.image_grid(x_train[:8], [str(label) for label in y_train[:8]], columns=8);

# %% [markdown]
# ## Hypermodel
#
# The model is an ordinary KerasTuner hypermodel, with an `hp` for every hyperparameter of a search.


# %%
def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.Conv2D(32, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, kernel_regularizer=l2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


# %% [markdown]
# First, train a single network with the default hyperparameters of the hypermodel as a baseline. It is trained on all
# 500 samples; the ensemble reserves some of these for tuning.

# %%
import keras_tuner

stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
single = build_model(keras_tuner.HyperParameters())
single.fit(x_train, y_train, batch_size=32, validation_data=(x_val, y_val), epochs=EPOCHS, callbacks=[stop], verbose=0)
single_probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(single.predict(x_test, verbose=0)))

# %% [markdown]
# ## Ensemble
#
# Two lines change: `from_hypermodel` replaces the call to `build_model`, and `tuning_split` reserves samples for
# tuning the hyperparameters.

# %%
ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
ensemble.fit(
    x_train,
    y_train,
    batch_size=32,
    tuning_split=0.15,
    validation_data=(x_val, y_val),
    epochs=EPOCHS,
    callbacks=[stop],
    verbose=0,
)
print(f"{single.count_params():,} parameters of one network, {ensemble.count_params():,} of four members")

# %% [markdown]
# The ensemble is a Keras model: `predict` returns probabilities, the mean over the members.


# %%
def scores(probabilities):
    calibration = khe.metrics.ExpectedCalibrationError()
    nll = khe.metrics.NegativeLogLikelihood()
    for metric in (calibration, nll):
        metric.update_state(y_test, probabilities)
    accuracy = (probabilities.argmax(1) == y_test).mean()
    return f"NLL {float(nll.result()):.4f}   accuracy {accuracy:.4f}   ECE {float(calibration.result()):.4f}"


probabilities = ensemble.predict(x_test, verbose=0)
print("single network      ", scores(single_probabilities))
print("hyper-batch ensemble", scores(probabilities))

# %% [markdown]
# ## Calibration
#
# `calibrate` fits a temperature on the validation data, which becomes part of every prediction, of the saved file and
# of the export. The reliability diagrams show the accuracy for each level of confidence.

# %%
ensemble.calibrate(x_val, y_val, verbose=0)
calibrated = ensemble.predict(x_test, verbose=0)
print("with calibration    ", scores(calibrated))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
khe.plots.reliability_diagram(y_test, single_probabilities, ax=axes[0])
khe.plots.reliability_diagram(y_test, calibrated, ax=axes[1])
axes[0].set_title("single network")
axes[1].set_title("hyper-batch ensemble, calibrated");

# %% [markdown]
# ## Uncertainty
#
# The test images with the lowest and the highest predictive entropy. Many images in the second line are also ambiguous
# to humans.

# %%
uncertainty = ensemble.predict_uncertainty(x_test, verbose=0)
titles = [f"label {label}, predicted {p.argmax()}" for label, p in zip(y_test, uncertainty["prediction"])]
khe.plots.certain_images(x_test, uncertainty["predictive_entropy"], titles, number=6);

# %% [markdown]
# ## Tuned hyperparameters and saving

# %%
for name, values in ensemble.hyperparameter_values().items():
    print(name, np.round(values, 5))
ensemble.save("digits.keras")
loaded = keras.models.load_model("digits.keras")
print("largest difference after loading:", np.abs(loaded.predict(x_test, verbose=0) - calibrated).max())

# %% [markdown]
# Next: [a finished KerasTuner search](2_existing_search.ipynb) becomes an ensemble of separate networks.
