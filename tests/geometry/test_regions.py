"""Vertex weights omega of Eq. 11."""

import numpy as np

from visemo.geometry.regions import vertex_weights


def test_lips_eyes_brows_and_the_rest():
    regions = {"lips": np.array([0, 1], np.int32), "eyes": np.array([1, 2], np.int32), "jaw": np.array([4], np.int32)}
    weights = vertex_weights(regions, 5)
    assert weights.dtype == np.float32
    assert weights.tolist() == [4, 4, 2, 1, 1], "the larger weight wins, other regions stay at 1"
    assert vertex_weights(regions, 5, lips=1, eyes=3).tolist() == [1, 3, 3, 1, 1]
    assert vertex_weights({}, 2).tolist() == [1, 1]
