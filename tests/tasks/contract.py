"""What an ensemble must give for every kind of task, whatever its network and its loss."""

import keras
import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from keras_hyperens.likelihoods import Value

M = 2
L2 = {"l2": khe.Hyperparameter("l2", 1e-6, 1e-2, "log")}


def task_contract(ensemble, x, y, tmp_path, epochs=3, sample_weight=None):
    """Training, predictions with an uncertainty, a SavedModel, and `.keras` files that train on.

    `ensemble` is compiled and has M members.
    """
    rows = {"x": x, "y": y, "sample_weight": sample_weight, "verbose": 0}
    before = ensemble.evaluate(**rows, return_dict=True)["loss"]
    history = ensemble.fit(**rows, epochs=epochs, tuning_split=0.25).history
    assert ensemble.evaluate(**rows, return_dict=True)["loss"] < before

    prediction, members = ensemble.predict(x, verbose=0), ensemble.predict_members(x, verbose=0)
    likelihoods, number = ensemble.likelihoods_of(members), len(keras.tree.flatten(x)[0])
    for symbolic, one, several, likelihood in side_by_side(ensemble.network.outputs, prediction, members, likelihoods):
        assert one.shape == (number, *symbolic.shape[1:]) and several.shape == (M, *one.shape)
        check_uncertainty(several, likelihood)
    check_export(ensemble, x, prediction, members, tmp_path / "served")

    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.models.load_model(tmp_path / "ensemble.keras")
    loaded.run_eagerly = True  # each step once
    for received, expected in side_by_side(loaded.predict_on_batch(x), prediction):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)
    assert loaded.train_on_batch(x, y, sample_weight, return_dict=True)["loss"] < history["loss"][0]


def side_by_side(*structures):
    return zip(*map(keras.tree.flatten, structures), strict=True)


def check_uncertainty(members, likelihood):
    """Members `[M, B, ..., C]` disagree, and not more than they can."""
    if likelihood == Value():
        variance = members.var(0)
        assert np.isfinite(variance).all() and variance.mean() > 0
        return
    np.testing.assert_allclose(members.sum(-1), 1, rtol=1e-4)
    epistemic = np.asarray(khe.uncertainty.mutual_information(members))
    total = np.asarray(khe.uncertainty.predictive_entropy(members))
    assert (0 <= epistemic).all() and epistemic.max() > 0 and (epistemic <= total + 1e-5).all()
    assert (total <= np.log(members.shape[-1]) + 1e-5).all()


def check_export(ensemble, x, prediction, members, path):
    """Both signatures, on another number of rows than any trace, give what the ensemble gives."""
    ensemble.export(path)
    served = tf.saved_model.load(path)
    named = {"_".join(map(str, place)) or "inputs": array[:5] for place, array in keras.tree.flatten_with_path(x)}
    _, declared = served.signatures["serving_default"].structured_input_signature
    inputs = {name: tf.cast(array, declared[name].dtype) for name, array in named.items()}
    outputs, alone = (served.signatures[name](**inputs) for name in ("uncertainty", "serving_default"))
    places = [place for place, _ in keras.tree.flatten_with_path(prediction)]
    for place, (one, several) in zip(places, side_by_side(prediction, members), strict=True):
        prefix = "".join(f"{part}_" for part in place)
        for received, expected in (
            (alone[f"{prefix}prediction"], one),
            (outputs[f"{prefix}prediction"], one),
            (outputs[f"{prefix}members"], np.swapaxes(several, 0, 1)),
        ):
            np.testing.assert_allclose(received, expected[:5], rtol=1e-4, atol=1e-5)
