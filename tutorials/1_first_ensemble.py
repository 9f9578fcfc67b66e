# %% [markdown]
# # 1. From a Keras model to a calibrated ensemble in ten lines
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# One network that says "99 %" is sometimes wrong, and does not know when. Four that differ in their weights and in
# their hyperparameters know more, and a hyper-batch ensemble trains all four in one `model.fit`, inside one network
# of about twice the parameters. Here it is on real images: scikit-learn's handwritten digits, and few of them.

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
# ## The model that you have
#
# Wherever KerasTuner would search, there is an `hp`: an ordinary hypermodel, and nothing else is asked for.


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
# First as it is, to have something to compare with, with the hypermodel's default hyperparameters. The rows that the
# ensemble will tune on, this network may train on: both see the same 500.

# %%
import keras_tuner

stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
single = build_model(keras_tuner.HyperParameters())
single.fit(x_train, y_train, batch_size=32, validation_data=(x_val, y_val), epochs=EPOCHS, callbacks=[stop], verbose=0)
single_says = keras.ops.convert_to_numpy(keras.ops.softmax(single.predict(x_test, verbose=0)))

# %% [markdown]
# ## The ensemble
#
# Two lines: `from_hypermodel` instead of a call of `build_model`, and rows to tune the hyperparameters on.

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
print(f"{single.count_params():,} parameters of one network, {ensemble.count_params():,} of four members together")

# %% [markdown]
# It is a Keras model: `predict` gives probabilities, the mean over members.


# %%
def scores(probabilities):
    calibration = khe.metrics.ExpectedCalibrationError()
    nll = khe.metrics.NegativeLogLikelihood()
    for metric in (calibration, nll):
        metric.update_state(y_test, probabilities)
    accuracy = (probabilities.argmax(1) == y_test).mean()
    return f"NLL {float(nll.result()):.4f}   accuracy {accuracy:.4f}   ECE {float(calibration.result()):.4f}"


says = ensemble.predict(x_test, verbose=0)
print("single network      ", scores(single_says))
print("hyper-batch ensemble", scores(says))

# %% [markdown]
# ## Calibrated
#
# `calibrate` fits one temperature on the validation rows; from then on it is part of every prediction, of the saved
# file and of the export. The reliability diagrams show how often the prediction was right, for each stated
# confidence.

# %%
ensemble.calibrate(x_val, y_val, verbose=0)
calibrated = ensemble.predict(x_test, verbose=0)
print("and calibrated      ", scores(calibrated))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
khe.plots.reliability_diagram(y_test, single_says, ax=axes[0])
khe.plots.reliability_diagram(y_test, calibrated, ax=axes[1])
axes[0].set_title("single network")
axes[1].set_title("hyper-batch ensemble, calibrated");

# %% [markdown]
# ## What it is not sure of
#
# Below: the test images with the lowest and the highest entropy of the prediction. A human would hesitate at many of
# the second row, too.

# %%
said = ensemble.predict_uncertainty(x_test, verbose=0)
titles = [f"is {label}, says {p.argmax()}" for label, p in zip(y_test, said["prediction"])]
khe.plots.certain_images(x_test, said["predictive_entropy"], titles, number=6);

# %% [markdown]
# ## Where each member ended, and a file

# %%
for name, values in ensemble.hyperparameter_values().items():
    print(name, np.round(values, 5))
ensemble.save("digits.keras")
again = keras.models.load_model("digits.keras")
print("largest difference after loading:", np.abs(again.predict(x_test, verbose=0) - calibrated).max())

# %% [markdown]
# Next: [a KerasTuner search that is finished already](2_keep_your_search.ipynb) becomes an ensemble of separate
# networks.
