"""Landmarks on the scan of an unknown head, whatever its unit and, within 30 degrees, its pose.

1. The scan is drawn as a relief from 27 directions, and the relief of the known face is looked for in each at every
   place and at several sizes: the global search, which no bad start can mislead.
2. The best of the places are refined by trimmed closest points; the one whose surface agrees best is the face.
3. The known face's identities are fitted there, then what is left is followed smoothly; its landmarks are read off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from visemo.face.face import Face
from visemo.face.relief import ALL_TILTS, STRAIGHT, Cloud, Pose, Tilt, search
from visemo.geometry.mesh import vertex_normals
from visemo.types import Mesh, VisemoError

Float64 = NDArray[np.float64]

SAMPLES = 40_000  # points of the scan
PROBES = 700  # points of the known face
QUICK = 4  # the first rounds use every fourth of the probes
FINALISTS = 3  # places that a face is fitted at
CHIN, JAWLINE = 8, 16  # the chin, and the last of the numbers along the jaw, which lie too far back
NEAR = 0.36  # spans from a landmark that belong to the face's patch
FACING = 0.5  # cosine between normals of points that may be each other's
KEPT = 0.85  # of the closest points, the rest is trimmed
LONGER = 0.1  # share by which a stretched head may be longer or deeper still: one deviation
REFINE, FIT, FOLLOW = 25, 25, 6  # rounds
DOUBT = 0.06  # spans, of the fit to an identity: how strongly an unlikely face is held back
# of the axes, tried in turn until a face is found: some data sets scale each axis of a head to -1..1
STRETCHES = ((1.0, 1.0, 1.0), (0.55, 1.0, 0.7), (0.7, 1.0, 0.85))
# disagreement with which the first look is believed, that ends the search, beyond which nothing is a face, and beyond
# which no stretching will make it one
SURE, GOOD, LOST, HOPELESS = 0.30, 0.40, 0.50, 0.90


@dataclass(frozen=True, eq=False)
class _Known:
    """The known face in its own units: what is looked for. Lengths in spans between the outer corners of the eyes."""

    patch: Cloud  # the probes
    modes: Float64  # (I, N, 3) how identities move the probes
    spots: Float64  # (L, 3) landmarks
    spot_modes: Float64  # (I, L, 3)
    numbers: tuple[int, ...]


def find_landmarks(mesh: Mesh, face: Face) -> dict[int, tuple[float, float, float]]:
    """Where a known face's landmarks are on the scan of another head.

    Parameters
    ----------
    mesh : a head or a face in any unit, upright and frontal within about 30 degrees (+y up, +z out of the face);
        hair, neck and shoulders may be there.
    face : with landmarks, among them the outer corners of the eyes (36, 45); its identities help where it has some.

    Returns
    -------
    iBUG number -> point (x, y, z) on the mesh, in its own unit.

    Raises
    ------
    VisemoError
        When the mesh has no triangles, the face no landmarks, or nothing on the mesh looks like a face.
    """
    scan = _sampled(mesh)
    least, found = np.inf, {}
    for stretch in STRETCHES:
        known = _known(face, loose=stretch != STRETCHES[0])
        cost, spots = _found(known, _stretched(scan, np.array(stretch)))
        if cost < least:
            least, found = cost, {number: spot / stretch for number, spot in spots.items()}
        if least < GOOD or cost > HOPELESS:
            break
    if least > LOST:
        raise VisemoError(
            "landmarks: got a mesh on which no face was found, expected a head that looks along +z with +y up, within "
            "30 degrees; turn it, or give landmarks by hand"
        )
    return {number: (float(x), float(y), float(z)) for number, (x, y, z) in found.items()}


def _found(known: _Known, scan: Cloud) -> tuple[float, dict[int, Float64]]:
    """Where the known face lies best on a scan: how badly it does, and its landmarks there."""
    tree = KDTree(scan.points)
    cost, pose, weights = np.inf, Pose(1.0, np.eye(3), np.zeros(3)), np.zeros(len(known.modes))
    for tilts in (STRAIGHT, ALL_TILTS):  # most heads look straight ahead
        cost, pose, weights = _best(known, scan, tree, tilts)
        if cost < SURE:
            break
    return cost, _read_off(known, weights, scan, tree, pose)


def _best(known: _Known, scan: Cloud, tree: KDTree, tilts: Sequence[Tilt]) -> tuple[float, Pose, Float64]:
    """The fit that agrees best with the scan, of those that the search from some directions leads to."""
    quick = Cloud(known.patch.points[::QUICK], known.patch.normals[::QUICK])
    tried = [_refined(quick, scan, tree, start) for start in search(known.patch, scan, tilts)]
    tried.sort(key=lambda pose: _disagreement(quick, scan, tree, pose))
    best = [_refined(known.patch, scan, tree, pose) for pose in tried[:FINALISTS]]
    fits = [_fitted(known, scan, tree, pose) for pose in best]
    costs = [_disagreement(_shaped(known, weights), scan, tree, pose) for pose, weights in fits]
    first = int(np.argmin(costs))
    return costs[first], *fits[first]


def _stretched(scan: Cloud, stretch: Float64) -> Cloud:
    normals = scan.normals / stretch
    return Cloud(scan.points * stretch, normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _known(face: Face, loose: bool = False) -> _Known:
    """What is looked for; `loose` lets it be longer and deeper than its identities make it."""
    numbers = tuple(sorted(face.landmarks))
    if not {36, 45} <= set(numbers):
        raise VisemoError(f"face {face.name}: got landmarks {list(numbers)}, expected at least 36 and 45; name another")
    spots = np.array([face.landmarks[number] for number in numbers])
    points = face.template.astype(np.float64)
    ends = points[[face.landmarks[36], face.landmarks[45]]]
    span, middle = float(np.linalg.norm(ends[1] - ends[0])), points[spots].mean(axis=0)
    normals = vertex_normals(face.template, face.triangles).astype(np.float64)
    front = points[[vertex for number, vertex in face.landmarks.items() if number == CHIN or number > JAWLINE]]
    near = KDTree(front).query(points)[0] < NEAR * span
    near &= normals[:, 2] > -0.2  # not what is folded inwards: lids, the inside of lips
    patch = _thinned(points, np.flatnonzero(near))
    modes = np.zeros((0, *points.shape)) if face.identities is None else face.identities.astype(np.float64)
    if loose:
        longer, deeper = ((points - middle) * LONGER * axis for axis in np.eye(3)[1:])
        modes = np.concatenate([modes, [longer, deeper]])
    return _Known(
        Cloud((points[patch] - middle) / span, normals[patch]),
        modes[:, patch] / span,
        (points[spots] - middle) / span,
        modes[:, spots] / span,
        numbers,
    )


def _thinned(points: Float64, rows: NDArray) -> NDArray:
    """About PROBES of some rows, evenly spread: one of each cell of a grid."""
    cell = 2.0 * np.sqrt(np.ptp(points[rows, 0]) * np.ptp(points[rows, 1]) / PROBES) / 1.7
    _, first = np.unique(np.round(points[rows] / cell).astype(int), axis=0, return_index=True)
    return rows[np.sort(first)]


def _sampled(mesh: Mesh) -> Cloud:
    """SAMPLES points spread evenly over the surface; the same ones every time."""
    if not len(mesh.triangles):
        raise VisemoError("landmarks: got a mesh without triangles, expected a surface; make one of the points first")
    points = mesh.vertices.astype(np.float64)
    normals = vertex_normals(mesh.vertices, mesh.triangles).astype(np.float64)
    corners = points[mesh.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not area.sum() > 0:
        raise VisemoError("landmarks: got a mesh without area, expected the surface of a head")
    chance = np.random.default_rng(0)
    which = np.searchsorted(np.cumsum(area) / area.sum(), (np.arange(SAMPLES) + chance.random(SAMPLES)) / SAMPLES)
    which = np.minimum(which, len(area) - 1)
    a, b = np.sort(chance.random((2, SAMPLES)), axis=0)
    share = np.stack([a, b - a, 1 - b], axis=1)[:, :, None]
    direction = (normals[mesh.triangles[which]] * share).sum(axis=1)
    length = np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    return Cloud((corners[which] * share).sum(axis=1), direction / length)


# --- 2: closest points --------------------------------------------------------------------------------


def _offsets(patch: Cloud, scan: Cloud, tree: KDTree, pose: Pose) -> tuple[NDArray, Float64, Float64]:
    """The probes that have a partner, the partners in the known face's frame, and the distances along their normals.

    A partner is near and faces the same way; the farthest are trimmed.
    """
    distance, near = map(np.asarray, tree.query(pose(patch.points)))
    facing = (scan.normals[near] * (patch.normals @ pose.rotation.T)).sum(axis=1)
    good = np.flatnonzero(facing > FACING)
    if len(good) < 20:
        return good[:0], np.zeros((0, 3)), np.zeros(0)
    good = good[distance[good] <= np.quantile(distance[good], KEPT)]
    partner = pose.back(scan.points[near[good]])
    normal = scan.normals[near[good]] @ pose.rotation
    return good, normal, ((partner - patch.points[good]) * normal).sum(axis=1)


def _disagreement(patch: Cloud, scan: Cloud, tree: KDTree, pose: Pose) -> float:
    """How badly a posed face lies on the scan, all probes counted: distances up to 0.1 spans, and directions."""
    distance, near = map(np.asarray, tree.query(pose(patch.points)))
    facing = (scan.normals[near] * (patch.normals @ pose.rotation.T)).sum(axis=1)
    return float(np.minimum(distance / pose.size / 0.1, 1.0).mean() + 0.5 * (1 - facing).mean())


def _twists(points: Float64, normal: Float64) -> Float64:
    """(N, 7) how the distances along the normals answer to a rotation, a shift and a growth of the known face."""
    return np.concatenate([np.cross(points, normal), normal, (points * normal).sum(axis=1)[:, None]], axis=1)


def _refined(patch: Cloud, scan: Cloud, tree: KDTree, pose: Pose) -> Pose:
    """The place after trimmed point-to-plane steps."""
    start = pose.size
    for _ in range(REFINE):
        rows, normal, off = _offsets(patch, scan, tree, pose)
        if not len(rows):
            break
        system = _twists(patch.points[rows], normal)
        damp = len(rows) * np.diag([1e-4] * 6 + [1e-3])
        step = np.linalg.solve(system.T @ system + damp, system.T @ off)
        step = np.concatenate([np.clip(step[:3], -0.2, 0.2), step[3:]]).astype(np.float64)
        pose = pose.then(step)
        if not 0.7 < pose.size / start < 1.4:  # ran away: a patch that shrinks fits anywhere
            pose = Pose(float(np.clip(pose.size, 0.7 * start, 1.4 * start)), pose.rotation, pose.shift)
        if np.abs(step).max() < 1e-5:
            break
    return pose


# --- 3: the identity, and what is left -----------------------------------------------------------------


def _shaped(known: _Known, weights: Float64) -> Cloud:
    return Cloud(known.patch.points + np.tensordot(weights, known.modes, 1), known.patch.normals)


def _fitted(known: _Known, scan: Cloud, tree: KDTree, pose: Pose) -> tuple[Pose, Float64]:
    """Place and identity together, by trimmed point-to-plane steps; unlikely identities are held back."""
    weights = np.zeros(len(known.modes))
    for _ in range(FIT):
        patch = _shaped(known, weights)
        rows, normal, off = _offsets(patch, scan, tree, pose)
        if not len(rows):
            break
        moved = np.einsum("inc,nc->ni", known.modes[:, rows], normal)
        system = np.concatenate([_twists(patch.points[rows], normal), moved], axis=1)
        doubt = len(rows) * DOUBT**2 / 20
        damp = np.diag([1e-6 * len(rows)] * 7 + [doubt] * len(weights))
        pull = system.T @ off
        pull[7:] -= doubt * weights
        step = np.linalg.solve(system.T @ system + damp, pull)
        pose = pose.then(np.asarray(step[:7], np.float64))
        weights = np.clip(weights + step[7:], -3, 3)
    return pose, weights


def _read_off(known: _Known, weights: Float64, scan: Cloud, tree: KDTree, pose: Pose) -> dict[int, Float64]:
    """The landmarks after what the identities leave has been followed smoothly, on the scan's surface."""
    patch = _shaped(known, weights)
    spots = known.spots + np.tensordot(weights, known.spot_modes, 1)
    for reach in np.geomspace(0.3, 0.08, FOLLOW):
        rows, normal, off = _offsets(patch, scan, tree, pose)
        if not len(rows):
            break
        pull = normal * off[:, None]
        source = KDTree(patch.points[rows])
        patch = Cloud(patch.points + _smooth(source, pull, patch.points, reach), patch.normals)
        spots = spots + _smooth(source, pull, spots, reach)
    distance, near = map(np.asarray, tree.query(pose(spots)))
    placed = pose(spots)
    above = ((placed - scan.points[near]) * scan.normals[near]).sum(axis=1, keepdims=True) * scan.normals[near]
    placed = np.where(distance[:, None] < 0.15 * pose.size, placed - above, placed)
    return dict(zip(known.numbers, placed))


def _smooth(source: KDTree, pull: Float64, at: Float64, reach: float) -> Float64:
    """A field (n, 3) known at the source's points as its mean around others, weighted by a bell of width `reach`."""
    distance, near = map(np.asarray, source.query(at, k=min(24, len(pull))))
    weight = np.exp(-0.5 * (distance / (0.5 * reach)) ** 2) + 1e-6
    return (pull[near] * weight[..., None]).sum(axis=1) / weight.sum(axis=1, keepdims=True)
