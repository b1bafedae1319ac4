"""Captures -> a store: curves of a real face put on a face that has the ARKit shapes.

With a sound of the same name beside it a capture is a take of talk; without one it shows an expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visemo.assets import sha256
from visemo.data.captures import Capture, Translation, arkit_columns, read_capture, read_translation
from visemo.data.frames import resample
from visemo.data.source import Skipped, reasons
from visemo.data.store import Store, StoreWriter, Take, open_store
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.media import load_audio
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS, SAMPLE_RATE

CAPTURES = (".npz", ".csv")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".mp4", ".mov")
ENOUGH = 3  # takes of one kind by one person from which one is kept for testing
BLOCK = 256  # frames put on the face at a time
RARE = ("tongueOut",)  # shapes that a face may lack: most rigs have no tongue to put out
TALK = ("speech", "talk", "talking")  # labels of captures that are nothing without their sound
WORDS = {  # what captures call the expressions, and what they are called here
    "happiness": "happy", "joy": "happy", "sadness": "sad", "anger": "angry", "disgusted": "disgust",
    "fearful": "fear", "afraid": "fear", "surprised": "surprise",
}  # fmt: skip


class Recording(NamedTuple):
    """A capture, and the sound of the same name beside it where there is one."""

    capture: Path
    sound: Path | None


def find_recordings(source: Path) -> tuple[Recording, ...]:
    """The captures below a folder, in order.

    Raises VisemoError for a folder that is none, or without captures, or with two captures of one name.
    """
    if not source.is_dir():
        raise VisemoError(f"{source}: got no such folder, expected one with captures")
    found: list[Recording] = []
    for path in sorted(p for p in source.rglob("*") if p.suffix in CAPTURES):
        if found and found[-1].capture.with_suffix("") == path.with_suffix(""):
            raise VisemoError(
                f"{path.parent}: got {found[-1].capture.name} and {path.name}, two captures of one name, expected one"
            )
        sounds = [path.with_suffix(suffix) for suffix in SOUNDS if path.with_suffix(suffix).is_file()]
        found.append(Recording(path, sounds[0] if sounds else None))
    if not found:
        raise VisemoError(f"{source}: got no captures, expected NAME.npz or NAME.csv, with NAME.wav beside it for talk")
    return tuple(found)


def driven(face: Face) -> tuple[FloatArray, FloatArray]:
    """What ARKit's curves move on a face: deltas (K, V, 3) m, and the share (52, K) that each curve has in each.

    Shapes are known by their ARKit, Live Link or ICT names; both halves of a shape that a rig has split follow its
    one curve. Raises VisemoError for a face that lacks one of ARKit's shapes, the tongue aside.
    """
    rows, shares = [], []
    for name in face.shape_names:
        columns, _ = arkit_columns(name)
        if columns:
            rows.append(face.shape(name))
            shares.append(np.bincount(columns, minlength=len(ARKIT_NAMES)) / len(columns))
    share = np.stack(shares, axis=1).astype(np.float32) if shares else np.zeros((len(ARKIT_NAMES), 0), np.float32)
    still = np.flatnonzero(share.sum(axis=1) == 0)
    missing = [ARKIT_NAMES[n] for n in still if ARKIT_NAMES[n] not in RARE]
    if missing:
        raise VisemoError(f"face {face.name}: got no shapes {', '.join(missing[:3])}, expected all 52 ARKit shapes")
    return np.stack(rows), share


def put_on(face: Face, capture: Capture, fps: float = FPS) -> FloatArray:
    """Displacements (T, V, 3) m of a face with the ARKit shapes that show a capture, at `fps`.

    Raises VisemoError for a face without the shapes.
    """
    return np.concatenate(list(_blocks(driven(face), resample(capture.weights, capture.fps, fps))))


def _blocks(moved: tuple[FloatArray, FloatArray], weights: FloatArray) -> Iterator[FloatArray]:
    deltas, share = moved
    flat = deltas.reshape(len(deltas), -1)
    for start in range(0, len(weights), BLOCK):
        rows = weights[start : start + BLOCK] @ share
        yield np.asarray(rows @ flat, np.float32).reshape(len(rows), *deltas.shape[1:])


class Recorded(NamedTuple):
    """A finished store, and the captures that stayed out of it and why."""

    store: Store
    skipped: tuple[Skipped, ...]


def held_out(takes: Sequence[Take]) -> list[str]:
    """Ids of one person's takes of one kind that are not trained on: of three or more the first tests, of more than
    three the second validates. They are the last takes that leave another of the same label behind."""
    rest, held = list(takes), []
    wanted = (len(takes) >= ENOUGH) + (len(takes) > ENOUGH)
    for take in reversed(takes):
        if len(held) < wanted and sum(other.label == take.label for other in rest) > 1:
            rest.remove(take)
            held.append(take.id)
    return held


def make_recorded(
    folder: Path | str, source: Path | str, face: Face, progress: Callable[[int, int], None] | None = None
) -> Recorded:
    """Write a store from the captures below `source`; go on with a half-written one of the same.

    Every folder of captures is one person, at rest like the face itself. Takes of one kind by one person are
    held out for testing and validation as `held_out` says. Curves that are not ARKit's are translated by a
    `*_guess.json` beside them. A capture without sound is an expression, named by its own label or else its file;
    one that is labelled as talk is passed over, since talk needs its sound.

    Raises VisemoError as `find_recordings`, `driven`, `read_capture` and `load_audio`.
    """
    source = Path(source).resolve()
    recordings, moved = find_recordings(source), driven(face)
    folders = tuple(dict.fromkeys(r.capture.parent for r in recordings))
    guesses = [path for place in folders for path in _guesses(place)[:1]]
    digest = sha256(*(path for r in recordings for path in r if path is not None), *guesses)
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    skipped: list[Skipped] = []
    done = 0
    with StoreWriter(
        folder,
        face,
        source="captures",
        fps=FPS,
        licence=_licence(source),
        generator={"hash": digest[:16]},
        resume=True,
    ) as writer:
        for place in folders:
            subject = "_".join(place.relative_to(source).parts) or source.name
            writer.add_subject(subject, face.template)
            translation = _translation(place)
            own: dict[str, list[Take]] = {}
            for recording in (r for r in recordings if r.capture.parent == place):
                take = _write(writer, moved, recording, subject, translation)
                if take is None:
                    skipped.append(Skipped(str(recording.capture.relative_to(source)), "talk without sound"))
                else:
                    own.setdefault(take.kind, []).append(take)
                done += 1
                if progress:
                    progress(done, len(recordings))
            for takes in own.values():
                held = held_out(takes)
                parts["test"] += held[:1]
                parts["val"] += held[1:]
                parts["train"] += [take.id for take in takes if take.id not in held]
        if not writer.takes:
            raise VisemoError(
                f"{source}: got {len(skipped)} captures of talk, none with a sound, expected NAME.wav too"
            )
        for name in ("heldout", "faceformer", "paper"):
            writer.add_split(name, {part: tuple(ids) for part, ids in parts.items()})
        counts = {"takes": len(writer.takes), **reasons(skipped)}
        writer.add_facts(counts=counts, skipped=[list(row) for row in skipped])
    return Recorded(open_store(folder), tuple(skipped))


def _write(
    writer: StoreWriter,
    moved: tuple[FloatArray, FloatArray],
    recording: Recording,
    subject: str,
    translation: Translation | None,
) -> Take | None:
    """One take, talk as long as both its curves and its sound; None for talk without sound."""
    id = f"{subject}_{recording.capture.stem}"
    capture = read_capture(recording.capture, translation)
    weights = resample(capture.weights, capture.fps, FPS)
    if recording.sound is not None:
        sound = load_audio(recording.sound)
        take = Take(id, subject, "speech", min(len(weights), int(sound.seconds * FPS)), FPS, voice=subject)
        sound = type(sound)(sound.samples[: round(take.frames / FPS * SAMPLE_RATE)])
    else:
        label, sound = expression_label(capture.label or recording.capture.stem), None
        if label in TALK:
            return None
        notes = {"label": capture.label} if capture.label else {}
        take = Take(id, subject, "expression", len(weights), FPS, label=label, notes=notes)
    if id not in writer:
        writer.add_take(take, _blocks(moved, weights[: take.frames]), sound)
    return take


def expression_label(text: str) -> str:
    """The expression that a label or a file's name begins with: "fear" of "fearful_161", "angry" of "anger|disgust"."""
    word = re.sub(r"[_\W]*\d+$", "", text.lower())
    word = next(iter(re.split(r"[|/+]", word)), "").strip()
    return WORDS.get(word, word) or "unnamed"


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
