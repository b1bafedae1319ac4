"""FLAME's files in every layout, what is refused of them, and the face that is cut out."""

import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import python2
from face.flame_models import OPEN_PACK, open_model, random_arrays, random_model
from python2 import Ch
from visemo.assets import sha256
from visemo.evaluate.metrics import lip_gap
from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.face.flame import FlameModel, flame_face, read_flame, read_flame_landmarks, read_flame_masks
from visemo.face.flame_files import edition_of
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_topology import EYEBALLS, OUTLINE, fingerprint, flame_topology
from visemo.face.library import load_face, save_face
from visemo.face.maps import geometry_map, importance
from visemo.geometry.geomap import flatten, symmetric_triangles
from visemo.geometry.mesh import boundary_loops
from visemo.types import VisemoError
from visemo.units import MM_PER_M


def say(line: str) -> None:
    """Figures to read with `pytest -s`."""
    sys.stdout.write(f"{line}\n")


# ---------------------------------------------------------------- files


def published() -> dict:
    """A model's dictionary as FLAME's pickles hold it, chumpy, sparse regressor and unsigned numbers included."""
    arrays, chance = random_arrays(), np.random.default_rng(5)
    shapedirs = np.zeros((5023, 3, 400), np.float32)
    shapedirs[..., :3], shapedirs[..., 300:302] = arrays["shapedirs_identity3"], arrays["shapedirs_expression2"]
    shapedirs[..., 399] = chance.normal(size=(5023, 3))
    return {
        "f": arrays["faces"].astype(np.uint32),
        "v_template": Ch(arrays["v_template"]),
        "shapedirs": Ch(shapedirs),
        "posedirs": arrays["posedirs"],
        "J_regressor": sp.csc_matrix(arrays["J_regressor"]),
        "weights": Ch(arrays["weights"]),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "J": np.zeros((5, 3)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def test_a_pickle_as_published_is_read_without_chumpy(tmp_path):
    path = tmp_path / "flame2023_no_jaw.pkl"
    path.write_bytes(python2.dumps(published()))
    assert b"cchumpy.ch\nCh\n" in path.read_bytes() and "chumpy" not in sys.modules
    model, arrays = read_flame(path), random_model()
    for name in ("v_template", "triangles", "posedirs", "weights", "joint_regressor", "parents"):
        np.testing.assert_array_equal(getattr(model, name), getattr(arrays, name))
    assert (model.n_shape, model.n_expr, model.edition) == (300, 100, "2023 without jaw")
    np.testing.assert_array_equal(model.identities(3), arrays.identities())
    np.testing.assert_array_equal(model.expressions(2), arrays.expressions())
    assert model.expressions().shape == (5023, 3, 100) and model.expressions()[..., 99].any()


@pytest.fixture
def pack(tmp_path):
    """Writes an npz with some of its arrays replaced, or left out where they are None."""

    def write(**changes):
        arrays = {**random_arrays(), **changes}
        path = tmp_path / "pack.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


def test_an_npz_is_read(pack):
    model = read_flame(pack())
    assert model.hash == random_model().hash and model.edition == "unknown" and not model.landmarks
    table = published()
    whole = {"f": table["f"], "shapedirs": table["shapedirs"].x, "kintree_table": table["kintree_table"]}
    parts = dict.fromkeys(("faces", "shapedirs_identity3", "shapedirs_expression2", "kintree_parents"))
    model = read_flame(pack(**parts, **whole))
    assert (model.n_shape, model.n_expr) == (300, 100)
    assert model.hash != random_model().hash  # of other components: another space


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"posedirs": None, "weights": None}, "got no posedirs, weights, expected them beside J_regressor, faces"),
        ({"shapedirs_identity3": None, "shapedirs_expression2": None}, "got no shapedirs, expected"),
        ({"shapedirs_identity3": None}, "expected shapedirs too"),
        ({"v_template": np.zeros((5118, 3))}, "v_template: got 5118 rows, expected FLAME's 5023 vertices"),
        ({"v_template": np.float64(1)}, "v_template: got 0 rows"),
        ({"v_template": np.zeros((5023, 2))}, r"v_template: got shape \(5023, 2\), expected \(5023, 3\)"),
        ({"v_template": np.full((5023, 3), np.nan)}, "v_template: got NaN or infinite values"),
        ({"v_template": np.full((5023, 3), "x")}, "v_template: got <U1, expected numbers"),
        ({"faces": np.zeros((9976, 3))}, "f: got float64 up to 0.0, expected indices"),
        ({"faces": np.full((9976, 3), 5023)}, "f: got indices 5023..5023, expected 0..5022"),
        ({"faces": np.full((9976, 3), 2**40)}, "f: got int64 up to 1099511627776"),
        ({"faces": np.zeros((100, 3), np.int32)}, r"f: got shape \(100, 3\), expected \(9976, 3\)"),
        ({"shapedirs": np.zeros((5023, 3, 150))}, r"shapedirs: got shape \(5023, 3, 150\), expected \(5023, 3, 400\)"),
        ({"posedirs": np.zeros((5023, 3, 27))}, "posedirs: got shape"),
        ({"weights": np.zeros((5023, 4))}, "weights: got shape"),
        ({"weights": np.full((5023, 5), 0.3)}, "weights: got sums up to 0.5 away from 1"),
        ({"J_regressor": np.zeros((5, 11248))}, "J_regressor: got shape"),
        ({"kintree_parents": np.array([-1, 0, 3, 1, 1])}, r"kintree_table: got parents \[-1, 0, 3, 1, 1\]"),
        ({"kintree_parents": np.array([-1, 0, 1])}, "kintree_table: got shape"),
    ],
)
def test_what_is_no_flame_is_refused(pack, changes, said):
    with pytest.raises(VisemoError, match=f"pack.npz: .*{said}") as caught:
        read_flame(pack(**changes))
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "generic_model.pkl"
    with pytest.raises(VisemoError, match=r"generic_model\.pkl: no such file, expected one of FLAME's"):
        read_flame(path)
    path.write_bytes(b"cos\nsystem\n(S'touch'\ntR.")
    with pytest.raises(
        VisemoError, match=r"^[^:]*generic_model\.pkl: pickle asks for os\.system, expected arrays only"
    ):
        read_flame(path)
    path.write_bytes(python2.dumps([1, 2]))
    with pytest.raises(VisemoError, match=r"got a pickled list, expected a dictionary of arrays"):
        read_flame(path)
    path.write_bytes(python2.dumps({**published(), "J_regressor": sp.csc_matrix((200_000_000, 5))}))
    with pytest.raises(VisemoError, match=r"J_regressor: got shape \(200000000, 5\), expected a matrix of joints"):
        read_flame(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("v_template.npy", b"\x93NUMPY\x01\x00 no header")
    with pytest.raises(VisemoError, match="got no readable arrays"):
        read_flame(path)


def test_editions_are_told_by_their_names(tmp_path):
    names = ("flame2023_no_jaw.pkl", "flame2023_Open.pkl", "flame2023.pkl", "FLAME2020/female_model.pkl", "x.npz")
    told = [edition_of(tmp_path / name) for name in names]
    assert told == ["2023 without jaw", "2023 Open", "2023", "2016 to 2020, female", "unknown"]
    assert "CC BY 4.0" in replace(random_model(), edition="2023 Open").licence
    assert "non-commercial" in replace(random_model(), edition="2023").licence


def test_a_wish_for_what_is_not_there_is_refused(shared_data):
    model = open_model(shared_data)
    with pytest.raises(
        VisemoError, match=r"flame2023_open_partial\.npz: got a FLAME without expression components"
    ) as e:
        model.expressions(50)
    say(str(e.value))
    with pytest.raises(VisemoError, match="got a wish for 300 identity components, expected 0 to 60"):
        model.identities(300)


# ---------------------------------------------------------------- landmarks and masks


def test_landmarks_are_read_from_both_embeddings(tmp_path, shared_data):
    model = open_model(shared_data)
    assert sorted(model.landmarks) == list(range(17, 68))
    faces = np.array([model.landmarks[n][0] for n in range(17, 68)], np.uint32)
    weights = np.stack([model.landmarks[n][1] for n in range(17, 68)])
    path = tmp_path / "flame_static_embedding.pkl"
    path.write_bytes(python2.dumps({"lmk_face_idx": faces, "lmk_b_coords": weights.astype(np.float64)}))
    read = read_flame(shared_data / OPEN_PACK, landmarks=path)
    points, known = read.landmark_points(read.v_template), model.landmark_points(model.v_template)
    assert all(np.array_equal(points[n], known[n]) for n in range(17, 68))
    with np.load(shared_data / OPEN_PACK) as arrays:
        renamed = {key.removeprefix("mediapipe_"): arrays[key] for key in arrays if key.startswith("mediapipe_")}
    np.savez(tmp_path / "mediapipe.npz", **renamed)
    assert read_flame_landmarks(tmp_path / "mediapipe.npz").keys() == model.landmarks.keys()
    # and they are where they should be: the right eye of the face is at -x, the nose's tip before all else
    assert known[36][0] < known[39][0] < known[42][0] < known[45][0] and known[19][1] > known[37][1] > known[41][1]
    assert (
        max(known, key=lambda n: known[n][2]) == 30 and known[48][0] < 0 < known[54][0] and known[51][1] > known[57][1]
    )


def test_bad_landmarks_and_masks_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    good = {"lmk_face_idx": np.zeros(51, np.int32), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    for changes in ({"lmk_face_idx": np.full(51, 9976)}, {"lmk_b_coords": np.ones((51, 3))},
                    {"lmk_face_idx": np.zeros(17, int)}, {"lmk_face_idx": np.zeros(51)}):  # fmt: skip
        np.savez(path, **(good | changes))
        with pytest.raises(VisemoError, match=r"a\.npz: landmarks: got triangles .*, expected 51 of FLAME's"):
            read_flame_landmarks(path)
    np.savez(path, lmk_face_idx=np.zeros(51, int))
    with pytest.raises(VisemoError, match=r"a\.npz: got keys lmk_face_idx, expected lmk_b_coords too"):
        read_flame_landmarks(path)
    np.savez(path, landmark_indices=np.arange(478), lmk_face_idx=np.zeros(3, int), lmk_b_coords=np.ones((3, 3)))
    with pytest.raises(VisemoError, match=r"lmk_face_idx: got fewer rows than landmark_indices"):
        read_flame_landmarks(path)
    for members in (np.array([5023]), np.array([0.5]), np.zeros((2, 2), int)):
        np.savez(path, lips=members)
        with pytest.raises(VisemoError, match=r"a\.npz: got region lips .*, expected vertices 0..5022"):
            read_flame_masks(path)


def test_masks_say_where_the_regions_are(tmp_path, shared_data, face):
    chance, model = np.random.default_rng(2), open_model(shared_data)
    names = ("lips", "nose", "forehead", "left_eye_region", "right_eye_region", "scalp")
    planted = {name: chance.choice(5023, 700, replace=False) for name in names}
    (tmp_path / "FLAME_masks.pkl").write_bytes(python2.dumps(planted))
    masks = read_flame_masks(tmp_path / "FLAME_masks.pkl")
    masked = flame_face(model, masks)
    rows = masked.cut.rows
    assert masked.topology_hash == face.topology_hash and "scalp" not in masked.regions
    for name in ("lips", "nose", "forehead"):
        assert set(rows[masked.regions[name]]) == set(planted[name]) & set(rows)
    eyes = np.concatenate([planted["left_eye_region"], planted["right_eye_region"]])
    assert set(rows[masked.regions["eyes"]]) == set(eyes) & set(rows)
    upper, lower = masked.regions["upper_lip"], masked.regions["lower_lip"]
    assert np.array_equal(np.union1d(upper, lower), masked.regions["lips"])
    assert np.array_equal(masked.regions["cheeks"], face.regions["cheeks"])
    with pytest.raises(VisemoError, match=r"mask lips: got indices 5023\.\.5023, expected 0\.\.5022"):
        flame_face(model, {"lips": np.array([5023], np.int32)})


# ---------------------------------------------------------------- the face


@pytest.fixture(scope="module")
def model(shared_data) -> FlameModel:
    return open_model(shared_data)


@pytest.fixture(scope="module")
def face(model) -> Face:
    return flame_face(model)


def test_the_face_is_cut_from_the_whole(model, face):
    rows = face.cut.rows
    assert face.cut.topology == sha256(model.triangles)[:16] and (np.diff(rows) > 0).all()
    whole = {tuple(corners) for corners in model.triangles.tolist()}
    assert all(tuple(corners) in whole for corners in rows[face.triangles].tolist())
    moved = MM_PER_M * np.linalg.norm(face.template - model.v_template[rows], axis=1)
    assert moved.max() < 1.5 and set(np.flatnonzero(moved)) <= set(face.regions["lips"])
    np.testing.assert_array_equal(face.identities, np.moveaxis(model.identities()[rows], -1, 0))
    assert len(face.identity_names) == 60 and face.shape_names == () and "CC BY 4.0" in face.licence
    say(f"{len(rows)} vertices, {len(face.triangles)} triangles; shutting the lips moves {moved.max():.2f} mm at most")


def test_it_is_a_disc_with_mouth_and_eyes(face):
    outer, mouth, *eyes = boundary_loops(face.triangles)
    assert [len(loop) for loop in (outer, mouth, *eyes)] == [54, 32, 30, 30]
    assert set(face.cut.rows[outer]) >= set(OUTLINE)
    x, y, z = face.template[outer].T
    tip = face.template[face.landmarks[30]]
    built = load_face("builtin")  # cut in the same sense: as far back, as far down, as far up, in faces
    other = built.template[max(boundary_loops(built.triangles), key=len)]
    size = lambda f: float(np.ptp(f.template[[f.landmarks[27], f.landmarks[8]], 1]))  # noqa: E731
    reach = np.array([np.ptp(x), y.max() - tip[1], tip[1] - y.min(), tip[2] - z.min()]) / size(face)
    tip = built.template[built.landmarks[30]]
    x, y, z = other.T
    known = np.array([np.ptp(x), y.max() - tip[1], tip[1] - y.min(), tip[2] - z.min()]) / size(built)
    assert (np.abs(reach / known - 1) < 0.2).all()


def test_it_is_mirror_symmetric(face):
    mirror, template = face.mirror, face.template
    there = {tuple(sorted(corners)) for corners in face.triangles.tolist()}
    assert all(tuple(sorted(corners)) in there for corners in mirror[face.triangles].tolist())
    off = np.linalg.norm(template[mirror] * (-1, 1, 1) - template, axis=1)
    assert off.max() < 0.003  # the template's own asymmetry
    assert np.abs(template[mirror == np.arange(len(mirror)), 0]).max() < 0.001
    assert np.array_equal(mirror[face.lip_pairs], face.lip_pairs[::-1])
    assert np.array_equal(np.sort(mirror[face.regions["upper_lip"]]), face.regions["upper_lip"])


def test_the_lips_are_where_the_jaw_parts_them(model, face):
    weights = model.weights[face.cut.rows]
    upper, lower = face.lip_pairs.T
    jaw = weights[:, 2]
    assert len(face.lip_pairs) >= 15 and np.array_equal(face.template[upper], face.template[lower])
    assert (jaw[upper] < jaw[lower]).all()
    assert (jaw[np.setdiff1d(face.regions["upper_lip"], face.regions["lower_lip"])] < 0.56).all()
    assert (jaw[np.setdiff1d(face.regions["lower_lip"], face.regions["upper_lip"])] > 0.50).all()
    x = face.template[upper, 0]
    assert x[0] < -0.02 and x[-1] > 0.02 and (np.diff(x) >= 0).all()
    arc = np.cumsum(np.linalg.norm(np.diff(face.template[upper], axis=0), axis=1))
    even = np.arange(1, len(arc) + 1) / len(arc)
    assert np.abs(arc / arc[-1] - even).max() < 0.08  # as even as FLAME's spacing of up to 5.6 mm allows
    layer = FlameLayer(model)
    opened = [layer(jaw=torch.tensor([[angle, 0.0, 0.0]]))[0].numpy() for angle in (0.1, 0.2, 0.3)]
    moves = np.stack(opened)[:, face.cut.rows] - model.v_template[face.cut.rows]
    gaps = lip_gap(face.template + moves, face.lip_pairs)
    say(f"mean gap over the lip pairs at jaw 0.1/0.2/0.3 rad: {' / '.join(f'{gap:.1f}' for gap in gaps)} mm")
    assert 6 < gaps[0] < 11 and (np.diff(gaps) > 5).all()


def test_landmarks_lie_where_the_embedding_has_them(model, face):
    points = model.landmark_points(model.v_template)
    assert sorted(face.landmarks) == [8, *range(17, 68)]
    off = {n: MM_PER_M * np.linalg.norm(model.v_template[face.cut.rows[face.landmarks[n]]] - points[n]) for n in points}
    assert max(off.values()) < 3.5 and np.mean(list(off.values())) < 1.5  # brows are sparse
    chin = face.template[face.landmarks[8]]
    assert abs(chin[0]) < 0.001 and chin[1] < points[57][1] - 0.02


def test_regions_are_those_of_every_face(face):
    assert set(face.regions) >= set(load_face("builtin").regions)
    y = face.template[:, 1]
    assert y[face.regions["forehead"]].min() > y[face.regions["nose"]].mean() > y[face.regions["jaw"]].max()
    assert not set(face.regions["lips"]) & set(face.regions["nose"])


def test_it_flattens_to_a_geometry_map(face):
    uv = flatten(face.template, face.triangles, face.mirror, importance(face))
    a, b, c = (uv[symmetric_triangles(face.template, face.triangles, face.mirror)[:, i]] for i in range(3))
    p, q = (b - a).T, (c - a).T
    area = p[0] * q[1] - p[1] * q[0]
    assert (area > 0).all()
    flame_map = geometry_map(face)
    smile = torch.from_numpy(
        np.exp(-((np.linalg.norm(face.template - face.template[face.landmarks[54]], axis=1) / 0.02) ** 2))
    )
    field = torch.stack([smile, smile, 0 * smile], dim=1)[None].float()
    back = flame_map.from_map(flame_map.to_map(field))
    error = float((back - field).norm(dim=-1).mean() / field.norm(dim=-1).mean())
    say(f"geometry map: {int((area <= 0).sum())} flipped triangles, a smile comes back within {100 * error:.1f} %")
    assert error < 0.05


def test_all_editions_have_one_topology(model, face):
    chance = np.random.default_rng(8)
    other = replace(
        model,
        v_template=model.v_template + (model.identities() @ chance.normal(size=60)).astype(np.float32),
        edition="2020",
        triangles=np.roll(model.triangles[chance.permutation(9976)], 1, axis=1),
    )
    cut = flame_face(other)
    assert other.hash != model.hash and np.array_equal(cut.cut.rows, face.cut.rows)
    assert np.array_equal(cut.mirror, face.mirror) and cut.landmarks == face.landmarks
    assert {*map(tuple, cut.lip_pairs)} == {*map(tuple, face.lip_pairs)}
    cut = flame_face(replace(other, triangles=model.triangles))
    assert cut.topology_hash == face.topology_hash and cut.hash != face.hash


def test_triangles_that_are_not_flames_are_refused(model):
    with pytest.raises(VisemoError, match="got 9976 triangles that are not FLAME's"):
        flame_face(random_model())
    flipped = model.triangles.copy()
    flipped[7] = flipped[7, ::-1]
    for triangles in (flipped, model.triangles[:-1], (model.triangles + 1) % 5023):
        with pytest.raises(VisemoError, match="that are not FLAME's 9976 on 5023 vertices in its own order"):
            flame_topology(triangles)
    assert fingerprint(flipped) != fingerprint(model.triangles)


def test_named_shapes_are_carried_and_the_eyes_with_them(shared_data, model, face):
    """The ARKit shapes of a head whose first vertices are FLAME's."""
    with np.load(shared_data / "gaussian_avatar" / "lam_p2-1.npz") as pack:
        key = next(name for name in pack.files if pack[name].ndim == 3 and len(pack[name]) == 51)
        deltas = pack[key][:, :5023].astype(np.float32)
    shapes = {f"shape{i}": delta for i, delta in enumerate(deltas)}
    shaped = flame_face(model, shapes=shapes)
    assert shaped.shape_names == tuple(shapes) and shaped.topology_hash == face.topology_hash
    np.testing.assert_array_equal(shaped.shape("shape5"), deltas[5][face.cut.rows])
    for part in shaped.parts:
        start, stop = EYEBALLS[part.name.removeprefix("eye_")]
        np.testing.assert_array_equal(part.shapes, deltas[:, start:stop])
    with pytest.raises(VisemoError, match="shape smile: got float64"):
        flame_face(model, shapes={"smile": np.zeros((5023, 3))})


def test_eyeballs_fill_the_lids_and_follow_nothing(model, face):
    assert [part.name for part in face.parts] == ["eye_left", "eye_right"]
    for part, side in zip(face.parts, (1, -1)):
        start, stop = EYEBALLS[part.name.removeprefix("eye_")]
        assert np.array_equal(part.vertices, model.v_template[start:stop]) and (side * part.vertices[:, 0] > 0).all()
        front = part.vertices[:, 2].argmax()
        assert part.colors[front].max() < 0.01 < part.colors[part.vertices[:, 2].argmin()].min()  # pupil, white
    moved = part_bases(face, face.identities[:2])
    assert all(moved[part.name].shape == (2, 546, 3) and not moved[part.name].any() for part in face.parts)


def test_it_is_saved_and_loaded(tmp_path, face):
    save_face(face, tmp_path / "flame")
    loaded = load_face(tmp_path / "flame")
    assert loaded.hash == face.hash and loaded.landmarks == face.landmarks and loaded.cut.topology == face.cut.topology
    assert np.array_equal(loaded.cut.rows, face.cut.rows) and loaded.parts[1].gloss == 1
