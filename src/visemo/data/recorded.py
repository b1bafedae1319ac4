"""Captured talk -> a store: curves of a real mouth and the sound beside them, put on a face that has the 52 shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visemo.assets import sha256
from visemo.data.captures import Capture, Translation, read_capture, read_translation
from visemo.data.frames import resample
from visemo.data.store import Store, StoreWriter, Take, open_store
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.media import load_audio
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS, SAMPLE_RATE

CAPTURES = (".npz", ".csv")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".mp4", ".mov")
ENOUGH = 3  # takes of one folder from which its last is kept for testing


class Recording(NamedTuple):
    """A capture and the sound of the same name beside it."""

    capture: Path
    sound: Path


def find_recordings(source: Path) -> tuple[tuple[Recording, ...], tuple[Path, ...]]:
    """The captures below a folder that have a sound, in order, and those that have none.

    Raises VisemoError for a folder that is none, or without a capture that has a sound, or with two captures of one
    name.
    """
    if not source.is_dir():
        raise VisemoError(f"{source}: got no such folder, expected one with captures and their sounds")
    found, silent = [], []
    for path in sorted(p for p in source.rglob("*") if p.suffix in CAPTURES):
        sounds = [path.with_suffix(suffix) for suffix in SOUNDS if path.with_suffix(suffix).is_file()]
        twin = found and found[-1].capture.with_suffix("") == path.with_suffix("")
        if sounds and twin:
            raise VisemoError(
                f"{path.parent}: got {found[-1].capture.name} and {path.name} for one sound, expected one capture of it"
            )
        if sounds:
            found.append(Recording(path, sounds[0]))
        else:
            silent.append(path)
    if not found:
        raise VisemoError(
            f"{source}: got {len(silent)} captures, none with a sound, expected NAME.npz or NAME.csv beside NAME.wav"
        )
    return tuple(found), tuple(silent)


def put_on(face: Face, capture: Capture, fps: float = FPS) -> FloatArray:
    """Displacements (T, V, 3) m of a face with the 52 ARKit shapes that show a capture, at `fps`.

    Raises VisemoError for a face without the shapes.
    """
    missing = [name for name in ARKIT_NAMES if name not in face.shape_names]
    if missing:
        raise VisemoError(f"face {face.name}: got no shapes {', '.join(missing[:3])}, expected all 52 ARKit shapes")
    shapes = np.stack([face.shape(name) for name in ARKIT_NAMES])
    rows = resample(capture.weights, capture.fps, fps)
    return (rows @ shapes.reshape(len(shapes), -1)).reshape(len(rows), -1, 3)


def make_recorded(
    folder: Path | str, source: Path | str, face: Face, progress: Callable[[int, int], None] | None = None
) -> tuple[Store, tuple[Path, ...]]:
    """Write a store of speech takes from the captures below `source`.

    Every folder of captures is one speaker, at rest like the face itself. Of three takes or more by one speaker the
    last is for testing, and never trained on. Curves that are not ARKit's are translated by a `*_guess.json` beside
    them.

    Returns
    -------
    The store, and the captures that were passed over because they have no sound.

    Raises VisemoError as `find_recordings`, `put_on`, `read_capture` and `load_audio`.
    """
    source = Path(source).resolve()
    recordings, silent = find_recordings(source)
    folders = tuple(dict.fromkeys(r.capture.parent for r in recordings))
    guesses = [path for place in folders for path in _guesses(place)[:1]]
    digest = sha256(*(path for r in recordings for path in r), *guesses)
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    with StoreWriter(
        folder, face, source="captures", fps=FPS, licence=_licence(source), generator={"hash": digest[:16]}
    ) as writer:
        for place in folders:
            subject = "_".join(place.relative_to(source).parts) or source.name
            writer.add_subject(subject, face.template)
            translation = _translation(place)
            own = [r for r in recordings if r.capture.parent == place]
            for number, recording in enumerate(own):
                take = _write(writer, face, recording, subject, translation)
                parts["test" if len(own) >= ENOUGH and number == len(own) - 1 else "train"].append(take.id)
                if progress:
                    progress(len(writer.takes), len(recordings))
        for name in ("heldout", "faceformer", "paper"):
            writer.add_split(name, {part: tuple(ids) for part, ids in parts.items()})
    return open_store(folder), silent


def _write(
    writer: StoreWriter, face: Face, recording: Recording, subject: str, translation: Translation | None
) -> Take:
    """One take, as long as both its curves and its sound."""
    sound = load_audio(recording.sound)
    motion = put_on(face, read_capture(recording.capture, translation))
    frames = min(len(motion), int(sound.seconds * FPS))
    id = f"{subject}_{recording.capture.stem}"
    take = Take(id, subject, "speech", frames, FPS, voice=subject)
    cut = type(sound)(sound.samples[: round(frames / FPS * SAMPLE_RATE)])
    writer.add_take(take, motion[:frames], cut)
    return take


def _translation(folder: Path) -> Translation | None:
    guesses = _guesses(folder)
    return read_translation(guesses[0]) if guesses else None


def _guesses(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_guess.json"))


def _licence(source: Path) -> str:
    """What the first licence file below the captures begins with; those who use them must read the rest."""
    for path in sorted(path for path in source.rglob("LICEN[SC]E*") if path.is_file()):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip():
                return line.strip()
    return "unknown: see where the captures come from"
