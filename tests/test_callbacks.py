import numpy as np
import tensorflow as tf

import keras_hyperens as khe
from tests.models.networks import M
from tests.models.networks import blobs
from tests.models.networks import compiled


def test_bounds_per_epoch_and_in_tensorboard(tmp_path):
    ensemble, (x, y) = compiled(tuning_every=1, run_eagerly=True), blobs()
    start = ensemble.hyperparameter_bounds()
    history = khe.HyperparameterHistory(log_dir=str(tmp_path))
    ensemble.fit(x, y, tuning_split=0.25, epochs=3, callbacks=[history], verbose=0)
    assert set(history.bounds) == {"l2", "rate"}
    for name, bounds in history.bounds.items():
        assert bounds.shape == (4, M, 2)
        np.testing.assert_array_equal(bounds[0], start[name])
        np.testing.assert_array_equal(bounds[-1], ensemble.hyperparameter_bounds()[name])
    written = {}
    for file in tmp_path.iterdir():
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            for value in tf.compat.v1.Event.FromString(record).summary.value:
                written[value.tag] = written.get(value.tag, 0) + 1
    assert written["hyperparameters/l2/member_2/upper"] == 3 and len(written) == 2 * M * 2
