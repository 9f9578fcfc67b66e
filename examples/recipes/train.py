"""Training of the ensemble for the other recipes: replace it by your model.

python -m examples.recipes.train      # writes ensemble.keras and served/1; one minute on two cores
"""

import keras
from sklearn.datasets import load_digits

import keras_hyperens as khe

digits = load_digits()
X, Y = (digits.images[..., None] / 16).astype("float32"), digits.target
X_TRAIN, Y_TRAIN, X_VAL, Y_VAL, X_TEST, Y_TEST = X[:1000], Y[:1000], X[1000:1300], Y[1000:1300], X[1300:], Y[1300:]


def build_model(hp):
    """KerasTuner hypermodel."""
    l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-2, sampling="log"))
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", kernel_regularizer=l2),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.6)),
            keras.layers.Dense(10, kernel_regularizer=l2),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def main(epochs=40):
    """Trains, calibrates and fits decisions on held-out data, saves and exports the ensemble."""
    ensemble = khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)
    ensemble.fit(X_TRAIN, Y_TRAIN, tuning_split=0.1, epochs=epochs, verbose=0)
    ensemble.calibrate(X_VAL, Y_VAL, verbose=0)
    ensemble.conformalize(X_VAL, Y_VAL, coverage=0.95, verbose=0)
    ensemble.abstain(X_VAL, answered=0.95, verbose=0)
    ensemble.save("ensemble.keras")
    ensemble.export("served/1")  # TensorFlow Serving requires a folder per version
    return ensemble


if __name__ == "__main__":
    print(main().evaluate(X_TEST, Y_TEST, verbose=0, return_dict=True))
