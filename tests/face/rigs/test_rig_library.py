"""Rigs by what a user calls them: conventions, folders of meshes, files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gltf_files import Gltf
from visemo.data.visemes import VISEMES
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.library import load_face, save_face
from visemo.face.rigs.conventions import ARKIT, CONVENTIONS, OCULUS, VRM, conventional_rig, sides
from visemo.face.rigs.folder import read_folder_rig
from visemo.face.rigs.library import load_rig
from visemo.geometry.mesh import write_mesh
from visemo.types import Mesh, VisemoError


@pytest.fixture(scope="module")
def head():
    return load_face("builtin")


def test_conventions_have_the_published_names():
    assert tuple(OCULUS) == tuple("sil PP FF TH DD kk CH SS nn RR aa E ih oh ou".split())
    presets = "happy angry sad relaxed surprised aa ih ou ee oh blink blinkLeft blinkRight"
    assert set(VRM) == set(presets.split()) and tuple(ARKIT) == ARKIT_NAMES
    for recipes in CONVENTIONS.values():
        for recipe in recipes.values():
            assert set(sides(recipe)) <= set(ARKIT_NAMES) and all(0 < weight <= 1 for weight in recipe.values())


SPOKEN = {
    "aa": "aa",
    "E": "eh",
    "ih": "iy",
    "oh": "ao",
    "ou": "uw",
    "CH": "ch",
    "SS": "s",
    "RR": "r",
    "kk": "k",
    "nn": "n",
}


@pytest.mark.parametrize(("viseme", "phone"), SPOKEN.items())
def test_visemes_follow_the_model_of_speech(viseme, phone):
    """The gestures of a recipe point where those of its phone do."""
    gestures = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel", "mouthPucker", "mouthStretch")
    own = np.array([OCULUS[viseme].get(name, 0.0) for name in gestures])
    planted = np.array(VISEMES[phone].targets[:6]) * [1, 1, 1, 1, 1, 0.55]
    assert own @ planted / np.linalg.norm(own) / np.linalg.norm(planted) > 0.93


def test_a_recipe_is_a_mixture_of_the_head_s_own_shapes(head):
    rig = load_rig("vrm", head)
    planted = 0.8 * (head.shape("mouthSmileLeft") + head.shape("mouthSmileRight"))
    planted += 0.6 * (head.shape("cheekSquintLeft") + head.shape("cheekSquintRight"))
    planted += 0.3 * (head.shape("eyeSquintLeft") + head.shape("eyeSquintRight"))
    planted += 0.15 * (head.shape("mouthDimpleLeft") + head.shape("mouthDimpleRight"))
    assert np.abs(rig.shapes[rig.shape_names.index("happy")] - planted).max() < 1e-7
    assert "by name alone" in rig.notes[0] and not rig.visemes_only
    oculus = load_rig("oculus", head)
    assert oculus.visemes_only and oculus.notes[1] == "no shape, so always 0: sil" and not oculus.shapes[0].any()
    assert np.array_equal(load_rig("arkit", head).shapes, head.shapes)


def test_a_convention_comes_on_the_built_in_head_where_the_model_s_has_no_shapes(tiny_face, head):
    assert len(load_rig("oculus", tiny_face).mesh.vertices) == len(head.template)
    with pytest.raises(VisemoError, match="convention: got 'flac'"):
        conventional_rig("flac", head)
    with pytest.raises(VisemoError, match="shape: got"):
        conventional_rig("arkit", tiny_face)


def write_folder(face, folder, neutral="neutral.obj"):
    folder.mkdir()
    write_mesh(folder / neutral, Mesh(face.template, face.triangles))
    for name, shape in zip(face.shape_names, face.shapes):
        write_mesh(folder / f"my {name}.ply", Mesh(face.template + shape, face.triangles))


def test_folders_of_meshes_and_meshes_with_a_folder_beside(tiny_face, tmp_path):
    write_folder(tiny_face, tmp_path / "rig")
    (tmp_path / "rig" / "notes.txt").write_text("not a mesh")
    (tmp_path / "rig" / "neutral.landmarks.json").write_text(json.dumps({"8": 200, "30": [0, 0, 1.5]}))
    rig = load_rig(tmp_path / "rig", tiny_face)
    order = [rig.shape_names.index(f"my {name}") for name in tiny_face.shape_names]
    assert rig.name == "rig" and rig.shape_names == tuple(sorted(rig.shape_names))
    assert np.abs(rig.shapes[order] - tiny_face.shapes).max() < 1e-7
    assert np.allclose(rig.landmarks[8], tiny_face.template[200]) and rig.landmarks[30] == (0, 0, 1.5)
    (tmp_path / "rig").rename(tmp_path / "head_shapes")
    (tmp_path / "head_shapes" / "neutral.obj").rename(tmp_path / "head.obj")
    beside = load_rig(tmp_path / "head.obj", tiny_face)
    assert beside.name == "head" and beside.shape_names == rig.shape_names and not beside.landmarks


def test_folders_that_do_not_fit(tiny_face, tmp_path):
    write_folder(tiny_face, tmp_path / "rig", "rest.obj")
    with pytest.raises(VisemoError, match="got 0 files named neutral, basis, base"):
        read_folder_rig(tmp_path / "rig")
    (tmp_path / "rig" / "rest.obj").rename(tmp_path / "rig" / "neutral.obj")
    (tmp_path / "rig" / "odd.obj").write_text("v 0 0 0\n")
    with pytest.raises(VisemoError, match=r"odd\.obj: got 1 vertices, expected the 532 of neutral\.obj"):
        read_folder_rig(tmp_path / "rig")
    with pytest.raises(VisemoError, match="got no folder neutral_shapes beside it"):
        read_folder_rig(tmp_path / "rig" / "neutral.obj")
    (tmp_path / "rig" / "neutral_shapes").mkdir()
    with pytest.raises(VisemoError, match="got no shapes, expected a mesh for each"):
        read_folder_rig(tmp_path / "rig" / "neutral.obj")
    (tmp_path / "rig" / "neutral.landmarks.json").write_text('{"8": 9999}')
    (tmp_path / "rig" / "odd.obj").unlink()
    with pytest.raises(VisemoError, match="got landmark 8 at 9999"):
        read_folder_rig(tmp_path / "rig")


def test_faces_and_files_by_their_kind(tiny_face, tmp_path):
    assert load_rig("tiny", tiny_face).shapes is tiny_face.shapes
    save_face(replace(tiny_face, name="kept"), tmp_path / "kept")
    assert load_rig(tmp_path / "kept", tiny_face).name == "kept"
    gltf = Gltf()
    gltf.mesh([gltf.primitive(tiny_face.template, tiny_face.triangles, tiny_face.shapes[:2])])
    assert load_rig(gltf.write(tmp_path / "a.vrm"), tiny_face).shape_names == ("target_000", "target_001")
    with pytest.raises(VisemoError, match="rig: got 'arkitt', expected one of arkit, vrm, oculus, builtin, ict"):
        load_rig("arkitt", tiny_face)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VisemoError, match="expected a face folder"):
        load_rig(tmp_path / "empty", tiny_face)
