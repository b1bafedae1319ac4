"""What is drawn of a take: parts, life and head motion; films with their sound; contact sheets."""

import io
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from toy_face import toy_clip, toy_face
from visemo.face.attach import part_bases
from visemo.face.face import Face
from visemo.render import progress
from visemo.render.progress import progress_bar
from visemo.render.raster import developed, plain
from visemo.render.video import FaceRenderer, contact_sheet, face_of, write_png, write_video
from visemo.types import VisemoError, Waveform


@pytest.fixture(scope="module")
def face() -> Face:
    return toy_face()


def test_the_face_and_its_parts_follow_the_weights(face: Face) -> None:
    clip = toy_clip()
    drawn = FaceRenderer(face, clip.basis, 64).vertices(clip, 20)
    assert np.abs(drawn[: len(face.template)] - clip.decode(20, 21)[0]).max() < 1e-7
    at = len(face.template)
    for part in face.parts:
        wanted = part.vertices + np.tensordot(clip.weights[20], part_bases(face, clip.basis)[part.name], axes=1)
        assert np.abs(drawn[at : at + len(part.vertices)] - wanted).max() < 1e-7
        at += len(part.vertices)
    assert at == len(drawn)


def test_life_and_head_motion_move_everything(face: Face) -> None:
    still, moving = toy_clip(), toy_clip(life=True)
    assert moving.lively_weights is not None and moving.head_pose is not None
    renderer = FaceRenderer(face, still.basis, 64)
    t = 20
    blink, look = (face.shape_names.index(name) for name in moving.lively_names)
    rest = renderer.vertices(still, t).astype(np.float64)
    for index, weight in zip((blink, look), moving.lively_weights[t]):
        assert face.shapes is not None
        rest += weight * np.concatenate([face.shapes[index], *(part.shapes[index] for part in face.parts)])
    angle = 0.1 * np.sin(2 * t / 30)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert np.abs(renderer.vertices(moving, t) - (rest @ turn.T + [0.01 * t / 30, 0, 0])).max() < 1e-6


def test_another_persons_head_is_drawn(face: Face) -> None:
    """Parts go along: exactly with a shift, and without opening the seam of the forehead when the face widens."""
    clip = toy_clip()
    renderer = FaceRenderer(face, clip.basis, 64)
    before = renderer.vertices(clip, 3)
    shifted = replace(clip, template=clip.template + np.float32([0.01, 0.02, 0.03]))
    assert np.abs(renderer.vertices(shifted, 3) - before - [0.01, 0.02, 0.03]).max() < 1e-6
    wide = replace(clip, template=clip.template * np.float32([1.1, 1, 1]))
    drawn = renderer.vertices(wide, 3)
    assert np.abs(drawn[: len(face.template)] - wide.decode(3, 4)[0]).max() < 1e-7
    crown = len(before) - len(face.parts[-1].vertices)
    seam = renderer.drawing.around[0][crown : crown + 13]
    assert np.abs(renderer.rest[crown : crown + 13] - wide.template[seam]).max() < 1e-6
    assert np.array_equal(renderer.vertices(clip, 3), before)


def test_pictures_change_with_the_take(face: Face) -> None:
    clip = toy_clip()
    renderer = FaceRenderer(face, clip.basis, 96, "three_quarter")
    pictures = [renderer.frame(clip, t) for t in (0, 0, 7)]
    assert pictures[0].shape == (96, 96, 3) and pictures[0].dtype == np.uint8
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_seams_are_sewn_but_lips_are_not(face: Face) -> None:
    welds = FaceRenderer(face, toy_clip().basis, 64).drawing.around[0]
    sewn = np.flatnonzero(welds != np.arange(len(welds)))
    assert len(sewn) == 13  # the crown's lower edge on the forehead's upper one; touching lips and teeth stay apart
    assert np.all(sewn >= len(face.template)) and np.all(welds[sewn] < len(face.template))


def test_refusals(face: Face, tmp_path: Path) -> None:
    clip = toy_clip()
    with pytest.raises(VisemoError, match="expected 2 of"):
        FaceRenderer(face, clip.basis[:2], 64).frame(clip, 0)
    with pytest.raises(VisemoError, match="expected the face the take was made on"):
        face_of(clip, replace(face, triangles=face.triangles[:, [1, 2, 0]]))
    with pytest.raises(VisemoError, match="toy"):
        face_of(clip)  # no face of that name in the library
    with pytest.raises(VisemoError, match="expected one of front"):
        FaceRenderer(face, clip.basis, 64, "top")  # type: ignore[arg-type]
    lost = replace(clip, lively_names=("earWiggle",), lively_weights=np.ones((clip.frames, 1), np.float32))
    with pytest.raises(VisemoError, match="earWiggle"):
        FaceRenderer(face, clip.basis, 64).frame(lost, 0)
    with pytest.raises(VisemoError, match="expected even numbers"):
        write_video(clip, tmp_path / "a.mp4", size=63, face=face)
    with pytest.raises(VisemoError, match="got nan degrees"):
        write_video(clip, tmp_path / "a.mp4", face=face, orbit=float("nan"))
    for color in ("", "mauvish", "#12345", "#12345678"):
        with pytest.raises(VisemoError, match="expected studio, or a colour"):
            write_png(clip, tmp_path / "a.png", face=face, background=color)
    assert not list(tmp_path.iterdir())


def test_a_film_has_every_frame_and_the_sound(face: Face, tmp_path: Path) -> None:
    clip, shares = toy_clip(50), []
    write_video(clip, tmp_path / "a.mp4", size=64, face=face, progress=shares.append)
    with av.open(str(tmp_path / "a.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        ends = [float(stream.duration * stream.time_base) for stream in container.streams]
    assert len(pictures) == 50 and abs(ends[0] - ends[1]) < 1 / clip.fps
    assert shares[-1] == 1 and shares == sorted(shares)
    expected = FaceRenderer(face, clip.basis, 64).frame(clip, 31)
    assert np.abs(pictures[31].astype(int) - expected).mean() < 4


def test_the_camera_walks_around_the_head(face: Face, tmp_path: Path) -> None:
    clip = toy_clip(5)
    write_video(clip, tmp_path / "a.mp4", size=64, face=face, orbit=-84)
    with av.open(str(tmp_path / "a.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    walked = FaceRenderer(face, clip.basis, 64)
    for t, degrees in ((0, 0), (2, -42), (4, -84)):
        walked.look(FaceRenderer(face, clip.basis, 64).camera.orbited(degrees))
        wanted = walked.frame(clip, t)
        assert np.abs(pictures[t] - wanted).mean() < 5 < np.abs(pictures[(t + 2) % 6] - wanted).mean()
    side, front = FaceRenderer(face, clip.basis, 64, "side").camera, FaceRenderer(face, clip.basis, 64).camera
    assert np.allclose(front.orbited(84).position, side.position) and front.orbited(84).target == side.target


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (3, 128, 254)])
def test_the_background_is_the_colour_that_was_named(face: Face, color: tuple[int, int, int]) -> None:
    studio = plain("#{:02x}{:02x}{:02x}".format(*color))
    picture = FaceRenderer(face, toy_clip().basis, 64, studio=studio).frame(toy_clip(), 0)
    assert picture[0, 0].tolist() == list(color) and picture[32, 32].tolist() != list(color)
    assert np.array_equal(np.round(255 * developed(studio.background(9, 8))), np.tile(color, (8, 9, 1)))


def test_a_jaw_pulse_meets_its_click(face: Face, tmp_path: Path) -> None:
    """One frame of an open mouth for every click: both streams show them at the same times."""
    fps, seconds, clicks = 30, 3.0, [0.4, 1.1, 2.5]
    clip = toy_clip(round(fps * seconds))
    samples = np.zeros(round(seconds * 16000), np.float32)
    speech = np.zeros_like(clip.speech_weights)
    for click in clicks:
        samples[round(click * 16000) :][:40] = 0.9
        speech[round(click * fps), 0] = 1.0
    still = replace(
        clip, speech_weights=speech, expression_weights=0 * clip.expression_weights, audio=Waveform(samples)
    )
    write_video(still, tmp_path / "a.mp4", size=96, face=face)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24").astype(float)) for frame in container.decode(video=0)]
    with av.open(str(tmp_path / "a.mp4")) as container:
        sound = [(frame.time, np.abs(frame.to_ndarray()[0]), frame.sample_rate) for frame in container.decode(audio=0)]
    change = np.array([np.abs(picture - frames[0][1]).mean() for _, picture in frames])
    seen = np.array([time for (time, _), much in zip(frames, change) if much > 0.5 * change.max()])
    heard = np.concatenate([start + np.arange(len(level)) / rate for start, level, rate in sound])
    heard = heard[np.concatenate([level for _, level, _ in sound]) > 0.3]
    heard = heard[np.diff(heard, prepend=-1.0) > 0.1]
    assert len(seen) == len(heard) == len(clicks)
    assert np.abs(seen - heard).max() < 1 / fps and np.abs(heard - clicks).max() < 2e-3


def test_a_takes_contact_sheet(face: Face, tmp_path: Path) -> None:
    write_png(toy_clip(), tmp_path / "a.png", size=64, face=face)
    with Image.open(tmp_path / "a.png") as page:
        assert page.width > 6 * 64 and page.height > 2 * 64
    write_png(toy_clip(1), tmp_path / "one.png", size=64, face=face)
    with Image.open(tmp_path / "one.png") as page:
        assert 64 < page.width < 5 * 64


def test_contact_sheets_keep_every_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [[rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(3)] for _ in range(2)]
    contact_sheet(pictures, ["happy", "sad"], ["0.1 s", "0.2 s", "0.3 s"], tmp_path / "a.png")
    page = np.asarray(Image.open(tmp_path / "a.png"))
    for picture in (picture for row in pictures for picture in row):
        spots = np.argwhere((page == picture[0, 0]).all(axis=-1))
        assert any(np.array_equal(page[y : y + 48, x : x + 64], picture) for y, x in spots)
    contact_sheet(pictures, [], [], tmp_path / "bare.png")
    bare = np.asarray(Image.open(tmp_path / "bare.png"))
    assert bare.shape[0] < page.shape[0] and bare.shape[1] < page.shape[1]
    for rows, columns in ((["one"], []), ([], ["a", "b"])):
        with pytest.raises(VisemoError, match="contact sheet: got 2 rows"):
            contact_sheet(pictures, rows, columns, tmp_path / "b.png")
    with pytest.raises(VisemoError, match="expected an existing one"):
        contact_sheet(pictures, [], [], tmp_path / "no" / "b.png")


def test_the_bar_waits_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 3.1, 3.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    screen = io.StringIO()
    with progress_bar("film", Console(file=screen, force_terminal=True)) as done:
        done(0.1)
        assert screen.getvalue() == ""
        done(0.5)
        assert "film" in screen.getvalue()
        done(1.0)
    quiet = io.StringIO()
    with progress_bar("film", Console(file=quiet)) as done:
        done(1.0)
    assert quiet.getvalue() == ""
