# %% [markdown]
# # 2. Ensembles from a finished search
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A hyperparameter search trains twenty networks and keeps one. Some of the other nineteen are correct where the best
# one is wrong, so an average of several is more accurate than each. A finished KerasTuner search becomes a hyper-deep
# ensemble without further training; additional training improves it.

# %% tags=["colab"]
# %pip install -q "keras-hyperens[plots]" scikit-learn

# %% tags=["parameters"] short="TRIALS, EPOCHS = 4, 1; import tensorflow; tensorflow.config.run_functions_eagerly(True)"
TRIALS, EPOCHS = 20, 60

# %%
import tempfile

import keras
import keras_tuner
import numpy as np
from sklearn.datasets import load_digits

import keras_hyperens as khe

keras.utils.set_random_seed(0)
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
x, y = (digits.images[order, ..., None] / 16).astype("float32"), digits.target[order]
x_train, y_train = x[:250], y[:250]
x_val, y_val = x[250:550], y[250:550]
x_test, y_test = x[550:], y[550:]
directory = tempfile.mkdtemp()

# %% [markdown]
# ## Search
#
# This section is ordinary KerasTuner code.


# %%
def build_model(hp):
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(hp.Choice("filters", [16, 32]), 3, activation="relu", kernel_regularizer=l2),
            keras.layers.Conv2D(32, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, kernel_regularizer=l2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    return model


stop = keras.callbacks.EarlyStopping(patience=12, restore_best_weights=True)
fit = dict(validation_data=(x_val, y_val), batch_size=32, epochs=EPOCHS, callbacks=[stop])
tuner = keras_tuner.RandomSearch(
    build_model, "val_loss", max_trials=TRIALS, seed=0, directory=directory, project_name="search"
)
tuner.search(x_train, y_train, verbose=0, **fit)
best = tuner.get_best_hyperparameters()[0]
print({name: best.get(name) for name in best.values})

# %% [markdown]
# ## Ensemble without further training
#
# `from_tuner` reads the results of the tuner. With `initializations=0` nothing is trained: each network predicts the
# validation data, and members are selected greedily, with replacement, to minimize the NLL of the *ensemble*.

# %%
ready = khe.HyperDeepEnsembleBuilder.from_tuner(tuner, ensemble_size=4, initializations=0)
ready.search(x_train, y_train, verbose=0, **fit)
ensemble = ready.build_ensemble()
ready.results_summary(6)

# %% [markdown]
# The first row is the best network of the search. An average of networks is less confident than each of them, often
# underconfident; a temperature, fitted on the validation data, makes the comparison fair. Scores on the test data:


# %%
def scores(model):
    model.calibrate(x_val, y_val, verbose=0)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy", khe.metrics.ExpectedCalibrationError(name="ece")],
    )
    results = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    return f"NLL {results['loss']:.4f}   accuracy {results['accuracy']:.4f}   ECE {results['ece']:.4f}"


print("best single network    ", scores(ready.build_deep_ensemble(1)))
print("four networks          ", scores(ensemble))

# %% [markdown]
# ## Full procedure
#
# The hyper-deep ensemble of the paper adds two steps: the best *hyperparameter sets* are selected, each is trained
# from several initializations, and the members are selected among all of these. The members differ in weights and
# hyperparameters. The call is the same without `initializations=0`. Interrupted searches resume: call `search` again.

# %%
full = khe.HyperDeepEnsembleBuilder.from_tuner(
    tuner,
    ensemble_size=4,
    num_hyperparameter_sets=3,
    initializations=3,
    project_name="full",
    directory=directory,
    seed=0,
)
full.search(x_train, y_train, verbose=0, **fit)
print("hyper-deep ensemble                         ", scores(full.build_ensemble()))
print("deep ensemble of the best hyperparameters   ", scores(full.build_deep_ensemble(3)))

# %% [markdown]
# The validation score of every ensemble size requires no training. (The members are selected by this score, so it is
# optimistic: choose a size where the curve is flat.)

# %%
khe.plots.scores_by_size(full.scores_by_size(), "validation NLL");

# %% [markdown]
# `build_ensemble` can be called repeatedly with other metrics and sizes.

# %%
for size in (2, 3, 4):
    print(size, "members by Brier score", scores(full.build_ensemble(ensemble_size=size, metric="brier")))

# %% [markdown]
# The result is one Keras model with `predict`, `predict_uncertainty`, `save` and `export`. Next: [a network of
# keras.applications](3_model_conversion.ipynb), converted with its weights.
