# %% [markdown]
# # 9. Tables
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# From a pandas DataFrame to an ensemble in production: preprocessing layers inside the model, predicted means and variances, a
# temperature, intervals with guaranteed coverage, and a SavedModel that loads without this package. The table is small (442
# patients, the progression of diabetes after one year); larger tables take the same steps.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" pandas scikit-learn

# %% tags=["parameters"] short="EPOCHS = 2"
EPOCHS = 60

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_diabetes

import keras_hyperens as khe

keras.utils.set_random_seed(0)
frame = load_diabetes(as_frame=True, scaled=False).frame.sample(frac=1, random_state=0)
frame["sex"] = frame["sex"].map({1.0: "A", 2.0: "B"})  # a category: which is which is not documented
numbers = [name for name in frame.columns if name not in ("sex", "target")]
print(frame.head(3).to_string(index=False))

ends = np.cumsum([220, 40, 50, 66])  # samples to train, to tune, to validate and for intervals; the rest is the test
train, tune, validate, conformal, test = (frame[start:end] for start, end in zip([0, *ends], [*ends, None]))
center, scale = train["target"].mean(), train["target"].std()

# %% [markdown]
# ## Preprocessing inside the model
#
# The model has one input per column. `Normalization` stores the mean and variance of the training samples, `StringLookup` the
# categories (with an index for unknown ones). The ensemble, its files and its exports contain both, so serving requires no
# separate preprocessing.


# %%
def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-1, sampling="log"))
    dropout = hp.Float("dropout", 0.0, 0.5)
    inputs = {name: keras.Input((1,), name=name) for name in numbers}
    inputs["sex"] = keras.Input((1,), name="sex", dtype="string")
    normalization = keras.layers.Normalization(mean=train[numbers].mean().tolist(), variance=train[numbers].var().tolist())
    lookup = keras.layers.StringLookup(vocabulary=["A", "B"])
    embedded = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(lookup(inputs["sex"])))
    x = keras.layers.Concatenate()([normalization(keras.layers.Concatenate()([inputs[name] for name in numbers])), embedded])
    for _ in range(2):
        x = keras.layers.Dense(64, activation="relu", kernel_regularizer=l2)(x)
        x = keras.layers.Dropout(dropout)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_regularizer=l2)(x))  # mean, logarithm of the deviation
    model.compile(keras.optimizers.Adam(2e-3), khe.losses.GaussianNegativeLogLikelihood())
    return model


ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=8, seed=0)
ensemble.conversion_summary()

# %% [markdown]
# ## Training
#
# Keras accepts strings in a `tf.data.Dataset`. The L2 strength and the dropout rate of each member are tuned on held-out samples
# during training.


# %%
def columns(part):
    return {name: tf.constant(part[[name]].to_numpy(str if name == "sex" else "float32")) for name in [*numbers, "sex"]}


def dataset(part):
    targets = (part[["target"]].to_numpy("float32") - center) / scale
    return tf.data.Dataset.from_tensor_slices((columns(part), targets)).batch(16)


samples = dataset(train).unbatch().shuffle(len(train), seed=0).batch(16)
stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
history = ensemble.fit(
    samples,
    epochs=EPOCHS,
    tuning_data=dataset(tune),
    validation_data=dataset(validate),
    callbacks=[stop],
    shuffle=False,  # the dataset does it
    verbose=0,
)
print("epochs:", len(history.epoch))
for name, values in ensemble.hyperparameter_values().items():
    print(f"{name} of each member:", np.array2string(values, precision=4))

# %% [markdown]
# ## Calibration and intervals
#
# `calibrate` fits a factor of the variance on the validation samples. `conformalize` requires samples that no earlier step used. It
# provides an interval for each new patient that contains the true value with a probability of 90 %, independent of the accuracy of
# the ensemble. Intervals are wider for patients with a higher predicted variance.

# %%
ensemble.calibrate(dataset(validate), verbose=0)
ensemble.conformalize(dataset(conformal), coverage=0.9, verbose=0)
decided = ensemble.decide(columns(test), verbose=0)
mean = decided["prediction"][:, 0] * scale + center
intervals = decided["interval"][:, 0] * scale + center
truth = test["target"].to_numpy()
inside = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
print(f"RMSE {np.sqrt(np.mean((mean - truth) ** 2)):.1f}; always the mean: {np.std(truth):.1f}")
print(f"{inside.mean():.0%} of {len(test)} test samples are inside their intervals")
print(f"width of the intervals: {np.diff(intervals).min():.0f} to {np.diff(intervals).max():.0f}")

order = np.argsort(mean)
figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
ax.fill_between(range(len(order)), *intervals[order].T, color="0.85", label="90 % interval")
ax.plot(mean[order], color="black", label="mean")
ax.plot(truth[order], ".", color="tab:blue", label="measured")
ax.set(xlabel="test patients, by the prediction", ylabel="progression of the disease after a year")
ax.legend(ncols=3);

# %% [markdown]
# ## Export
#
# The SavedModel accepts the raw columns by name, including strings, and returns mean, variance and interval. It only requires
# TensorFlow. (`ensemble.save("tables.keras")` writes a file for further training.)

# %%
ensemble.export("served/1", verbose=False)
served = tf.saved_model.load("served/1").signatures["decide"]
answer = served(**columns(test[:3]))
print({name: value.shape for name, value in answer.items()})
print("largest difference:", np.abs(answer["interval"] - decided["interval"][:3]).max())

# %% [markdown]
# `benchmarks/tabular` in the repository compares this with a tuned network, a deep ensemble, TabM and gradient boosting on larger
# tables. On some of them `from_hypermodel(..., fast_weight_initializer="random_sign")` is better: compare both on held-out samples.
