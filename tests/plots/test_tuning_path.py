import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image
from matplotlib import pyplot

import keras_hyperens as khe
from tests.models.networks import blobs
from tests.models.networks import compiled

X, Y = blobs()


def test_a_picture_after_every_epoch_in_files_and_in_tensorboard(tmp_path):
    ensemble = compiled(tuning_every=1, run_eagerly=True)
    path = khe.plots.TuningPath(tmp_path / "new" / "pictures", log_dir=tmp_path / "logs")
    before = pyplot.get_fignums()
    ensemble.fit(X, Y, tuning_split=0.25, epochs=2, callbacks=[path], verbose=0)
    names = [each.name for each in sorted((tmp_path / "new" / "pictures").iterdir())]
    assert names == ["epoch_0001.png", "epoch_0002.png"] and pyplot.get_fignums() == before
    first, second = (image.imread(tmp_path / "new" / "pictures" / name) for name in names)
    assert first.shape == second.shape == (400, 1000, 4) and (first != second).any()
    assert path.bounds["l2"].shape == (3, 3, 2)
    written = []
    for file in (tmp_path / "logs").iterdir():
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            written += [value.tag for value in tf.compat.v1.Event.FromString(record).summary.value]
    assert written.count("hyperparameters") == 2 and "hyperparameters/l2/member_2/upper" in written


def test_bounds_are_in_the_logs_only_if_asked():
    ensemble = compiled(tuning_every=1, run_eagerly=True)
    arguments = {"tuning_split": 0.25, "verbose": 0}
    plain = ensemble.fit(X, Y, callbacks=[khe.HyperparameterHistory()], **arguments).history
    asked = ensemble.fit(X, Y, callbacks=[khe.HyperparameterHistory(in_logs=True)], **arguments).history
    assert set(asked) - set(plain) == {"l2_lowest", "l2_highest", "rate_lowest", "rate_highest"}
    bounds = ensemble.hyperparameter_bounds()["l2"]
    np.testing.assert_allclose([asked["l2_lowest"][0], asked["l2_highest"][0]], [bounds.min(), bounds.max()])


def test_what_cannot_be_drawn_is_named(tmp_path):
    with pytest.raises(ValueError, match="Set `directory`, `log_dir`, or both"):
        khe.plots.TuningPath()
    network = keras.Sequential([keras.Input((4,)), khe.HyperBatchDense(3, ensemble_size=2)])
    ensemble = khe.HyperBatchEnsemble(network, seed=0)
    ensemble.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    with pytest.raises(ValueError, match="No hyperparameters to plot"):
        ensemble.fit(X, Y, callbacks=[khe.plots.TuningPath(tmp_path)], verbose=0)
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    plain.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    for callback in (khe.HyperparameterHistory(), khe.plots.TuningPath(tmp_path / "none")):
        with pytest.raises(TypeError, match="bounds of a `HyperBatchEnsemble`.*Received: model of type Sequential"):
            plain.fit(X, Y, callbacks=[callback], verbose=0)
    assert not (tmp_path / "none").exists()
