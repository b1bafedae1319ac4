"""The command line: a map fitted, takes through it, ARKit curves on a head."""

import json

import numpy as np
import pytest

from tiny import tone
from visemo.animation.retarget.rig_map import RigMap
from visemo.cli.entry import main
from visemo.data.captures import read_capture
from visemo.export.tracks import CSV_HEADER, read_take
from visemo.face.arkit import ARKIT_NAMES
from visemo.media import save_wav


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folder):
    """A map of the tiny model to VRM's names, and a take of it."""
    folder = tmp_path_factory.mktemp("retarget")
    save_wav(tone(0.4), folder / "hum.wav")
    assert main(["retarget", "--model", str(tiny_folder), "--rig", "vrm", "-o", str(folder / "vrm.npz")]) == 0
    words = ["animate", str(folder / "hum.wav"), "--model", str(tiny_folder), "--expression", "happy", "--lively"]
    assert main([*words, "-o", str(folder / "take.npz"), "--no-vertices"]) == 0
    return folder


def test_a_map_and_its_report(place):
    rig_map = RigMap.load(place / "vrm.npz")
    assert rig_map.names[:5] == ("aa", "ih", "ou", "ee", "oh") and rig_map.rig == "vrm"
    assert any("by name alone" in note for note in rig_map.notes) and "own face" in rig_map.notes[0]
    page, report = (place / "vrm.md").read_text(), json.loads((place / "vrm.json").read_text())
    assert "| happy |" in page and report["names"] == list(rig_map.names)
    assert report["takes"][0]["name"] == "neutral" and len(report["blendshapes"]) == 7


def test_takes_through_the_map(place, tiny_folder, capsys):
    curves = [str(place / name) for name in ("a.csv", "a.curves.npz")]
    edit = ["edit", str(place / "take.npz"), "--rig-map", str(place / "vrm.npz")]
    assert main([*edit, *(f"-o{path}" for path in curves)]) == 0
    rig_map, clip = RigMap.load(place / "vrm.npz"), read_take(place / "take.npz")
    wanted, _ = rig_map.curves(clip)
    with np.load(curves[1]) as file:
        assert np.array_equal(file["weights"], wanted) and tuple(file["names"]) == rig_map.names
    assert (place / "a.csv").read_text().splitlines()[0] == ",".join(["time", *rig_map.names])
    hum = ["animate", str(place / "hum.wav"), "--model", str(tiny_folder), "--expression", "happy", "--lively"]
    assert main([*hum, "--rig-map", str(place / "vrm.npz"), "-o", str(place / "b.csv")]) == 0
    assert (place / "b.csv").read_bytes() == (place / "a.csv").read_bytes()
    capsys.readouterr()
    refused = {
        "rig map: got a take of model": ["animate", str(place / "hum.wav"), "--rig-map", str(place / "vrm.npz")],
        "expected a name ending in .npz for the map": ["retarget", "--rig", "vrm"],
        "rig: got 'flac'": ["retarget", "--model", str(tiny_folder), "--rig", "flac"],
        "expected 0 to lie": ["retarget", "--model", str(tiny_folder), "--rig", "vrm", "--limits", "1", "2"],
        "no such file, expected a rig map": ["edit", str(place / "take.npz"), "--rig-map", str(place / "c.npz")],
    }
    for said, words in refused.items():
        out = str(place / ("c.txt" if "ending in" in said else "out.npz" if words[0] == "retarget" else "out.csv"))
        assert main([*words, "-o", out]) == 2
        assert said in capsys.readouterr().err


def test_a_map_beside_a_rig_is_refused(place, tiny_folder, tmp_path, capsys):
    from dataclasses import replace

    from visemo.face.library import load_face, save_face

    head = load_face("builtin")
    save_face(replace(head, name="other", triangles=head.triangles[::-1].copy()), tmp_path / "other")
    words = ["animate", str(place / "hum.wav"), "--model", str(tiny_folder), "--face", str(tmp_path / "other")]
    assert main([*words, "--rig-map", str(place / "vrm.npz"), "-o", str(tmp_path / "a.csv")]) == 2
    assert "a rig itself, expected one of them" in capsys.readouterr().err


def test_a_visemes_only_rig_leaves_the_expression_out(place, tiny_folder):
    from dataclasses import replace

    assert main(["retarget", "--model", str(tiny_folder), "--rig", "oculus", "-o", str(place / "oculus.npz"),
                 "--habit", "exact"]) == 0  # fmt: skip
    rig_map, clip = RigMap.load(place / "oculus.npz"), read_take(place / "take.npz")
    calm = replace(clip, expression_weights=0 * clip.expression_weights)
    assert rig_map.habit.sparse == 0 and np.array_equal(rig_map.curves(clip)[0], rig_map.curves(calm)[0])


# ---------------------------------------------------------------- ARKit curves on a head


def app_file(path, curves, names=CSV_HEADER[2:54]):
    lines = [",".join(["Timecode", "BlendShapeCount", *names])]
    lines += [f"00:00:00:{t:02d}.000,{len(names)}," + ",".join(f"{v:.6f}" for v in row) for t, row in enumerate(curves)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_curves_move_a_head(tmp_path, capsys):
    """The app's header, in its order and capitals; some columns gone, one of somebody's own."""
    curves = np.zeros((12, 52), np.float32)
    curves[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0, 0.6, 12)
    curves[:, ARKIT_NAMES.index("browInnerUp")] = 0.4
    columns = [k for k, name in enumerate(ARKIT_NAMES) if name not in ("tongueOut", "cheekPuff")]
    names = [ARKIT_NAMES[k][0].upper() + ARKIT_NAMES[k][1:] for k in columns]
    names[3], table = "Whatever", curves[:, columns]
    path = app_file(tmp_path / "live.csv", table, names)
    save_wav(tone(0.4), tmp_path / "hum.wav")
    words = ["edit", str(path), "--face", "builtin", "--sound", str(tmp_path / "hum.wav")]
    assert main([*words, "-o", str(tmp_path / "live.npz"), "-o", str(tmp_path / "again.csv"), "--no-vertices"]) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert "12 frames at 60 a second; without eyeLookOutLeft, cheekPuff, tongueOut" in said
    assert said.endswith("; left out, not ARKit's: Whatever")
    clip = read_take(tmp_path / "live.npz")
    assert np.abs(clip.speech_weights - curves).max() < 1e-5 and not clip.expression_weights.any()
    assert clip.face == "builtin" and clip.audio is not None
    assert np.abs(read_capture(tmp_path / "again.csv").weights - curves).max() < 1e-5


def test_tables_with_time_and_names(tmp_path, capsys):
    rows = ["time,jawOpen,nose", *(f"{t / 25},{t / 40},0.5" for t in range(10))]
    (tmp_path / "plain.csv").write_text("\n".join(rows))
    assert main(["edit", str(tmp_path / "plain.csv"), "-o", str(tmp_path / "plain.npz"), "--no-vertices"]) == 0
    said = capsys.readouterr().out
    assert (
        "10 frames at 25 a second; without eyeBlinkLeft, " in said
        and "and 45 more; left out, not ARKit's: nose" in said
    )
    clip = read_take(tmp_path / "plain.npz")
    assert np.allclose(clip.speech_weights[:, ARKIT_NAMES.index("jawOpen")], np.arange(10) / 40, atol=1e-6)


def test_curves_that_cannot_be_played(tmp_path, place, capsys):
    good = str(app_file(tmp_path / "a.csv", np.zeros((3, 52), np.float32)))
    (tmp_path / "odd.csv").write_text("time,left,right\n0,0,0\n1,0,0\n")
    out = ["-o", str(tmp_path / "out.npz")]
    refused = {
        "got curves, expected a take of a model": [good, "--expression", "sad"],
        "expected ARKit names": [str(tmp_path / "odd.csv")],
        "expected it with curves or a motion": [str(place / "take.npz"), "--sound", str(place / "hum.wav")],
        "got no such file, expected a capture": [str(tmp_path / "none.csv")],
    }
    for said, words in refused.items():
        assert main(["edit", *words, *out]) == 2
        assert said in capsys.readouterr().err
