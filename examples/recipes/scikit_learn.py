"""scikit-learn: ensembles as classifiers and regressors, in a `Pipeline` and in `cross_val_score`.

python -m examples.recipes.scikit_learn      # three minutes on two cores
"""

import keras
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_hyperens as khe


class EnsembleClassifier(keras.wrappers.SKLearnClassifier):
    """Keras' wrapper, with the probabilities that scikit-learn's scores require."""

    def predict_proba(self, X):
        return self.model_.predict(np.asarray(X), verbose=0)  # an ensemble predicts probabilities


class EnsembleRegressor(keras.wrappers.SKLearnRegressor):
    """Keras' wrapper for an ensemble of Gaussians, with standard deviations as in scikit-learn."""

    def predict(self, X, return_std=False):
        mean, variance = np.split(self.model_.predict(np.asarray(X), verbose=0), 2, axis=-1)
        return (mean[:, 0], np.sqrt(variance[:, 0])) if return_std else mean[:, 0]


def make_ensemble(X, y, loss, outputs, units=64):
    """Returns an ensemble for the shape of the data; the wrappers call it before every `fit`."""

    def build_model(hp):
        l2 = keras.regularizers.L2(hp.Float("l2", 1e-5, 1e-1, sampling="log"))
        hidden = keras.layers.Dense(units, "relu", kernel_regularizer=l2)
        layers = [keras.Input((X.shape[1],)), hidden, keras.layers.Dense(outputs, kernel_regularizer=l2)]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.Adam(3e-3), loss)
        return model

    return khe.HyperBatchEnsemble.from_hypermodel(build_model, ensemble_size=4, seed=0)


CLASSES = {"loss": keras.losses.CategoricalCrossentropy(from_logits=True), "outputs": 10}  # the wrapper's y is one-hot
GAUSSIANS = {"loss": khe.losses.GaussianNegativeLogLikelihood(), "outputs": 2}


def main(epochs=60, folds=3):
    """Cross-validates the classifier; fits the regressor, and prints a prediction with its standard deviation."""
    classifier = make_pipeline(StandardScaler(), EnsembleClassifier(make_ensemble, model_kwargs=CLASSES))
    # Arguments of `fit` are passed as `params`, because clones of Keras' wrapper lose their `fit_kwargs`.
    fit = {"tuning_split": 0.1, "epochs": epochs, "verbose": 0}
    params = {f"ensembleclassifier__{name}": value for name, value in fit.items()}
    x, y = load_digits(return_X_y=True)
    scores = cross_val_score(classifier, x, y, cv=folds, scoring="neg_log_loss", params=params)
    print("digits, NLL of each fold:", -scores)

    regressor = make_pipeline(StandardScaler(), EnsembleRegressor(make_ensemble, model_kwargs=GAUSSIANS))
    x, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    regressor.fit(x, y, **{f"ensembleregressor__{name}": value for name, value in fit.items()})
    mean, std = regressor.predict(x[:1], return_std=True)
    print(f"diabetes, first patient: {mean[0]:.2f} ± {std[0]:.2f}, truth {y[0]:.2f}")
    return scores, regressor


if __name__ == "__main__":
    main()
