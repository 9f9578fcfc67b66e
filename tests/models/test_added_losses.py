"""Networks that learn by `add_loss` alone: what their layers add is the loss of tuning, too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.training.draws import draw


class Reconstruction(keras.layers.Layer):
    """Adds the mean squared distance of two inputs, and passes the second one on."""

    def call(self, target, output):
        self.add_loss(keras.ops.mean(keras.ops.square(target - output)))
        return output


MEMBERS = {"ensemble_size": 3, "space": khe.HyperparameterSpace([khe.Hyperparameter("l2", 1e-6, 1e-1, "log")])}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def autoencoder(**compiled):
    inputs = keras.Input((4,))
    code = khe.HyperBatchDense(2, activation="tanh", kernel_l2="l2", **MEMBERS)(inputs)
    outputs = khe.HyperBatchDense(4, kernel_l2="l2", **MEMBERS)(code)
    ensemble = khe.HyperBatchEnsemble(keras.Model(inputs, Reconstruction()(inputs, outputs)), seed=0)
    ensemble.compile(keras.optimizers.Adam(1e-2), tuning_every=1, entropy_weight=0.0, **compiled)
    return ensemble


def reconstruction_error(ensemble, bounds):
    """Of the draws of a tuning step, over the rows of all members."""
    x, _, _ = ensemble._trainer.tuning.rows.batch(0, len(X))
    rows = len(X) if ensemble._trainer.settings.sampling == "example" else 1
    with khe.hyperparameter_scope(draw(ensemble, bounds, rows, 1), ensemble._members.centers()):
        outputs = np.asarray(ensemble._member_outputs(x, training=False), "float64")
    return np.mean((outputs - x) ** 2)


@pytest.mark.parametrize("sampling", ["member", "example"])
def test_gradients_for_the_bounds_equal_finite_differences(sampling):
    ensemble = autoencoder(sampling=sampling)
    ensemble._trainer.build(tf.TensorSpec([None, 4]))
    generator = np.random.default_rng(1)
    for layer in ensemble.network.layers:
        for weight in layer.weights:
            weight.assign(weight + generator.normal(0, 0.3, weight.shape))
    ensemble._trainer._set_tuning_rows((X,), None)
    lower, upper = map(np.asarray, ensemble.distribution.bounds())
    found = ensemble._trainer.tuning.gradients((tf.constant(lower), tf.constant(upper)), 0, len(X))
    assert float(found.loss) == pytest.approx(reconstruction_error(ensemble, (lower, upper)), rel=1e-5)
    centers = ensemble._members.centers()
    ensemble._members.centers = lambda bounds=None: centers
    step = 1e-2
    for member in range(len(upper)):
        there, here = upper.copy(), upper.copy()
        there[member] += step
        here[member] -= step
        slope = (reconstruction_error(ensemble, (lower, there)) - reconstruction_error(ensemble, (lower, here))) / (
            2 * step
        )
        assert float(found.bounds[1][member, 0]) == pytest.approx(slope, rel=0.02, abs=1e-6)


def test_fit_tunes_without_labels():
    ensemble = autoencoder(run_eagerly=True)
    before = ensemble.distribution.upper.numpy()
    history = ensemble.fit(X, tuning_data=(X[:16],), epochs=2, verbose=0).history
    assert np.isfinite(history["tuning_loss"]).all() and history["loss"][1] < history["loss"][0]
    assert np.abs(ensemble.distribution.upper.numpy() - before).max() > 0


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_without_any_loss_there_is_nothing_to_tune_by():
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(2, kernel_l2="l2", **MEMBERS)])
    ensemble = khe.HyperBatchEnsemble(network, seed=0)
    ensemble.compile("sgd")
    with pytest.raises(ValueError, match="Tuning requires a loss"):
        ensemble.fit(X, tuning_data=(X,), verbose=0)
