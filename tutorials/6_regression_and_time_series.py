# %% [markdown]
# # 6. Regression and time series
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# "153" is not an answer; "153, give or take 50" is. A network with a Gaussian head predicts a mean and a standard
# deviation, and an ensemble of them tells two reasons apart: noise that no model could remove (aleatoric), and what
# these members do not know (epistemic). First the progression of diabetes in 442 patients, then a recording of the
# brain, a step ahead.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="EPOCHS, EPOCHS_OF_SERIES = 2, 1"
EPOCHS, EPOCHS_OF_SERIES = 80, 60

# %%
import keras
import matplotlib.cbook
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

import keras_hyperens as khe

keras.utils.set_random_seed(0)
x, y = load_diabetes(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
x = (x[order] / x[order][:222].std(0)).astype("float32")
center, scale = y[order][:222].mean(), y[order][:222].std()
y = ((y[order] - center) / scale).astype("float32")[:, None]
parts = dict(zip(("train", "tune", "val", "test"), np.split(np.arange(len(y)), (222, 282, 342)), strict=True))

# %% [markdown]
# ## A Gaussian head
#
# Two outputs for one target: the mean, and the logarithm of the standard deviation. The loss says what they mean, and
# so what `predict` gives: the mean and the *variance* of the members' mixture.


# %%
def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-1, sampling="log"))
    dropout = hp.Float("dropout", 0.0, 0.6)
    model = keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(64, activation="relu", kernel_regularizer=l2),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(64, activation="relu", kernel_regularizer=l2),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(2, kernel_regularizer=l2),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), khe.losses.GaussianNegativeLogLikelihood())
    return model


def rows(part):
    return x[parts[part]], y[parts[part]]


ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
stop = keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
ensemble.fit(
    *rows("train"),
    batch_size=16,
    epochs=EPOCHS,
    tuning_data=rows("tune"),
    validation_data=rows("val"),
    callbacks=[stop],
    verbose=0,
)
x_test, y_test = rows("test")
said = ensemble.predict_uncertainty(x_test, verbose=0)
mean, variance = said["prediction"].T
print("NLL on test rows:", round(ensemble.evaluate(x_test, y_test, verbose=0, return_dict=True)["loss"], 3))
print(
    "RMSE:", round(float(np.sqrt(np.mean((mean - y_test[:, 0]) ** 2)) * scale), 1), "of a deviation of", round(scale, 1)
)

# %% [markdown]
# ## Intervals
#
# `prediction_interval` is the central interval of the members' mixture. Does it hold what it says? On so few rows the
# count itself is uncertain; a conformal interval, fitted on held-out rows, comes with a guarantee.

# %%
members = ensemble.predict_members(x_test, verbose=0)
intervals = keras.ops.convert_to_numpy(khe.uncertainty.prediction_interval(members, coverage=0.9))[:, 0]
held = ensemble.predict(rows("val")[0], verbose=0)
conformal = khe.calibration.ConformalIntervals(coverage=0.9).fit(held, rows("val")[1]).predict(said["prediction"])[:, 0]
for name, each in {"of the mixture": intervals, "conformal": conformal}.items():
    inside = (each[:, 0] <= y_test[:, 0]) & (y_test[:, 0] <= each[:, 1])
    print(
        f"90 % intervals {name:<15} hold {inside.mean():.0%} of the test rows, mean width {np.diff(each).mean() * scale:.0f}"
    )

order = np.argsort(mean)
figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
ax.fill_between(range(len(order)), *(intervals[order] * scale + center).T, color="0.85", label="90 % interval")
ax.plot(mean[order] * scale + center, color="black", label="mean")
ax.plot(y_test[order, 0] * scale + center, ".", color="tab:blue", label="measured")
ax.set(xlabel="test patients, by the prediction", ylabel="progression of the disease after a year")
ax.legend(ncols=3);
# %% [markdown]
# ## Two parts of the variance
#
# Aleatoric variance: the mean of what the members call noise. Epistemic variance: how far their means lie apart. For
# a patient unlike all others (here: each measurement moved away from the mean by a factor), only the second has to
# grow.

# %%
factors = np.linspace(1, 4, 7)
shares = []
for factor in factors:
    moved = ensemble.predict_members(x_test * factor, verbose=0)
    shares.append(
        [
            float(np.mean(khe.uncertainty.aleatoric_variance(moved))),
            float(np.mean(khe.uncertainty.epistemic_variance(moved))),
        ]
    )
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(factors, np.array(shares), marker="o", label=["aleatoric", "epistemic"])
ax.set(xlabel="how far from the usual patient (1: test rows as they are)", ylabel="variance (of standardised targets)")
ax.set(yscale="log")
ax.legend();
# %% [markdown]
# ## A time series
#
# Ten seconds of an electroencephalogram, four channels, which come with matplotlib. From the last 32 samples of all
# channels a GRU predicts the first channel 8 samples (a tenth of a second) ahead.

# %%
path = matplotlib.cbook.get_sample_data("eeg.dat", asfileobj=False)
series = np.fromfile(path, float).reshape(800, 4)
series = ((series - series[:500].mean(0)) / series[:500].std(0)).astype("float32")
WINDOW, AHEAD = 32, 8
starts = np.arange(len(series) - WINDOW - AHEAD + 1)
windows = np.stack([series[start : start + WINDOW] for start in starts])
targets = series[starts + WINDOW + AHEAD - 1, :1]
times = (starts + WINDOW + AHEAD - 1) / 80  # seconds


def build_forecaster(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((WINDOW, 4)),
            keras.layers.GRU(24, kernel_regularizer=l2, recurrent_regularizer=l2),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(2, kernel_regularizer=l2),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), khe.losses.GaussianNegativeLogLikelihood())
    return model


past, tune, val, future = np.split(np.arange(len(starts)), (400, 480, 560))  # in order: nobody sees the future
forecaster = khe.HyperBatchEnsemble.from_hypermodel(build_forecaster, ensemble_size=4, seed=0)
stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
forecaster.fit(
    windows[past],
    targets[past],
    batch_size=32,
    epochs=EPOCHS_OF_SERIES,
    tuning_data=(windows[tune], targets[tune]),
    validation_data=(windows[val], targets[val]),
    callbacks=[stop],
    verbose=0,
)

# %% [markdown]
# Is it better than saying that nothing changes, or than saying "the mean"?

# %%
members = forecaster.predict_members(windows[future], verbose=0)
mean = members[..., 0].mean(0)
interval = keras.ops.convert_to_numpy(khe.uncertainty.prediction_interval(members, coverage=0.9))[:, 0]
truth = targets[future, 0]
rmse = {
    "forecaster": mean,
    "the last value": windows[future, -1, 0],
    "the mean": np.full_like(truth, targets[past].mean()),
}
for name, forecast in rmse.items():
    print(f"{name:<16} RMSE {np.sqrt(np.mean((forecast - truth) ** 2)):.3f}")
print(f"90 % intervals hold {((interval[:, 0] <= truth) & (truth <= interval[:, 1])).mean():.0%}")

figure, ax = plt.subplots(figsize=(12, 4), layout="constrained")
ax.fill_between(times[future], *interval.T, color="0.85", label="90 % interval")
ax.plot(times[future], mean, color="black", label="forecast")
ax.plot(times[future], truth, color="tab:blue", label="measured", linewidth=1)
ax.set(xlabel="seconds", ylabel="channel 1 (standard deviations)")
ax.legend(ncols=3);

# %% [markdown]
# Next: [into production](7_into_production.ipynb).
