# %% [markdown]
# # 2. Do not throw away your search
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/#upload=true)
#
# A search trains twenty networks, keeps one, and forgets nineteen. Some of those nineteen are wrong where the best
# one is right: together they are better than any of them. A finished KerasTuner search becomes a hyper-deep ensemble
# without training anything; a little more training makes it better still.

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
# ## Your search, as you wrote it
#
# Nothing in this section knows of ensembles.


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
# ## The ensemble that is already there
#
# `from_tuner` reads what the tuner kept. With `initializations=0` nothing is trained: the validation rows are
# predicted by each of its networks, and members are chosen greedily, with replacement, so that the *ensemble's* NLL
# is lowest.

# %%
ready = khe.HyperDeepEnsembleBuilder.from_tuner(tuner, ensemble_size=4, initializations=0)
ready.search(x_train, y_train, verbose=0, **fit)
ensemble = ready.build_ensemble()
ready.results_summary(6)

# %% [markdown]
# The first row is the network that the search alone would have left you with. An average of networks is less sure than
# each of them, often too little; a temperature, fitted on the validation rows, is fair to both. On the test rows:


# %%
def scores(model):
    model.calibrate(x_val, y_val, verbose=0)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy", khe.metrics.ExpectedCalibrationError(name="ece")],
    )
    said = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    return f"NLL {said['loss']:.4f}   accuracy {said['accuracy']:.4f}   ECE {said['ece']:.4f}"


print("the best network alone ", scores(ready.build_deep_ensemble(1)))
print("four of the same search", scores(ensemble))

# %% [markdown]
# ## The full procedure
#
# The paper's hyper-deep ensemble goes on: the best *sets of hyperparameters* are chosen, each is trained from several
# initializations, and the members are picked among all of these. Weights and hyperparameters both differ. It is the
# same call without `initializations=0`; killed at any moment, it goes on where it was.

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
print("hyper-deep ensemble                        ", scores(full.build_ensemble()))
print("deep ensemble: the best set, as many members", scores(full.build_deep_ensemble(3)))

# %% [markdown]
# How large should it be? The validation score of every size costs no training. (It is the score that members were
# chosen by, so it flatters: choose the size where the curve is flat.)

# %%
khe.plots.scores_by_size(full.scores_by_size(), "validation NLL");

# %% [markdown]
# Another measure, another size: `build_ensemble` can be called as often as you like.

# %%
for size in (2, 3, 4):
    print(size, "members by Brier score", scores(full.build_ensemble(ensemble_size=size, metric="brier")))

# %% [markdown]
# The result is one Keras model: `predict`, `predict_uncertainty`, `save`, `export`. Next: [a network of
# keras.applications](3_bring_your_own_model.ipynb), converted with its weights.
