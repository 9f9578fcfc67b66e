"""Fewer members: which are kept, and that each is what it was."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.models.pruning import greedily_chosen
from keras_hyperens.models.pruning import with_members
from tests.models.networks import LOGITS
from tests.models.networks import Subclassed
from tests.models.networks import blobs
from tests.models.networks import compiled
from tests.models.networks import conv_network
from tests.models.networks import dense_network
from tests.models.networks import images
from tests.models.networks import members
from tests.models.networks import space

X, Y = blobs(80)


def varied(ensemble, seed=0):
    """No weight at a value that could hide a mistake."""
    random = np.random.default_rng(seed)
    for layers in (ensemble.network, ensemble.distribution):
        for weight in layers.weights:
            if "seed" not in weight.path:
                weight.assign(random.uniform(0.05, 0.6, weight.shape) - 0.1 * ("variance" not in weight.path))
    lower = random.uniform(-0.9, 0.3, ensemble.distribution.lower.shape)
    ensemble.distribution.lower.assign(lower)
    ensemble.distribution.upper.assign(lower + random.uniform(0.1, 0.5, lower.shape))
    return ensemble


def made(network, size, **arguments):
    return varied(compiled(network, size=size, run_eagerly=True, **arguments))


def recurrent(size):
    own = {"ensemble_size": size, "space": space()}
    return keras.Sequential(
        [
            keras.Input((4, 1)),
            khe.layers.HyperBatchLSTM(3, kernel_l2="l2", **own),
            khe.layers.MemberLayerNormalization(**own),
            khe.HyperDropout("rate", **own),
            khe.HyperBatchDense(3, sharing="independent", **own),
        ]
    )


def functional(size):
    own = {"ensemble_size": size, "space": space()}
    inputs = keras.Input((4,))
    hidden = khe.HyperBatchDense(4, "relu", kernel_l2="l2", shared_embedding=False, **own)(inputs)
    inner = keras.Sequential([khe.HyperBatchDense(4, **own), khe.layers.MemberBatchNormalization(**own)])
    hidden = keras.layers.Add()([inner(hidden), khe.HyperDropout("rate", **own)(hidden)])
    return keras.Model(inputs, khe.HyperBatchDense(3, **own)(hidden))


CASES = {
    "dense": (lambda: dense_network(size=5), X),
    "conv": (lambda: conv_network(size=5), images()[0]),
    "recurrent": (lambda: recurrent(5), X[..., None]),
    "functional": (lambda: functional(5), X),
}


@pytest.mark.parametrize("response", ["centered", "reference"])
@pytest.mark.parametrize("case", CASES)
def test_members_are_what_they_were(case, response):
    network, x = CASES[case]
    ensemble = khe.HyperBatchEnsemble(network(), response=response, seed=0)
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    varied(ensemble).temperature.logarithms.assign([0.3])
    before = ensemble.predict_members(x, verbose=0)
    smaller = with_members(ensemble, [3, 0, 4])
    np.testing.assert_allclose(smaller.predict_members(x, verbose=0), before[[3, 0, 4]], atol=1e-6)
    for name, values in ensemble.hyperparameter_bounds().items():
        np.testing.assert_allclose(smaller.hyperparameter_bounds()[name], values[[3, 0, 4]], rtol=1e-6)
    np.testing.assert_allclose(smaller.temperature_values(), np.exp(0.3), rtol=1e-6)
    assert smaller.ensemble_size == 3 and smaller.network.count_params() < ensemble.network.count_params()
    assert ensemble.ensemble_size == 5
    np.testing.assert_array_equal(ensemble.predict_members(x, verbose=0), before)


def losses_by_loops(p, size):
    """The members with the lowest negative log-likelihood together, one after the other."""
    chosen = []
    while len(chosen) < size:
        others = [k for k in range(len(p)) if k not in chosen]
        nll = [-np.log(p[[*chosen, k]].mean(0)[np.arange(len(Y)), Y]).mean() for k in others]
        chosen.append(others[int(np.argmin(nll))])
    return chosen


@pytest.mark.parametrize("weighted", [False, True])
def test_those_are_kept_that_are_best_together(weighted):
    ensemble = made(dense_network(size=6), 6)
    p = ensemble.predict_members(X, verbose=0)
    counts = np.random.default_rng(0).integers(0, 3, 80) if weighted else np.ones(80, int)

    def nll(chosen):
        return np.average(-np.log(p[list(chosen)].mean(0)[np.arange(80), Y]), weights=counts)

    expected = greedily_chosen(nll, 6, 3)
    smaller = ensemble.pruned(X, Y, ensemble_size=3, sample_weight=counts if weighted else None, verbose=0)
    np.testing.assert_allclose(smaller.predict_members(X, verbose=0), p[expected], atol=1e-6)
    assert weighted or expected == losses_by_loops(p, 3)
    best = min(itertools.combinations(range(6), 3), key=nll)
    assert nll(best) - 1e-6 <= nll(expected) <= np.mean([nll(each) for each in itertools.combinations(range(6), 3)])


def test_members_that_were_left_out_are_not_kept():
    ensemble = made(dense_network(size=5), 5)
    first = ensemble.pruned(X, Y, 1, verbose=0).predict(X, verbose=0)
    best = int(np.argmin(np.abs(ensemble.predict_members(X, verbose=0) - first).max((1, 2))))
    ensemble.leave_out([best])
    living = ensemble.predict_members(X, verbose=0)
    smaller = ensemble.pruned(X, Y, 2, verbose=0)
    kept = smaller.predict_members(X, verbose=0)
    assert smaller.left_out == () and all(any(np.allclose(k, each, atol=1e-6) for each in living) for k in kept)
    with pytest.raises(ValueError, match="positive integer below 4.*Received: ensemble_size=4"):
        ensemble.pruned(X, Y, 4, verbose=0)


def test_temperatures_of_members_stay_and_others_are_forgotten():
    ensemble = made(dense_network(size=4), 4)
    found = ensemble.calibrate(X, Y, per="member", verbose=0)
    before = ensemble.predict_members(X, verbose=0)
    smaller = with_members(ensemble, [2, 1])
    assert smaller.temperatures.values[0] == (found.values[0][2], found.values[0][1])
    np.testing.assert_allclose(smaller.predict_members(X, verbose=0), before[[2, 1]], atol=1e-6)
    ensemble.calibrate(X, Y, verbose=0)
    ensemble.conformalize(X, Y, verbose=0)
    smaller = with_members(ensemble, [2, 1])
    assert smaller.temperatures is None and smaller.conformal is None


def test_it_is_compiled_trained_and_saved_like_any(tmp_path):
    metric = khe.metrics.Disagreement()
    ensemble = made(dense_network(size=4), 4, metrics=["accuracy"], member_metrics=[metric], tuning_every=2)
    smaller = ensemble.pruned(X, Y, 2, verbose=0)
    assert smaller._trainer.settings == ensemble._trainer.settings and smaller.optimizer is not ensemble.optimizer
    before = [each.copy() for each in ensemble.get_weights()]
    history = smaller.fit(X, Y, tuning_split=0.25, validation_data=(X, Y), verbose=0).history
    assert {"loss", "accuracy", "val_disagreement"} <= set(history)
    for left, right in zip(before, ensemble.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    smaller.save(tmp_path / "e.keras")
    loaded = keras.models.load_model(tmp_path / "e.keras")
    loaded.run_eagerly = True
    np.testing.assert_allclose(loaded.predict(X, verbose=0), smaller.predict(X, verbose=0), atol=1e-6)


def test_several_outputs_and_their_losses():
    own = {"ensemble_size": 4}
    inputs = keras.Input((4,))
    outputs = {
        "kind": khe.HyperBatchDense(3, name="kind", **own)(inputs),
        "size": khe.HyperBatchDense(2, name="size", **own)(inputs),
    }
    ensemble = khe.HyperBatchEnsemble(keras.Model(inputs, outputs), seed=0)
    gaussian = khe.losses.GaussianNegativeLogLikelihood()
    losses = {"kind": LOGITS, "size": gaussian}
    ensemble.compile("sgd", losses, loss_weights={"kind": 1.0, "size": 0.5}, run_eagerly=True)
    ensemble.temperature.forget()
    y = {"kind": Y, "size": X[:, :1]}
    each = ensemble.predict_members(X, verbose=0)

    def loss(chosen):
        p = each["kind"][list(chosen)].mean(0)[np.arange(80), Y]
        mixed = np.asarray(khe.uncertainty.gaussian_mixture(each["size"][list(chosen)]))
        nll = (X[:, 0] - mixed[:, 0]) ** 2 / mixed[:, 1] / 2 + np.log(2 * np.pi * mixed[:, 1]) / 2
        return -np.log(p).mean() + 0.5 * nll.mean()

    smaller = ensemble.pruned(X, y, 2, verbose=0)
    kept = smaller.predict_members(X, verbose=0)["kind"]
    np.testing.assert_allclose(kept, each["kind"][greedily_chosen(loss, 4, 2)], atol=1e-6)


def test_what_cannot_be_pruned_is_named():
    with pytest.raises(ValueError, match="Members are selected by the compiled loss.*compiled=False"):
        khe.HyperBatchEnsemble(dense_network(), **members()).pruned(X, Y, 2)
    ensemble = khe.HyperBatchEnsemble(Subclassed(), **members())
    ensemble.compile("sgd", LOGITS, run_eagerly=True)
    with pytest.raises(ValueError, match="built=False"):
        ensemble.pruned(X, Y, 2)
    ensemble._trainer.build(tf.TensorSpec([None, 4]))
    with pytest.raises(ValueError, match="must have the ensemble's `ensemble_size=2`"):
        ensemble.pruned(X, Y, 2, verbose=0)
    assert greedily_chosen(lambda chosen: float("nan") if 0 in chosen else 1.0, 3, 2) == [1, 2]
