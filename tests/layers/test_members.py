import numpy as np
import pytest

from keras_hyperens.layers.members import join_members
from keras_hyperens.layers.members import split_members
from keras_hyperens.layers.members import tile_members


def test_rows_are_member_major():
    batch = np.arange(6.0).reshape(3, 2)
    rows = tile_members(batch, 2)
    np.testing.assert_array_equal(rows, np.concatenate([batch, batch]))
    members = split_members(rows, 2)
    assert members.shape == (2, 3, 2)
    for member in members:
        np.testing.assert_array_equal(member, batch)
    np.testing.assert_array_equal(join_members(members), rows)


def test_wrong_numbers_of_rows_are_named():
    with pytest.raises(ValueError, match="Received: 7 samples"):
        split_members(np.zeros((7, 2)), 2)
    with pytest.raises(ValueError, match="8 here. Received: 6 outputs"):
        split_members(np.zeros((6, 2)), 2, 4)
