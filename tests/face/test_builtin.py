"""The built-in head: its topology, its symmetry, and what its shapes promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import KDTree

from visemo.face import builtin
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.builtin import build_face, builtin_face
from visemo.face.builtin.form import gradient, skin
from visemo.face.builtin.layout import half_layout
from visemo.face.builtin.sculpt import EYE_CENTRE, EYE_RADIUS
from visemo.face.face import Face
from visemo.units import MM_PER_M

SIDE = np.array([-1, 1, 1], np.float32)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Face:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISEMO_CACHE", str(tmp_path_factory.mktemp("cache")))
        builtin_face.cache_clear()
        yield builtin_face()
        builtin_face.cache_clear()


def posed(face: Face, **weights: float) -> np.ndarray:
    """Vertices (V, 3) in mm."""
    vertices = face.template.astype(np.float64)
    for name, weight in weights.items():
        vertices += weight * face.shape(name)
    return vertices * MM_PER_M


def lip_gaps(face: Face, **weights: float) -> np.ndarray:
    vertices = posed(face, **weights)
    return np.linalg.norm(vertices[face.lip_pairs[:, 0]] - vertices[face.lip_pairs[:, 1]], axis=1)


def edges(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Undirected edges (E, 2) and how many triangles share each."""
    t = face.triangles
    sides = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    return np.unique(sides, axis=0, return_counts=True)


def loops(face: Face) -> list[list[int]]:
    """Boundary loops by walking the directed edges that have no opposite."""
    t = face.triangles
    directed = {tuple(e) for e in np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]).tolist()}
    after = {a: b for a, b in directed if (b, a) not in directed}
    found = []
    while after:
        start, here = next(iter(after.items()))
        loop = [start]
        del after[start]
        while here != start:
            loop.append(here)
            here = after.pop(here)
        found.append(loop)
    return sorted(found, key=len)


def eye_loops(face: Face) -> list[np.ndarray]:
    """Rows of the loops of the left and the right eye's hole."""
    x = [(float(face.template[loop, 0].mean()), np.array(loop)) for loop in loops(face)]
    return [next(loop for mean, loop in x if mean > 0.02), next(loop for mean, loop in x if mean < -0.02)]


def test_size_and_count(face: Face):
    assert 8_000 <= len(face.template) <= 12_000
    low, high = face.template.min(axis=0), face.template.max(axis=0)
    assert 0.13 <= high[0] - low[0] <= 0.16
    left, right = (part.vertices.mean(axis=0) for part in face.parts if part.name.startswith("eye_"))
    assert abs(left - right)[0] == pytest.approx(0.063, abs=0.002)
    head = next(part for part in face.parts if part.name == "head")
    assert head.vertices[:, 1].max() - low[1] == pytest.approx(0.23, abs=0.015)
    rim = face.template[face.lip_pairs[:, 0]]
    assert 0.042 <= np.ptp(rim[:, 0]) <= 0.055


def test_topology_is_kept(face: Face):
    """Trained models and stored takes name it: refining the form must not change it."""
    assert face.topology_hash == "e0ebddf4531bd067"


def test_exactly_symmetric(face: Face):
    mirror = face.mirror
    assert np.array_equal(face.template[mirror], face.template * SIDE)
    middle = mirror == np.arange(len(mirror))
    assert (face.template[middle, 0] == 0).all() and middle.sum() > 50
    there = {tuple(sorted(t)) for t in face.triangles.tolist()}
    assert there == {tuple(sorted(t)) for t in mirror[face.triangles].tolist()}
    assert np.array_equal(face.colors[mirror], face.colors)
    assert np.array_equal(face.identities[:, mirror], face.identities * SIDE)


def test_no_triangle_crosses_the_middle(face: Face):
    x = face.template[face.triangles][:, :, 0]
    assert not ((x.max(axis=1) > 0) & (x.min(axis=1) < 0)).any()


def test_shapes_are_mirror_images(face: Face):
    for name in ARKIT_NAMES:
        other = name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")
        assert np.array_equal(face.shape(other), face.shape(name)[face.mirror] * SIDE), name


def test_a_disc_with_three_holes(face: Face):
    pairs, shared = edges(face)
    assert shared.max() == 2
    assert len(loops(face)) == 4
    assert len(np.unique(face.triangles)) == len(face.template)
    euler = len(face.template) - len(pairs) + len(face.triangles)
    assert euler == 1 - 3
    mouth = next(loop for loop in loops(face)[:3] if abs(face.template[loop, 0].mean()) < 1e-6)
    rim_depth = face.template[face.lip_pairs.ravel(), 2].mean()
    assert face.template[mouth, 2].mean() < rim_depth - 0.004  # the hole's edge lies inside the mouth


def test_triangles_are_sound_and_face_outwards(face: Face):
    corners = face.template.astype(np.float64)[face.triangles] * MM_PER_M
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1) / 2
    assert area.min() > 0.02  # mm2
    ringed = np.isin(face.triangles, np.concatenate([face.regions["mouth"], face.regions["eyes"]])).any(axis=1)
    outward = gradient(corners[~ringed].mean(axis=1))
    cosine = (outward * normal[~ringed]).sum(axis=1) / np.linalg.norm(outward, axis=1) / (2 * area[~ringed])
    assert cosine.min() > 0.2


def test_free_vertices_lie_on_the_skin(face: Face):
    ringed = np.zeros(len(face.template), bool)
    ringed[np.concatenate([face.regions["mouth"], face.regions["eyes"]])] = True
    assert np.abs(skin(posed(face)[~ringed])).max() < 0.3


def test_lip_pairs(face: Face):
    upper, lower = posed(face)[face.lip_pairs[:, 0]], posed(face)[face.lip_pairs[:, 1]]
    assert len(face.lip_pairs) >= 21 and len(face.lip_pairs) % 2 == 1
    assert lip_gaps(face).max() < 0.2
    assert (upper[:, 1] >= lower[:, 1]).all()
    assert upper[len(upper) // 2, 0] == 0.0
    assert (np.diff(upper[:, 0]) > 0).all()
    steps = np.linalg.norm(np.diff(upper, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.25
    lips = set(face.regions["lips"].tolist())
    assert lips.issuperset(face.lip_pairs.ravel().tolist())


def test_regions_and_names(face: Face):
    assert {
        "lips",
        "upper_lip",
        "lower_lip",
        "mouth",
        "eyes",
        "lids",
        "brows",
        "forehead",
        "nose",
        "cheeks",
        "jaw",
        "upper_face",
        "border",
    } <= set(face.regions)
    assert all(len(indices) > 30 for indices in face.regions.values())
    for indices in face.regions.values():
        assert set(face.mirror[indices].tolist()) == set(indices.tolist())
    assert face.shape_names == ARKIT_NAMES
    assert (face.colors >= 0).all() and (face.colors <= 1).all()


def test_jaw_opens_and_mouth_close_shuts_it(face: Face):
    assert 30 <= lip_gaps(face, jawOpen=1).max() <= 42
    for weight in (0.3, 1.0):
        vertices = posed(face, jawOpen=weight, mouthClose=weight)
        assert lip_gaps(face, jawOpen=weight, mouthClose=weight).mean() < 0.5
        assert (vertices[face.lip_pairs[:, 0], 1] - vertices[face.lip_pairs[:, 1], 1]).min() > -0.1


@pytest.mark.parametrize(
    "name",
    ["mouthPucker", "mouthPressLeft", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
     "mouthSmileLeft", "mouthFrownLeft", "mouthDimpleLeft", "mouthStretchLeft", "mouthLeft", "cheekPuff",
     "noseSneerLeft"],
)  # fmt: skip
def test_sealing_shapes_keep_the_lips_together(face: Face, name: str):
    assert np.abs(face.shape(name)).max() > 1e-3
    assert lip_gaps(face, **{name: 1.0}).max() < 0.5


def test_blink_closes_over_the_ball(face: Face):
    left_rim = half_layout().eye[1]
    for side, loop, centre in zip(("Left", "Right"), eye_loops(face), (EYE_CENTRE, EYE_CENTRE * SIDE), strict=True):
        lids = np.setdiff1d(face.regions["lids"], loop)
        lids = lids[face.template[lids, 0] * centre[0] > 0]
        for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
            vertices = posed(face, **{f"eyeBlink{side}": weight})
            assert np.linalg.norm(vertices[lids] - centre, axis=1).min() >= EYE_RADIUS, weight
        shut = posed(face, **{f"eyeBlink{side}": 1.0})
        rim = left_rim
        rim = rim if side == "Left" else face.mirror[rim]
        gap = np.linalg.norm(shut[rim] - shut[rim[-np.arange(len(rim)) % len(rim)]], axis=1)
        assert gap.max() < 0.3


SUMS = [
    {"jawOpen": 1.0, "mouthClose": 1.0},
    {"jawOpen": 0.7, "mouthFunnel": 1.0},
    {"jawOpen": 0.3, "mouthRollLower": 1.0},
    {"jawOpen": 0.6, "mouthSmile": 1.0},
    {"jawOpen": 0.5, "mouthClose": 0.5, "mouthSmile": 1.0},
    {"jawOpen": 0.5, "mouthClose": 0.5, "mouthPucker": 1.0},
    {"mouthSmile": 1.0, "mouthPucker": 1.0},
    {"mouthFunnel": 1.0, "mouthPucker": 1.0},
    {"mouthPress": 1.0, "mouthSmile": 1.0},
    {"mouthPress": 1.0, "mouthSmile": 1.0, "mouthRollLower": 1.0},
    {"mouthRollUpper": 1.0, "mouthRollLower": 1.0},
    {"mouthFrown": 1.0, "mouthShrugLower": 1.0, "mouthShrugUpper": 1.0},
    {"mouthPress": 1.0, "cheekPuff": 1.0},
]


def both_sides(total: dict[str, float]) -> dict[str, float]:
    """A sum by stems as one by shapes."""
    return {
        name: w for stem, w in total.items() for name in ARKIT_NAMES if name in (stem, stem + "Left", stem + "Right")
    }


@pytest.mark.parametrize("total", SUMS, ids="+".join)
def test_lips_do_not_cross_in_sums(face: Face, total: dict[str, float]):
    vertices = posed(face, **both_sides(total))
    over = vertices[face.lip_pairs[:, 1], 1] - vertices[face.lip_pairs[:, 0], 1]
    assert np.maximum(over, 0).mean() < 0.2
    if total.get("jawOpen", 0) == total.get("mouthClose", 0) and "mouthFunnel" not in total:
        assert lip_gaps(face, **both_sides(total)).max() < 0.5


@pytest.mark.parametrize("total", [total for total in SUMS if "jawOpen" not in total], ids="+".join)
def test_the_mouths_bag_stays_under_the_skin_in_sums(face: Face, total: dict[str, float]):
    vertices, weights = posed(face, **both_sides(total)), both_sides(total)
    bag = next(part for part in face.parts if part.name == "mouth")
    moved = bag.vertices + sum(w * bag.shapes[ARKIT_NAMES.index(name)] for name, w in weights.items())
    moved = moved * MM_PER_M
    chin = np.flatnonzero((face.template[:, 1] < -0.045) & (np.abs(face.template[:, 0]) < 0.02))
    below = moved[(bag.vertices[:, 1] < -0.050) & (np.abs(bag.vertices[:, 0]) < 0.015) & (bag.vertices[:, 2] > 0.09)]
    nearest = KDTree(vertices[chin, :2]).query(below[:, :2], k=3)[1]
    assert (below[:, 2] < vertices[chin, 2][nearest].min(axis=1)).all()


@pytest.mark.parametrize("name", ["mouthSmileLeft", "mouthFrownLeft", "mouthStretchLeft", "mouthDimpleLeft"])
def test_corners_stay_round(face: Face, name: str):
    """What pulls a corner takes its surroundings along: the last 4 mm of the lips' line hardly stretch."""
    rim = face.lip_pairs[-3:, 0]
    move = face.shape(name)[rim] * MM_PER_M
    whole = np.linalg.norm(face.shape(name)[face.lip_pairs[:, 0]], axis=1).max() * MM_PER_M
    assert np.linalg.norm(move[-1] - move[0]) < 0.3 * whole


UPPER_LEFT = [n for n in ARKIT_NAMES if n.startswith(("eye", "brow", "cheek", "nose")) and "Right" not in n]


@pytest.mark.parametrize("name", UPPER_LEFT)
def test_lids_stay_outside_the_ball(face: Face, name: str):
    lids = np.setdiff1d(face.regions["lids"], np.concatenate(eye_loops(face)))
    centre = np.where(face.template[lids, :1] > 0, EYE_CENTRE, EYE_CENTRE * SIDE)
    assert np.linalg.norm(posed(face, **{name: 1.0})[lids] - centre, axis=1).min() >= EYE_RADIUS


SQUINTS = [
    {"eyeSquintLeft": 0.5},
    {"eyeSquintLeft": 1.0},
    {"eyeSquintLeft": 1.0, "cheekSquintLeft": 1.0},
    {"eyeSquintLeft": 1.0, "browDownLeft": 1.0, "noseSneerLeft": 1.0},
    {"eyeSquintLeft": 0.7, "mouthSmileLeft": 1.0, "cheekSquintLeft": 0.8},
    {"eyeLookDownLeft": 1.0},
]


@pytest.mark.parametrize("extra", SQUINTS, ids="+".join)
def test_a_blink_in_a_squint_hides_the_lower_lid(face: Face, extra: dict[str, float]):
    """The sum closes further than the lids have room; then the upper lid lies in front, and both clear of the ball."""
    rings = half_layout().eye
    for blink in (0.5, 0.75, 1.0):
        vertices = posed(face, eyeBlinkLeft=blink, **extra) - EYE_CENTRE
        assert np.linalg.norm(vertices[rings[1:8]], axis=2).min() >= EYE_RADIUS
    edge, upper, lower = vertices[rings[1, 1:26]], vertices[rings[1:8, :27]], vertices[rings[1:4, 27:]].reshape(-1, 3)
    assert (vertices[rings[1, :26:-1], 1] - edge[:, 1]).max() < 4.5
    edge = edge[np.argsort(edge[:, 0])]
    hidden = lower[lower[:, 1] > np.interp(lower[:, 0], edge[:, 0], edge[:, 1]) + 0.1]
    cover = LinearNDInterpolator(upper.reshape(-1, 3)[:, :2], np.linalg.norm(upper, axis=2).ravel())(hidden[:, :2])
    assert len(hidden) > 10 and np.nanmin(cover - np.linalg.norm(hidden, axis=1)) > -0.15  # mm


def test_displacement_ends_before_the_border(face: Face):
    border = np.array(loops(face)[-1])
    assert not face.shapes[:, border].any() and not face.identities[:, border].any()
    pairs = edges(face)[0]
    across = pairs[np.isin(pairs, border).any(axis=1)]
    rest = np.linalg.norm(np.diff(face.template[across], axis=1), axis=2)
    for shape in face.shapes:
        length = np.linalg.norm(np.diff((face.template + shape)[across], axis=1), axis=2)
        assert (length / rest).max() < 1.5


def test_identities_differ_and_leave_lips_and_eyes_alone(face: Face):
    assert len(face.identity_names) == len(set(face.identity_names)) >= 20
    size = np.linalg.norm(face.identities, axis=2).max(axis=1) * MM_PER_M
    assert size.min() > 1.2 and size.max() < 8.0
    flat = face.identities.reshape(len(size), -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert (np.abs(unit @ unit.T) - np.eye(len(unit))).max() < 0.95
    parted = face.identities[:, face.lip_pairs[:, 0]] - face.identities[:, face.lip_pairs[:, 1]]
    assert np.abs(parted).max() * MM_PER_M < 0.05
    holes = np.concatenate(eye_loops(face))
    assert np.abs(face.identities[:, holes]).max() * MM_PER_M < 0.2


def test_parts_follow(face: Face):
    parts = {part.name: part for part in face.parts}
    assert {
        "head",
        "eye_left",
        "eye_right",
        "teeth_upper",
        "teeth_lower",
        "tongue",
        "mouth",
        "ear_left",
        "ear_right",
    } <= set(parts)
    jaw = ARKIT_NAMES.index("jawOpen")
    assert not parts["teeth_upper"].shapes.any() and not parts["head"].shapes.any()
    lower = parts["teeth_lower"]
    moved = lower.vertices + lower.shapes[jaw]
    before, after = (np.linalg.norm(v - v.mean(axis=0), axis=1) for v in (lower.vertices, moved))
    np.testing.assert_allclose(before, after, atol=2e-6)  # the teeth are rigid
    tongue = parts["tongue"].shapes[ARKIT_NAMES.index("tongueOut")]
    assert tongue[:, 2].max() > 0.02


def test_hair_lies_on_the_skull_and_leaves_the_face_free(face: Face):
    hair = next(part for part in face.parts if part.name == "hair").vertices * MM_PER_M
    depth = skin(hair.astype(np.float64))
    assert depth.min() > -3 and np.median(depth) > 2  # mm outside the skin
    front = hair[hair[:, 2] > 50]
    assert front[:, 1].min() > 65  # above brows and eyes


def test_the_head_closes_without_folds(face: Face):
    """Every triangle of the head behind the mask looks outwards, also in the crease under the jaw."""
    head = next(part for part in face.parts if part.name == "head")
    corners = head.vertices.astype(np.float64)[head.triangles] * MM_PER_M
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = gradient(corners.mean(axis=1))
    cosine = (outward * normal).sum(axis=1) / np.linalg.norm(outward, axis=1) / np.linalg.norm(normal, axis=1)
    assert cosine.min() > 0.3


def test_seams_have_no_gap(face: Face):
    border = face.template[loops(face)[-1]]
    head = next(part for part in face.parts if part.name == "head")
    assert {tuple(v) for v in border.tolist()} <= {tuple(v) for v in head.vertices.tolist()}
    hole = np.array(next(loop for loop in loops(face)[:3] if abs(face.template[loop, 0].mean()) < 1e-6))
    mouth = next(part for part in face.parts if part.name == "mouth")
    for shape, part_shape in zip(face.shapes, mouth.shapes, strict=True):
        edge = {tuple(v) for v in (mouth.vertices + part_shape)[: len(hole)].round(7).tolist()}
        assert edge == {tuple(v) for v in (face.template + shape)[hole].round(7).tolist()}


def test_teeth_stay_behind_the_lips(face: Face):
    lips = face.regions["lips"]
    vertices = posed(face)
    for name in ("teeth_upper", "teeth_lower"):
        teeth = next(part for part in face.parts if part.name == name).vertices * MM_PER_M
        front = teeth[(np.abs(teeth[:, 0]) < 22) & (teeth[:, 1] > -46) & (teeth[:, 1] < -34)]
        for tooth in front:
            near = lips[np.argsort(np.hypot(*(vertices[lips, :2] - tooth[:2]).T))[:6]]
            assert tooth[2] < vertices[near, 2].max()


def test_cache_round_trip_and_damage(face: Face, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(builtin, "build_face", lambda: face)
    builtin_face.cache_clear()
    built = builtin_face()
    (file,) = (tmp_path / "new").glob("builtin_*.npz")
    builtin_face.cache_clear()
    assert builtin_face().hash == built.hash == face.hash
    file.write_bytes(file.read_bytes()[:5000])
    builtin_face.cache_clear()
    again = builtin_face()
    assert again.hash == built.hash and np.array_equal(again.shapes, built.shapes)
    assert len(file.read_bytes()) > 1_000_000  # mended
    builtin_face.cache_clear()
    loaded = builtin_face()
    for part, other in zip(loaded.parts, built.parts, strict=True):
        assert part.name == other.name and part.gloss == other.gloss and np.array_equal(part.shapes, other.shapes)
    builtin_face.cache_clear()


def test_no_cache_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path, face: Face):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("VISEMO_CACHE", str(blocked / "below"))
    monkeypatch.setattr(builtin, "build_face", lambda: face)
    builtin_face.cache_clear()
    assert builtin_face() is face
    builtin_face.cache_clear()


def test_deterministic(face: Face):
    again = build_face()
    assert again.hash == face.hash
    assert np.array_equal(again.shapes, face.shapes)
