"""The suffix picks the writer; anything else is answered with the list."""

from dataclasses import replace
from pathlib import Path

import pytest

from toy_face import toy_clip, toy_face
from visemo.export.writers import WRITERS, save, writer_for
from visemo.media import load_audio
from visemo.types import VisemoError


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("take.mp4", {"size": 64}),
        ("take.glb", {}),
        ("take.GLB", {"shapes": "arkit"}),
        ("take.npz", {}),
        ("my.take.npz", {"include_vertices": False}),
        ("take.csv", {}),
        ("take.png", {"size": 64}),
        ("take.wav", {}),
        ("meshes/", {}),
    ],
)
def test_every_suffix_writes(tmp_path: Path, name: str, options: dict) -> None:
    clip = toy_clip(5)
    face = {} if name.endswith(("npz", "wav", "/")) else {"face": toy_face()}
    save(clip, f"{tmp_path}/{name}", **options, **face)
    written = tmp_path / name
    assert written.exists()
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]
    if name == "take.wav":
        assert clip.audio is not None and load_audio(written).seconds == pytest.approx(clip.audio.seconds)


@pytest.mark.parametrize("name", ["take.fbx", "take", "take.npz.bak", ".npz"])
def test_unknown_suffixes_are_answered_with_the_list(tmp_path: Path, name: str) -> None:
    with pytest.raises(VisemoError, match="got suffix") as refusal:
        save(toy_clip(2), tmp_path / name)
    assert all(suffix in str(refusal.value) for suffix in WRITERS) and "\n" not in str(refusal.value)


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match="got option 'shapes', expected one of include_vertices"):
        save(toy_clip(2), tmp_path / "a.npz", shapes="arkit")
    assert not list(tmp_path.iterdir())


def test_silent_takes_have_no_wav(tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match="take without sound"):
        save(replace(toy_clip(2), audio=None), tmp_path / "a.wav")


def test_missing_folders_are_refused(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.glb", "a.npz", "a.csv", "a.png", "a.wav"):
        face = {} if name.endswith(("npz", "wav")) else {"face": toy_face()}
        with pytest.raises(VisemoError, match="expected an existing one"):
            save(toy_clip(2), tmp_path / "no" / name, **face)


def test_a_folder_is_known_by_its_slash() -> None:
    assert writer_for("out/meshes/").__name__ == "write_obj_folder"
