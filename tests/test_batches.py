import keras
import numpy as np
import pandas
import pytest
import tensorflow as tf
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

from tests.batches import own
from tests.batches import short

X = np.arange(21.0).reshape(7, 3)
DATA = {
    "array": (X,),
    "labels and weights": (X, np.arange(7), np.ones(7)),
    "structures": ({"a": X, "b": [X, tf.constant(X)]}, {"c": np.arange(7)}),
    "table": (pandas.DataFrame(X), pandas.Series(np.arange(7))),
    "words": (tf.constant(list("abcdefg")),),
}


@pytest.mark.parametrize("size", [3, 7, 9])
@pytest.mark.parametrize("name", DATA)
def test_the_short_way_gives_the_batches_of_keras_own(name, size):
    mine, theirs = (way(ArrayDataAdapter(*DATA[name], batch_size=size)) for way in (short, own))
    assert mine.element_spec == theirs.element_spec
    for left, right in zip(mine, theirs, strict=True):
        keras.tree.map_structure(np.testing.assert_array_equal, left, right)


def test_models_take_the_short_way_and_shuffle_in_keras_own():
    assert ArrayDataAdapter.get_tf_dataset is short
    shuffled, plain = short(ArrayDataAdapter(X, shuffle=True)), short(ArrayDataAdapter(X))
    assert type(shuffled) is type(own(ArrayDataAdapter(X))) is not type(plain)
