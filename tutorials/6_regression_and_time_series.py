# %% [markdown]
# # 6. Regression and time series
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A regression model should predict an interval, not only a value. A network with a Gaussian head predicts a mean and
# a standard deviation, and an ensemble separates two kinds of variance: noise of the data (aleatoric), and
# disagreement of the members (epistemic). This tutorial predicts the progression of diabetes in 442 patients, and
# then the next value of an electroencephalogram.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="EPOCHS, EPOCHS_OF_SERIES = 2, 1"
EPOCHS, EPOCHS_OF_SERIES = 80, 120

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
x = (x[order] / x[order][:200].std(0)).astype("float32")
center, scale = y[order][:200].mean(), y[order][:200].std()
y = ((y[order] - center) / scale).astype("float32")[:, None]
parts = dict(
    zip(("train", "tune", "val", "calibrate", "test"), np.split(np.arange(len(y)), (200, 250, 300, 350)), strict=True)
)

# %% [markdown]
# ## Gaussian head
#
# The network has two outputs for one target: the mean, and the logarithm of the standard deviation. The loss defines
# their meaning, so `predict` returns the mean and the *variance* of the members' mixture.


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


def samples(part):
    return x[parts[part]], y[parts[part]]


ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
stop = keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
ensemble.fit(
    *samples("train"),
    batch_size=16,
    epochs=EPOCHS,
    tuning_data=samples("tune"),
    validation_data=samples("val"),
    callbacks=[stop],
    verbose=0,
)
x_test, y_test = samples("test")
uncertainty = ensemble.predict_uncertainty(x_test, verbose=0)
mean, variance = uncertainty["prediction"].T
print("test NLL:", round(ensemble.evaluate(x_test, y_test, verbose=0, return_dict=True)["loss"], 3))
print(
    "RMSE:", round(float(np.sqrt(np.mean((mean - y_test[:, 0]) ** 2)) * scale), 1), "std:", round(scale, 1)
)

# %% [markdown]
# ## Intervals
#
# `prediction_interval` is the central interval of the members' mixture. With so few test samples the measured
# coverage is uncertain (its standard error is three percent). A conformal interval has a guaranteed coverage if the
# samples for its fit were not used for training, tuning or early stopping.

# %%
members = ensemble.predict_members(x_test, verbose=0)
intervals = keras.ops.convert_to_numpy(khe.uncertainty.prediction_interval(members, coverage=0.9))[:, 0]
held = ensemble.predict(samples("calibrate")[0], verbose=0)
conformal = khe.calibration.ConformalIntervals(coverage=0.9).fit(held, samples("calibrate")[1])
conformal = conformal.predict(uncertainty["prediction"])[:, 0]
for name, each in {"mixture": intervals, "conformal": conformal}.items():
    inside = (each[:, 0] <= y_test[:, 0]) & (y_test[:, 0] <= each[:, 1])
    print(
        f"90 % {name} interval: coverage {inside.mean():.0%}, mean width {np.diff(each).mean() * scale:.0f}"
    )

order = np.argsort(mean)
figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
ax.fill_between(range(len(order)), *(intervals[order] * scale + center).T, color="0.85", label="90 % interval")
ax.plot(mean[order] * scale + center, color="black", label="mean")
ax.plot(y_test[order, 0] * scale + center, ".", color="tab:blue", label="measured")
ax.set(xlabel="test patients, sorted by prediction", ylabel="progression of the disease after a year")
ax.legend(ncols=3);

# %% [markdown]
# ## Aleatoric and epistemic variance
#
# The aleatoric variance is the mean of the members' variances; the epistemic variance is the variance of their means.
# For patients unlike the training data (here, all measurements are moved away from the mean by a factor), only the
# second is expected to grow.

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
ax.set(xlabel="scale of the inputs (1: test data)", ylabel="variance (of standardized targets)")
ax.set(yscale="log")
ax.legend();

# %% [markdown]
# The aleatoric variance is also extrapolated, and decreases: far from the data only the disagreement of the members
# indicates the uncertainty.
#
# ## Time series
#
# The data are ten seconds of an electroencephalogram with four channels, included in matplotlib. From the last 16
# values of all channels a GRU predicts the change of the first channel until the next value, an eightieth of a second
# later.

# %%
path = matplotlib.cbook.get_sample_data("eeg.dat", asfileobj=False)
series = np.fromfile(path, float).reshape(800, 4)
series = ((series - series[:500].mean(0)) / series[:500].std(0)).astype("float32")
WINDOW = 16
starts = np.arange(len(series) - WINDOW)
windows = np.stack([series[start : start + WINDOW] for start in starts])
last, values = windows[:, -1, :1], series[starts + WINDOW, :1]
targets = values - last
times = (starts + WINDOW) / 80  # seconds


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
    model.compile(keras.optimizers.Adam(2e-3), khe.losses.GaussianNegativeLogLikelihood())
    return model


past, tune, val, future = np.split(np.arange(len(starts)), (400, 480, 560))  # in temporal order
forecaster = khe.HyperBatchEnsemble.from_hypermodel(build_forecaster, ensemble_size=4, seed=0)
stop = keras.callbacks.EarlyStopping(patience=30, restore_best_weights=True)
forecaster.fit(
    windows[past],
    targets[past],
    batch_size=32,
    epochs=EPOCHS_OF_SERIES,
    tuning_data=(windows[tune], targets[tune]),
    validation_data=(windows[val], targets[val]),
    callbacks=[stop],
    verbose=0,
);

# %% [markdown]
# Comparison with two baselines: the last value, and the mean.

# %%
members = forecaster.predict_members(windows[future], verbose=0)
interval = keras.ops.convert_to_numpy(khe.uncertainty.prediction_interval(members, coverage=0.9))[:, 0] + last[future]
forecasts = {
    "forecaster": members[..., 0].mean(0) + last[future, 0],
    "the last value": last[future, 0],
    "the mean": np.full(len(future), values[past].mean()),
}
truth = values[future, 0]
for name, forecast in forecasts.items():
    print(f"{name:<16} RMSE {np.sqrt(np.mean((forecast - truth) ** 2)):.3f}")
print(f"coverage of the 90 % intervals: {((interval[:, 0] <= truth) & (truth <= interval[:, 1])).mean():.0%}")

figure, ax = plt.subplots(figsize=(12, 4), layout="constrained")
ax.fill_between(times[future], *interval.T, color="0.85", label="90 % interval")
ax.plot(times[future], forecasts["forecaster"], color="black", label="forecast")
ax.plot(times[future], truth, color="tab:blue", label="measured", linewidth=1)
ax.set(xlabel="seconds", ylabel="channel 1 (standard deviations)")
ax.legend(ncols=3);

# %% [markdown]
# The forecaster is slightly better than the baselines. Most of the signal cannot be predicted from its past, which
# the wide intervals reflect.
#
# Next: [serving](7_into_production.ipynb).
