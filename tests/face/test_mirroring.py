"""Mirror images: planted ones come back, on sides that differ too, and a face without is refused."""

import numpy as np
import pytest

from visemo.face.library import load_face
from visemo.face.mirroring import mirror_pairs
from visemo.geometry.mesh import boundary_loops
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def head():
    return load_face("builtin")


def test_the_built_in_head_s_own_pairs_come_back(head):
    """Its lips lie on each other to 0.02 mm: place alone could not tell upper from lower."""
    assert np.array_equal(mirror_pairs(head.template, head.triangles), head.mirror)


@pytest.mark.parametrize("seed, unit", [(1, 1.0), (2, 1000.0)])
def test_sides_that_differ_and_any_unit_or_order(head, seed, unit):
    points, triangles, mirror = head.template.astype(np.float64), head.triangles, head.mirror
    chance = np.random.default_rng(seed)
    bend = 0.001 * chance.normal(size=3)  # m: a head turned and bent to one side
    crooked = points + np.outer(points[:, 1] / 0.1, bend) + np.outer((points[:, 0] / 0.07) ** 2, 0.5 * bend)
    order = chance.permutation(len(points))
    place = np.argsort(order)
    found = mirror_pairs((unit * crooked[order]).astype(np.float32), place[triangles].astype(np.int32), complete=False)
    assert np.array_equal(found[found], np.arange(len(points)))
    assert (found != place[mirror[order]]).mean() < 0.002


def test_a_face_without_a_mirror_image_is_refused_or_paired_with_itself(head):
    keep = (head.template[head.triangles][:, :, 0] > -0.03).any(axis=1)  # a part of its right is missing
    used, triangles = np.unique(head.triangles[keep], return_inverse=True)
    vertices, triangles = head.template[used], triangles.reshape(-1, 3).astype(np.int32)
    with pytest.raises(VisemoError, match=rf"of {len(used)} vertices without a mirror image in x = 0"):
        mirror_pairs(vertices, triangles)
    found = mirror_pairs(vertices, triangles, complete=False)
    assert np.array_equal(found[found], np.arange(len(used)))
    far = vertices[:, 0] > 0.045
    assert np.array_equal(found[far], np.flatnonzero(far))
    near = np.abs(vertices[:, 0]) < 0.015
    assert (used[found[near]] == head.mirror[used[near]]).mean() > 0.99
    assert len(boundary_loops(triangles)) > 1


def test_flame_and_ict_are_symmetric_by_their_edges(shared_data):
    flame = np.load(shared_data / "flame_open" / "flame2023_open_partial.npz")
    found = mirror_pairs(flame["v_template"], flame["faces"])  # its template is not symmetric, some quads neither
    assert (found == np.arange(len(found))).sum() < 130
    ict = np.load(shared_data / "ict" / "ict_facekit_head.npz")
    triangles = ict["faces_tri"][:18460]
    truth = mirror_pairs(ict["neutral"][:9409], triangles)
    exact = np.abs(ict["neutral"][:9409] * (-1, 1, 1) - ict["neutral"][truth]).max()
    assert exact < 0.01  # cm
    weights = np.random.default_rng(2).normal(size=20)
    person = ict["neutral"] + np.tensordot(weights, ict["identity_deltas"], 1)
    found = mirror_pairs(person[:9409].astype(np.float32), triangles)
    assert (found != truth).mean() < 0.002
