# %% [markdown]
# # 5. Response to hyperparameters
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A search returns one best setting. The kernels of a trained hyper-batch ensemble are functions of the
# hyperparameters, so the ensemble estimates the loss at *any* L2 coefficient or dropout rate without further
# training. This tutorial shows the tuning of the hyperparameters, their effect on the loss, and the differences
# between members.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="EPOCHS = 2"
EPOCHS = 120

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
x_train, y_train = x[:400], y[:400]
x_tune, y_tune = x[400:600], y[400:600]
x_val, y_val = x[600:800], y[600:800]
x_test, y_test = x[800:], y[800:]


# %% [markdown]
# The hypermodel has three hyperparameters.


# %%
def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-1, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout_of_pixels", 0.0, 0.8)),
            keras.layers.Dense(64, activation="relu", kernel_regularizer=l2),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.8)),
            keras.layers.Dense(10, kernel_regularizer=l2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
ensemble.conversion_summary()

# %% [markdown]
# ## Tuning
#
# Every member has an interval for each hyperparameter, from which it draws at each step. The bounds follow gradients
# of the loss on the tuning data. `HyperparameterHistory` records them. (With `log_dir=` it writes them to
# TensorBoard.)

# %%
history = khe.HyperparameterHistory()
ensemble.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=EPOCHS,
    tuning_data=(x_tune, y_tune),
    validation_data=(x_val, y_val),
    callbacks=[history],
    verbose=0,
)
entries = list(ensemble.space)
figure, axes = plt.subplots(1, len(entries), figsize=(5 * len(entries), 4), layout="constrained")
for ax, entry in zip(axes, entries, strict=True):
    khe.plots.hyperparameter_path(history.bounds[entry.name], entry.name, entry.sampling, ax=ax)

# %% [markdown]
# ## Response curves
#
# The curves show the loss on the validation data over the whole range of each hyperparameter, with the others at
# their tuned values, with one forward pass per point. A flat curve indicates a hyperparameter without effect; markers
# are the tuned values of the members.

# %%
curves = ensemble.response_curves(x_val, y_val, verbose=0)
values = ensemble.hyperparameter_values()
figure, axes = plt.subplots(1, len(entries), figsize=(5 * len(entries), 4), layout="constrained")
for ax, entry in zip(axes, entries, strict=True):
    curve = curves[entry.name]
    khe.plots.response_curve(
        curve.values, curve.losses, entry.name, entry.sampling, members=curve.members, at=values[entry.name], ax=ax
    )
for name, curve in curves.items():
    spread = curve.losses.max() - curve.losses.min()
    print(f"{name:<20} changes the ensemble's loss by {spread:.4f}; minimum at {curve.values[curve.losses.argmin()]:.3g}")

# %% [markdown]
# The curves are predictions of one trained network. They approximate the loss after training with another value only
# inside the range from which members draw. Train with that value to verify it.
#
# ## Members

# %%
members = ensemble.predict_members(x_test, verbose=0)
nll = -np.log(members[:, np.arange(len(y_test)), y_test]).mean(1)
together = -np.log(members.mean(0)[np.arange(len(y_test)), y_test]).mean()
for k in range(ensemble.ensemble_size):
    at = ", ".join(f"{name} {float(each[k]):.2g}" for name, each in values.items())
    print(f"member {k}: NLL {nll[k]:.4f}   ({at})")
print(
    f"ensemble: NLL {together:.4f}, lower than the members' mean by {nll.mean() - together:.4f} due to their diversity"
)

# %% [markdown]
# Disagreement between pairs of members, and the images with the highest mutual information:

# %%
khe.plots.diversity_matrix(members)
uncertainty = ensemble.predict_uncertainty(x_test, verbose=0)
uncertain = np.argsort(-uncertainty["mutual_information"])[:6]
titles = [f"label {y_test[row]}; " + " ".join(str(p.argmax()) for p in members[:, row]) for row in uncertain]
khe.plots.image_grid(x_test[uncertain], titles, columns=6);

# %% [markdown]
# Next: [regression and time series](6_regression_and_time_series.ipynb).
