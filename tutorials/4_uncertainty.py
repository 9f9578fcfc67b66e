# %% [markdown]
# # 4. Uncertainty estimation
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A classifier of digits also predicts a digit for a photograph, and should do so with low confidence. This tutorial
# covers out-of-distribution detection, rejection of uncertain samples, conformal sets with guaranteed coverage, and a
# report.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="EPOCHS = 1"
EPOCHS = 80

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.datasets import load_sample_images

import keras_hyperens as khe

keras.utils.set_random_seed(0)
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
x, y = (digits.images[order, ..., None] / 16).astype("float32"), digits.target[order]
x_train, y_train = x[:500], y[:500]
x_val, y_val = x[500:800], y[500:800]
x_test, y_test = x[800:], y[800:]

# %% [markdown]
# There are two out-of-distribution datasets: the test digits rotated by 90°, and patches of two photographs.

# %%
rotated = np.rot90(x_test, axes=(1, 2)).copy()
pieces = []
for photograph in load_sample_images().images:
    small = photograph[::4, ::4].mean(2)[:104, :160] / 255
    pieces.append(small.reshape(13, 8, 20, 8).swapaxes(1, 2).reshape(-1, 8, 8, 1))
photographs = np.concatenate(pieces).astype("float32")
shown = np.concatenate([x_test[:6], rotated[:6], photographs[100:106]])
khe.plots.image_grid(shown, ["digit"] * 6 + ["rotated"] * 6 + ["photograph"] * 6, columns=9);


# %% [markdown]
# ## Ensemble


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


ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
ensemble.fit(
    x_train,
    y_train,
    batch_size=32,
    tuning_split=0.15,
    validation_data=(x_val[:150], y_val[:150]),
    epochs=EPOCHS,
    callbacks=[stop],
    verbose=0,
)
ensemble.calibrate(x_val[:150], y_val[:150], verbose=0)
print("accuracy on the test digits:", round(float((ensemble.predict(x_test, verbose=0).argmax(1) == y_test).mean()), 4))

# %% [markdown]
# ## Measures of uncertainty
#
# The **entropy** of the prediction is the total uncertainty. The **mutual information** is the disagreement between
# the members, the epistemic part that more data would reduce (both in nats). The remainder, the expected entropy of
# the members, is inherent to the image.

# %%
in_distribution = ensemble.predict_uncertainty(x_test, verbose=0)
foreign = {
    "rotated": ensemble.predict_uncertainty(rotated, verbose=0),
    "photographs": ensemble.predict_uncertainty(photographs, verbose=0),
}
figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
for ax, measure in zip(axes, ("predictive_entropy", "mutual_information"), strict=True):
    khe.plots.uncertainty_histograms(
        in_distribution[measure], {name: each[measure] for name, each in foreign.items()}, measure.replace("_", " "), ax=ax
    )

# %% [markdown]
# ## Selective prediction
#
# Rejecting the most uncertain images reduces the error rate on the others. The curve shows the error rate by the
# fraction that is kept; the dashed line is the optimum, which rejects errors first.

# %%
khe.plots.risk_coverage_curve(y_test, in_distribution["prediction"])
correct = in_distribution["prediction"].argmax(1) == y_test
most_certain = np.argsort(in_distribution["predictive_entropy"])
for share in (1.0, 0.9, 0.8):
    kept = most_certain[: int(share * len(most_certain))]
    print(f"coverage {share:>4.0%}: {(~correct[kept]).sum():>3} errors in {len(kept)} samples")

# %% [markdown]
# The same threshold applied to digits and photographs rejects mostly images that are not digits.

# %%
threshold = np.quantile(ensemble.predict_uncertainty(x_val[150:], verbose=0)["predictive_entropy"], 0.95)
print(f"rejected (entropy above {threshold:.2f} nats, the 0.95 quantile of held-out digits)")
for name, each in {"test digits": in_distribution, **foreign}.items():
    print(f"  {name:<12} {(each['predictive_entropy'] > threshold).mean():.0%}")

# %% [markdown]
# ## Conformal sets
#
# A conformal set contains the true digit for at least 95 % of new digits. The samples for the fit must not be used
# for training, tuning or early stopping.

# %%
sets = khe.calibration.ConformalSets(coverage=0.95).fit(ensemble.predict(x_val[150:], verbose=0), y_val[150:])
chosen = sets.predict(in_distribution["prediction"])
print("coverage:", round(float(chosen[np.arange(len(y_test)), y_test].mean()), 4))
print("number of sets with 0, 1, 2, ... classes:", np.bincount(chosen.sum(1)))
several = np.flatnonzero(chosen.sum(1) != 1)[:8]
titles = [f"{{{', '.join(map(str, np.flatnonzero(chosen[row])))}}}, label {y_test[row]}" for row in several]
if len(several):
    khe.plots.image_grid(x_test[several], titles, columns=8)

# %% [markdown]
# ## Report
#
# The report is a single page with scores, calibration, members, hyperparameters and out-of-distribution detection.

# %%
page = khe.report(ensemble, x_test, y_test, ood={"rotated": rotated, "photographs": photographs}, path="report.html")
print(page, f"{page.stat().st_size / 1e6:.1f} MB, self-contained")

# %% [markdown]
# Next: [response to hyperparameters](5_hyperparameters.ipynb).
