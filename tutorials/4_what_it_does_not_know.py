# %% [markdown]
# # 4. Knowing what it does not know
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A classifier of digits that is shown a photograph must answer with a digit. It should at least say how little it
# believes in it. Here an ensemble is asked about images that it was never trained for; it refuses what it is unsure
# of, answers with sets that hold the truth as often as promised, and writes a report that anybody can read.

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
# Two kinds of foreign images: the test digits turned by 90°, and pieces of two photographs.

# %%
turned = np.rot90(x_test, axes=(1, 2)).copy()
pieces = []
for photograph in load_sample_images().images:
    small = photograph[::4, ::4].mean(2)[:104, :160] / 255
    pieces.append(small.reshape(13, 8, 20, 8).swapaxes(1, 2).reshape(-1, 8, 8, 1))
photographs = np.concatenate(pieces).astype("float32")
shown = np.concatenate([x_test[:6], turned[:6], photographs[100:106]])
khe.plots.image_grid(shown, ["digit"] * 6 + ["turned"] * 6 + ["photograph"] * 6, columns=9);


# %% [markdown]
# ## The ensemble


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
# ## Two kinds of not knowing
#
# The **entropy** of the prediction is all uncertainty. The **mutual information** is the part that the members
# disagree about: it is what more data would tell. (Both in nats.) What is left, the members' own expected entropy, is
# in the image.

# %%
known = ensemble.predict_uncertainty(x_test, verbose=0)
strange = {
    "turned": ensemble.predict_uncertainty(turned, verbose=0),
    "photographs": ensemble.predict_uncertainty(photographs, verbose=0),
}
figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
for ax, measure in zip(axes, ("predictive_entropy", "mutual_information"), strict=True):
    khe.plots.uncertainty_histograms(
        known[measure], {name: said[measure] for name, said in strange.items()}, measure.replace("_", " "), ax=ax
    )

# %% [markdown]
# ## Refusing to answer
#
# Whoever may refuse the least certain images is wrong less often on the rest. The curve says how much that buys; the
# dashed one is what a perfect judge of its own errors would get.

# %%
khe.plots.risk_coverage_curve(y_test, known["prediction"])
right = known["prediction"].argmax(1) == y_test
surest = np.argsort(known["predictive_entropy"])
for share in (1.0, 0.9, 0.8):
    answered = surest[: int(share * len(surest))]
    print(f"answering {share:>4.0%}: {(~right[answered]).sum():>3} wrong of {len(answered)}")

# %% [markdown]
# The same threshold, on a mixture of digits and photographs: what it refuses is mostly not a digit.

# %%
threshold = np.quantile(ensemble.predict_uncertainty(x_val[150:], verbose=0)["predictive_entropy"], 0.95)
print(f"refused (entropy above {threshold:.2f} nats, a quantile of 0.95 on held-out digits)")
for name, said in {"test digits": known, **strange}.items():
    print(f"  {name:<12} {(said['predictive_entropy'] > threshold).mean():.0%}")

# %% [markdown]
# ## Sets that hold the truth
#
# A conformal set promises: the true digit is in it for at least 95 % of new digits. The rows that it is fitted on had
# no part in training, tuning or stopping.

# %%
sets = khe.calibration.ConformalSets(coverage=0.95).fit(ensemble.predict(x_val[150:], verbose=0), y_val[150:])
chosen = sets.predict(known["prediction"])
print("true digit in the set:", round(float(chosen[np.arange(len(y_test)), y_test].mean()), 4))
print("how many sets have 0, 1, 2, ... classes:", np.bincount(chosen.sum(1)))
several = np.flatnonzero(chosen.sum(1) != 1)[:8]
titles = [f"{{{', '.join(map(str, np.flatnonzero(chosen[row])))}}} is {y_test[row]}" for row in several]
if len(several):
    khe.plots.image_grid(x_test[several], titles, columns=8)

# %% [markdown]
# ## A report for anyone
#
# One page, with everything above and more: scores, calibration, members, hyperparameters, foreign images.

# %%
page = khe.report(ensemble, x_test, y_test, ood={"turned": turned, "photographs": photographs}, path="report.html")
print(page, f"{page.stat().st_size / 1e6:.1f} MB, no other file needed")

# %% [markdown]
# Next: [which hyperparameters mattered](5_which_hyperparameters_mattered.ipynb).
