"""The built-in head's landmarks lie where the iBUG scheme has them."""

import numpy as np
import pytest

from visemo.face.builtin.landmarks import OTHER_SIDE
from visemo.face.library import load_face


@pytest.fixture(scope="module")
def head():
    return load_face("builtin")


def test_they_are_8_and_17_to_67_alike_on_both_sides(head):
    assert list(head.landmarks) == [8, *range(17, 68)]
    for left, right in OTHER_SIDE.items():
        assert head.mirror[head.landmarks[left]] == head.landmarks[right] and head.template[head.landmarks[left], 0] > 0
    middle = set(head.landmarks) - set(OTHER_SIDE) - set(OTHER_SIDE.values())
    assert middle == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}
    assert all(head.template[head.landmarks[number], 0] == 0 for number in middle)


def test_they_are_on_what_they_are_named_after(head):
    at = {number: head.template[vertex] for number, vertex in head.landmarks.items()}
    for numbers, region in ((range(17, 27), "brows"), (range(36, 48), "lids"), (range(48, 68), "lips")):
        members = head.template[head.regions[region]]
        for number in numbers:
            assert np.linalg.norm(members - at[number], axis=1).min() < 6e-3, number
    assert at[30][2] == head.template[:, 2].max()  # the tip of the nose
    assert [at[n][1] for n in (27, 28, 29, 30, 33)] == sorted((at[n][1] for n in (27, 28, 29, 30, 33)), reverse=True)
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        assert np.linalg.norm(at[upper] - at[lower]) < 3e-5  # the lips touch
    assert at[37][1] > at[41][1] and at[36][0] < at[39][0] < 0 < at[42][0] < at[45][0]
    assert at[8][1] < at[57][1] < at[66][1] < at[51][1] < at[33][1]
    assert 0.085 < np.linalg.norm(at[45] - at[36]) < 0.1
