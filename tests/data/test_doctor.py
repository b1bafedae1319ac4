"""The doctor knows each kind of folder, whole or not, and says what is missing and where to get it."""

import json
import shutil

import numpy as np
import pytest

from data.published import (
    IDENTITIES,
    RATE,
    SPEAKERS,
    hum,
    people,
    ply_bytes,
    small_head,
    smile,
    talk,
    write_expression_meshes,
    write_florence4d,
    write_vocaset,
)
from visemo.cli import main
from visemo.data.doctor import examine
from visemo.data.journal import JOURNAL
from visemo.data.prepare import prepare
from visemo.data.vocaset import read_vocaset
from visemo.types import VisemoError

HEAD = small_head()
PEOPLE = people(HEAD.mesh, SPEAKERS[-2:])
MOTIONS = {(who, f"sentence{n:02d}"): talk(HEAD.mesh, 8) for who in PEOPLE for n in (31, 33)}
SOUNDS = {name: (hum(8 / 60), RATE) for name in MOTIONS}


@pytest.fixture
def vocaset(tmp_path):
    return write_vocaset(tmp_path / "v", HEAD.mesh, PEOPLE, MOTIONS, SOUNDS)


def states(path):
    return {finding.name: finding.state for finding in examine(path).findings}


def test_a_whole_vocaset_is_counted(vocaset, capsys):
    assert main(["doctor", str(vocaset)]) == 0
    said = capsys.readouterr().out
    assert "VOCASET as it is distributed" in said and "sequences: 4 of 2 subjects, 32 frames, can be used" in said
    assert "FaceTalk_170809_00138_TA_sentence32: not in the release either" in said
    assert f"next: visemo prepare vocaset {vocaset} -o STORE" in said
    (vocaset / "vertices_npy").mkdir()
    assert "as it is distributed" in examine(vocaset).kind


@pytest.mark.parametrize(
    "name", ["data_verts.npy", "subj_seq_to_idx.pkl", "raw_audio_fixed.pkl", "templates.pkl", "FLAME_sample.ply"]
)
def test_each_missing_file_of_vocaset_is_named_with_its_place(vocaset, name, capsys):
    (vocaset / name).unlink()
    assert main(["doctor", str(vocaset)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  missing")]
    assert name in line and ("voca.is.tue.mpg.de" in line or "TimoBolkart/voca" in line) and "licence" in line


def test_damage_and_sentences_without_partner_are_said(vocaset, capsys):
    whole = (vocaset / "data_verts.npy").read_bytes()
    (vocaset / "data_verts.npy").write_bytes(whole[:-100])
    assert states(vocaset)["data_verts.npy"] == "damaged"
    (vocaset / "data_verts.npy").write_bytes(whole)
    (vocaset / "templates.pkl").write_bytes(b"cos\nsystem\n(S'x'\ntR.")
    assert main(["doctor", str(vocaset)]) == 1
    assert "os.system, expected arrays only; nothing was run" in capsys.readouterr().out
    sounds = {**SOUNDS, (SPEAKERS[-1], "sentence40"): (hum(1), RATE), (SPEAKERS[-1], "sentence31"): (hum(1), RATE)}
    write_vocaset(vocaset, HEAD.mesh, PEOPLE, MOTIONS, sounds)
    lines = "\n".join(examine(vocaset).lines)
    assert "1 sound without mesh: passed over: FaceTalk_170731_00024_TA_sentence40" in lines and "1 cut" in lines
    templates = {SPEAKERS[-1]: PEOPLE[SPEAKERS[-1]]}
    write_vocaset(vocaset, HEAD.mesh, templates, MOTIONS, SOUNDS)
    assert states(vocaset)["2 subject without template"] == "missing"


@pytest.mark.parametrize("layout", ["faceformer", "unposed", "zipped"])
def test_the_other_layouts_of_vocaset(tmp_path, layout):
    write_vocaset(tmp_path / layout, HEAD.mesh, PEOPLE, MOTIONS, SOUNDS, layout=layout)
    found = examine(tmp_path / layout)
    assert found.healthy and found.kind.startswith("VOCASET as " + ("FaceFormer" if layout == "faceformer" else "unp"))


def test_vocaset_still_packed(tmp_path):
    (tmp_path / "trainingdata.zip").write_bytes(b"")
    for path in (tmp_path, tmp_path / "trainingdata.zip"):
        assert examine(path).kind == "VOCASET, still packed" and not examine(path).healthy


@pytest.mark.parametrize("zipped", [False, True])
def test_florence_4d(tmp_path, zipped):
    rest = {IDENTITIES[who]: face for who, face in PEOPLE.items()}
    faces = {(who, "Sad1"): face + smile(HEAD.mesh, 5) for who, face in rest.items()}
    write_florence4d(tmp_path, HEAD.mesh, rest, faces, zipped)
    found = examine(tmp_path)
    assert found.kind == "Florence 4D" and found.healthy
    assert "sequences: 2 of 2 subjects, 10 frames, can be used" in "\n".join(found.lines)
    (tmp_path / "COMA_CH03.ply").unlink()
    found = examine(tmp_path)
    assert found.healthy and "micc.unifi.it" in "\n".join(found.lines), "its sequence begins at rest"
    (tmp_path / "COMA_CH04.zip").write_bytes(b"PK")
    assert not examine(tmp_path).healthy


def test_apex_meshes(tmp_path):
    apexes = {("COMA_CH03", label): PEOPLE[SPEAKERS[-1]] + smile(HEAD.mesh, 3, n)[1] for n, label in enumerate("abc")}
    write_expression_meshes(tmp_path / "plys", HEAD.mesh, apexes)
    assert examine(tmp_path / "plys").kind == "EmoVOCA's meshes" and examine(tmp_path / "plys").healthy
    arrays = {"identities": ["CH03"], "expressions": list("abc"), "faces": HEAD.mesh.triangles}
    np.savez(tmp_path / "expressions.npz", vertices=np.stack(list(apexes.values()))[None], **arrays)
    assert examine(tmp_path / "expressions.npz").healthy


def test_captures(tmp_path):
    weights = np.zeros((9, 2), np.float32)
    np.savez(tmp_path / "smile.npz", names=["jawOpen", "mouthSmileLeft"], weights=weights, fps=30.0)
    np.savez(tmp_path / "bad.npz", names=["jawOpen", "mouthSmileLeft"], weights=weights + 7, fps=30.0)
    found = examine(tmp_path)
    assert found.kind == "captured ARKit curves" and not found.healthy
    assert states(tmp_path) == {"captures": "fine", "bad.npz": "damaged"}
    assert examine(tmp_path / "smile.npz").healthy
    (tmp_path / "smile.csv").write_text("")
    assert "two captures of one name" in "\n".join(examine(tmp_path).lines)


def test_what_visemo_writes_itself(vocaset, tmp_path):
    prepare(tmp_path / "store", read_vocaset(vocaset), HEAD.face)
    found = examine(tmp_path / "store")
    assert found.healthy and "4 speech and 0 expression takes of 2 subjects" in found.lines[1]
    (tmp_path / "store" / "manifest.json").rename(tmp_path / "store" / JOURNAL)
    assert "half-written" in examine(tmp_path / "store").lines[1] and not examine(tmp_path / "store").healthy
    (tmp_path / "store" / "manifest.json").write_text("{")
    assert states(tmp_path / "store") == {"manifest.json": "damaged"}
    model, face = tmp_path / "model", tmp_path / "face"
    for folder, names in ((model, ("config.json", "model.safetensors")), (face, ("face.json",))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("")
    assert examine(model).healthy and states(face) == {"face.npz": "missing"}


def test_ict_facekit(tmp_path):
    (tmp_path / "FaceXModel").mkdir()
    found = examine(tmp_path)
    assert found.kind == "ICT-FaceKit" and not found.healthy and "visemo fetch ict" in found.lines[1]
    (tmp_path / "ict_facekit_head.npz").write_bytes(b"")
    assert examine(tmp_path).healthy


def test_flame_files(tmp_path):
    (tmp_path / "FLAME_masks.pkl").write_bytes(b"")
    (tmp_path / "generic_model.pkl").write_bytes(b"cos\nsystem\n(S'x'\ntR.")
    found = examine(tmp_path)
    assert found.kind == "FLAME" and states(tmp_path) == {"FLAME_masks.pkl": "fine", "generic_model.pkl": "damaged"}
    assert "flame.is.tue.mpg.de" in "\n".join(found.lines)


def test_the_real_folders(shared_data):
    kinds = {
        "flame_open": "FLAME", "ict": "ICT-FaceKit", "emovoca_expressions": "EmoVOCA's meshes",
        "motion/speech_neurosync_en": "captured ARKit curves",
    }  # fmt: skip
    for folder, kind in kinds.items():
        found = examine(shared_data / folder)
        assert (found.kind, found.healthy) == (kind, True), found.lines


def test_nothing_known_and_nothing_there(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    found = examine(tmp_path)
    assert found.kind == "nothing known" and not found.healthy and "VOCASET, Florence 4D" in found.lines[1]
    with pytest.raises(VisemoError, match="got no such file or folder"):
        examine(tmp_path / "none")


# ---------------------------------------------------------------- the verbs


def test_prepare_says_what_it_did_and_what_it_passed_over(tmp_path, capsys):
    from visemo.face.library import save_face

    save_face(HEAD.face, tmp_path / "face")
    motions = {**MOTIONS, (SPEAKERS[-1], "sentence40"): talk(HEAD.mesh, 5)}
    sounds = {**SOUNDS, (SPEAKERS[-1], "sentence31"): (hum(0.05), RATE)}
    write_vocaset(tmp_path / "v", HEAD.mesh, PEOPLE, motions, sounds, layout="faceformer")
    (tmp_path / "v" / "templates" / "FLAME_sample.ply").rename(tmp_path / "head.ply")
    words = ["prepare", "vocaset", f"{tmp_path}/v", "--face", f"{tmp_path}/face", "--topology", f"{tmp_path}/head.ply"]
    assert main([*words, "--precision", "float32", "-o", f"{tmp_path}/s"]) == 0
    said = capsys.readouterr().out
    assert "4 takes of 2 subjects, 27 frames, on cut row by row" in said and "1 takes were cut" in said
    assert "passed over 1, mesh without sound: FaceTalk_170731_00024_TA_sentence40" in said
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["precision"] == "float32"
    rest = {IDENTITIES[who]: face for who, face in PEOPLE.items()}
    faces = {(who, f"Sad{n}"): face + smile(HEAD.mesh, 5, n) for who, face in rest.items() for n in range(3)}
    write_florence4d(tmp_path / "f", HEAD.mesh, rest, faces)
    assert main(["prepare", "florence4d", f"{tmp_path}/f", "--face", f"{tmp_path}/face", "-o", f"{tmp_path}/fs"]) == 0
    write_expression_meshes(tmp_path / "e", HEAD.mesh, {key: frames[2] for key, frames in faces.items()})
    words = ["prepare", "expression-meshes", f"{tmp_path}/e", "--face", f"{tmp_path}/face", "-o", f"{tmp_path}/es"]
    assert main(words) == 0
    assert "neutrals are proxies" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "es")
    assert main([*words[:2], "-o", f"{tmp_path}/es"]) == 2
    assert "got SRC None, expected the folder of the data" in capsys.readouterr().err


def test_fetch_hands_on_where_the_head_lies(tmp_path, monkeypatch, capsys):
    from visemo.face import fetching

    monkeypatch.setattr(fetching, "fetch_ict", lambda into: into or tmp_path)
    assert main(["fetch", "ict", "-o", f"{tmp_path}/ict"]) == 0
    assert f"{tmp_path}/ict: the ICT head" in capsys.readouterr().out


def test_a_mesh_among_files_of_others(tmp_path):
    (tmp_path / "head.ply").write_bytes(ply_bytes(HEAD.mesh.vertices, HEAD.mesh.triangles))
    assert examine(tmp_path).kind == "nothing known"
