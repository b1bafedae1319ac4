"""Florence 4D and EmoVOCA's meshes: found however they lie, sorted by number, and refused in one line when bad."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.published import people, ply_bytes, small_head, smile, write_expression_meshes, write_florence4d
from visemo.data.expression_meshes import course, read_expression_meshes
from visemo.data.florence4d import read_florence4d
from visemo.data.ply_sequences import PlyReader, find_plys, parse_ply
from visemo.data.splits import COMA_SUBJECTS, subject_of
from visemo.geometry.mesh import write_mesh
from visemo.types import Mesh, VisemoError

HEAD = small_head()
IDENTITIES = ("COMA_CH01", "COMA_CH04", "Daz_Anna")
PEOPLE = people(HEAD.mesh, IDENTITIES)
FACES = {
    (who, label): PEOPLE[who] + smile(HEAD.mesh, frames, seed)
    for seed, (who, label, frames) in enumerate(
        [(who, label, 12) for who in IDENTITIES for label in ("Smile2", "Sad1")] + [("COMA_CH01", "Smile2_Sad1", 15)]
    )
}


def write(folder, zipped=False, neutrals=PEOPLE, faces=FACES):
    return write_florence4d(folder, HEAD.mesh, neutrals, faces, zipped)


@pytest.mark.parametrize("zipped", [False, True])
def test_every_sequence_comes_back_in_order(tmp_path, zipped):
    source = read_florence4d(write(tmp_path, zipped))
    assert {s.subject for s in source.sequences} == {subject_of(who) for who in IDENTITIES}
    assert source.posed and not source.lips_apart and source.fps == 30
    for (who, label), vertices in FACES.items():
        sequence = next(s for s in source.sequences if s.id == f"{subject_of(who)}_{label}")
        assert (sequence.kind, sequence.label, sequence.frames) == ("expression", label, len(vertices))
        np.testing.assert_allclose(sequence.read(3, 11), vertices[3:11], atol=1e-7)
    for who in IDENTITIES:
        np.testing.assert_allclose(source.neutrals[subject_of(who)], PEOPLE[who], atol=1e-7)
    assert read_florence4d(tmp_path, fps=25.0).fps == 25


def test_identities_are_the_speakers_of_vocaset():
    assert len(set(COMA_SUBJECTS.values())) == 12
    assert subject_of("COMA_CH04") == subject_of("CH04") == "FaceTalk_170809_00138_TA"
    assert subject_of("Daz_Anna") == "Daz_Anna"


def test_numbers_sort_as_numbers_and_gaps_are_noted(tmp_path):
    write(tmp_path)
    (tmp_path / "COMA_CH01" / "Sad1" / "Sad1_3.ply").unlink()
    source = read_florence4d(tmp_path)
    sequence = next(s for s in source.sequences if s.id.endswith("137_TA_Sad1"))
    assert sequence.frames == 11 and sequence.notes["missing_frames"] == "1"
    np.testing.assert_allclose(sequence.read(10, 11)[0], FACES["COMA_CH01", "Sad1"][11], atol=1e-7)


def test_who_has_no_mesh_at_rest_may_begin_with_it(tmp_path):
    write(tmp_path)
    (tmp_path / "COMA_CH04.ply").unlink()
    source = read_florence4d(tmp_path)
    np.testing.assert_allclose(source.neutrals[subject_of("COMA_CH04")], PEOPLE["COMA_CH04"], atol=1e-5)
    assert any("COMA_CH04: no mesh at rest" in remark for remark in source.remarks)
    for label, drop in (("Smile2", 4), ("Sad1", 0)):  # now the two begin with different faces
        for n in range(drop):
            (tmp_path / "COMA_CH04" / label / f"{label}_{n}.ply").unlink()
    source = read_florence4d(tmp_path)
    assert [(what, why) for what, why, _ in source.skipped] == [
        ("COMA_CH04_Sad1", "subject without template"),
        ("COMA_CH04_Smile2", "subject without template"),
    ]


def test_units_topology_and_empty_folders(tmp_path):
    write(
        tmp_path / "mm",
        neutrals={w: 1000 * v for w, v in PEOPLE.items()},
        faces={k: 1000 * v for k, v in FACES.items()},
    )
    (tmp_path / "mm" / "COMA_CH01" / "Moody").mkdir()
    write_mesh(tmp_path / "head.obj", Mesh(HEAD.mesh.vertices, HEAD.mesh.triangles))
    source = read_florence4d(tmp_path / "mm", tmp_path / "head.obj")
    np.testing.assert_allclose(source.sequences[0].read(0, 1)[0], FACES["COMA_CH01", "Sad1"][0], atol=1e-6)
    np.testing.assert_allclose(source.neutrals["Daz_Anna"], PEOPLE["Daz_Anna"], atol=1e-6)
    assert ("COMA_CH01_Moody", "zero-length sequence", "") in source.skipped
    assert any("converted from mm" in remark for remark in source.remarks)


OTHER = HEAD.mesh.triangles[:, [1, 2, 0]][::-1]


def spoil(folder, name, vertices=None, triangles=HEAD.mesh.triangles):
    (folder / name).write_bytes(ply_bytes(PEOPLE["COMA_CH01"] if vertices is None else vertices, triangles))


BAD = {
    "nothing": (lambda f: [shutil.rmtree(f / who) for who in IDENTITIES], "got no sequences, expected <identity>"),
    "count": (lambda f: spoil(f, "COMA_CH01.ply", np.ones((7, 3)), OTHER[:0]), "got 7 vertices, .*expected 604"),
    "triangles": (lambda f: spoil(f, "COMA_CH01.ply", None, OTHER), "triangles of another topology"),
    "order": (lambda f: spoil(f, "COMA_CH01.ply", PEOPLE["COMA_CH01"][::-1], OTHER[:0]), "in another order"),
    "archive": (lambda f: (f / "COMA_CH09.zip").write_bytes(b"PK"), "COMA_CH09.zip: got a damaged archive"),
    "twice": (lambda f: write(f, zipped=True), "got two sequences named COMA_CH01/"),
    "frame twice": (lambda f: spoil(f, "COMA_CH01/Sad1/Sad1_007.ply"), "got two frame 7 of COMA_CH01/Sad1"),
    "topology": (lambda f: spoil(f, "FLAME_sample.ply", np.eye(3) * 0.2, np.array([[0, 1, 2]])), "expected 3"),
    "nobody": (
        lambda f: [
            [(f / f"{who}.ply").unlink() for who in IDENTITIES],
            [shutil.rmtree(f / w / n) for w, n in FACES if n != "Sad1"],
            [
                (f / w / "Smile2").mkdir() or spoil(f, f"{w}/Smile2/Smile2_0.ply", FACES[w, "Smile2"][6])
                for w in IDENTITIES
            ],
        ],
        "got no identity with a mesh at rest",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_copy_is_refused_in_one_line(tmp_path, name):
    change, message = BAD[name]
    change(write(tmp_path))
    with pytest.raises(VisemoError, match=message) as error:
        read_florence4d(tmp_path)
    assert "\n" not in str(error.value)


def test_meshes_without_triangles_need_the_topology(tmp_path):
    bare = Mesh(PEOPLE["COMA_CH01"], np.zeros((0, 3), np.int32))
    (tmp_path / "A" / "Sad").mkdir(parents=True)
    for n in range(2):
        write_mesh(tmp_path / "A" / "Sad" / f"Sad_{n}.ply", bare)
    with pytest.raises(VisemoError, match="got meshes without triangles"):
        read_florence4d(tmp_path)
    with pytest.raises(VisemoError, match="got no such file, expected the mesh with the triangles"):
        read_florence4d(tmp_path, tmp_path / "none.ply")


def test_bad_frames_are_found_when_they_are_read(tmp_path):
    source = read_florence4d(write(tmp_path))
    sequence, place = source.sequences[0], tmp_path / "COMA_CH01" / "Sad1"
    whole = (place / "Sad1_5.ply").read_bytes()
    for data, message in [
        (whole[:-7], "damaged PLY"),
        (whole[:4000], "breaks off"),
        (whole.replace(b" double x", b" double u"), "no x, y, z"),
        (b"solid", "damaged PLY"),
        (ply_bytes(PEOPLE["COMA_CH01"], OTHER), "triangles of another topology"),
        (ply_bytes(PEOPLE["COMA_CH01"][:9], OTHER[:0]), r"got frames of \[9, 604\] vertices"),
    ]:
        (place / "Sad1_5.ply").write_bytes(data)
        with pytest.raises(VisemoError, match=message):
            sequence.read(4, 7)


NAMES = st.text("abcABC12", min_size=1, max_size=6).filter(lambda s: not s.isdigit())


@settings(max_examples=25, deadline=None)
@given(who=NAMES, label=NAMES, numbers=st.sets(st.integers(0, 2000), min_size=1, max_size=6), data=st.data())
def test_frames_are_found_in_numeric_order_however_they_are_padded(tmp_path_factory, who, label, numbers, data):
    root = tmp_path_factory.mktemp("plys")
    place = root / who / label
    place.mkdir(parents=True)
    mark = data.draw(st.sampled_from(("_", ".")))
    for number in numbers:
        width = data.draw(st.integers(1, 6))
        (place / f"{label}{mark}{number:0{width}d}.ply").write_bytes(b"")
    (sequence,) = find_plys(root).sequences
    assert sequence.numbers == tuple(sorted(numbers))
    assert sequence.key == (who, label)


def test_fast_and_whole_reading_agree(tmp_path):
    write(tmp_path)
    for sequence in find_plys(tmp_path).sequences:
        fast = PlyReader(HEAD.mesh.triangles).read(sequence, 0, 3)
        slow = np.stack([parse_ply(what, data).vertices for what, data in sequence.files(0, 3)])
        np.testing.assert_array_equal(fast, slow)
    ascii_file = tmp_path / "COMA_CH01" / "Sad1" / "Sad1_0.ply"
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in PEOPLE["COMA_CH01"])
    head = f"ply\nformat ascii 1.0\nelement vertex {len(PEOPLE['COMA_CH01'])}\n"
    ascii_file.write_text(head + "".join(f"property float {a}\n" for a in "xyz") + "end_header\n" + rows)
    sequence = find_plys(tmp_path).sequences[0]
    np.testing.assert_allclose(PlyReader(HEAD.mesh.triangles).read(sequence, 0, 1)[0], PEOPLE["COMA_CH01"], atol=1e-7)


# ---------------------------------------------------------------- EmoVOCA's meshes

APEXES = {(who, label): PEOPLE[who] + smile(HEAD.mesh, 3, n)[1] for who in IDENTITIES for n, label in enumerate("abcd")}


def archive(path, **changes):
    vertices = np.stack([np.stack([APEXES[who, label] for label in "abcd"]) for who in IDENTITIES]).astype(np.float32)
    arrays = {"vertices": vertices, "identities": IDENTITIES, "expressions": list("abcd"), "faces": HEAD.mesh.triangles}
    np.savez(path, **{**arrays, **changes})
    return path


def test_apexes_become_takes_from_folder_and_archive(tmp_path):
    folder = read_expression_meshes(write_expression_meshes(tmp_path / "plys", HEAD.mesh, APEXES))
    packed = read_expression_meshes(archive(tmp_path / "expressions.npz"))
    for source in (folder, packed):
        assert source.posed and source.lips_apart and len(source.sequences) == 12
        for sequence in source.sequences:
            who = next(w for w in IDENTITIES if subject_of(w) == sequence.subject)
            np.testing.assert_allclose(sequence.read(0, 1)[0], APEXES[who, sequence.label], atol=1e-6)
            assert sequence.frames == 60 == len(sequence.course) and "minimum-jerk" in sequence.notes["course"]
        assert any("proxies" in remark for remark in source.remarks)
    shown = course()
    assert shown[0] == shown[-1] == 0 and shown.max() == 1 and (np.abs(np.diff(shown, 2)) < 0.02).all()


def test_meshes_of_people_without_enough_or_damaged_are_left_out(tmp_path):
    write_expression_meshes(tmp_path, HEAD.mesh, {k: v for k, v in APEXES.items() if k != ("Daz_Anna", "a")})
    (tmp_path / "Daz_Anna" / "b_30.ply").write_bytes(ply_bytes(APEXES["Daz_Anna", "b"] * np.nan, HEAD.mesh.triangles))
    (tmp_path / "COMA_CH01" / "a_30.ply").rename(tmp_path / "COMA_CH01" / "a.ply")
    write_expression_meshes(tmp_path, HEAD.mesh, {("COMA_CH04", "d"): APEXES["COMA_CH04", "d"]})
    shutil.copy(tmp_path / "COMA_CH04" / "d_30.ply", tmp_path / "COMA_CH04" / "d_31.ply")
    source = read_expression_meshes(tmp_path)
    assert len(source.sequences) == 4 + 3 and "Daz_Anna" not in source.neutrals
    reasons = [why for _, why, _ in source.skipped]
    assert sorted(reasons) == [
        "damaged data",
        *["fewer than 3 expressions of a person"] * 2,
        "several frames, not one apex",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices": np.zeros((2, 4, 5, 3))}, "got no expression meshes"),
        ({"expressions": list("aabc")}, "got two of one name"),
        ({"identities": ["a", "b"]}, "got no expression meshes"),
        ({"vertices": np.full((3, 4, 604, 3), np.nan)}, "got nobody with 3 apex meshes"),
    ],
)
def test_bad_archives(tmp_path, change, message):
    with pytest.raises(VisemoError, match=message):
        read_expression_meshes(archive(tmp_path / "a.npz", **change))


def test_what_holds_no_meshes(tmp_path):
    with pytest.raises(VisemoError, match="got no such file or folder"):
        read_expression_meshes(tmp_path / "none")
    with pytest.raises(VisemoError, match="got no meshes"):
        read_expression_meshes(tmp_path)
