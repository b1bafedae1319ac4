"""VOCASET: twelve people who say forty sentences, scanned sixty times a second, in FLAME's topology.

Three layouts are read, from wherever they were unpacked:

    data_verts.npy, subj_seq_to_idx.pkl, raw_audio_fixed.pkl, templates.pkl         as it is distributed
    vertices_npy/<subject>_<sentence>.npy, wav/<subject>_<sentence>.wav, templates.pkl    as FaceFormer lays it out
    <subject>/<sentence>/<sentence>.NNNNNN.ply (or zipped), sound as above, templates.pkl   the unposed PLY sequences

The triangles come from FLAME_sample.ply beside the data or in templates/, or from a file that is named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visemo.assets import read_array_pickle
from visemo.data.checks import OrderCheck, check_count, in_metres, unit_of
from visemo.data.ply_sequences import PlyReader, PlySequence, find_plys
from visemo.data.source import Sequence, Skipped, Source, reasons
from visemo.data.splits import VOCASET_TEST, VOCASET_TRAIN, VOCASET_VAL
from visemo.geometry.mesh import read_mesh
from visemo.types import FloatArray, Mesh, VisemoError, Waveform
from visemo.units import SAMPLE_RATE

FPS = 60.0
LICENCE = "VOCASET licence of the MPI for Intelligent Systems: non-commercial research only, no redistribution"
TOPOLOGY = "FLAME_sample.ply"
VERTS, INDEX, AUDIO, TEMPLATES = "data_verts.npy", "subj_seq_to_idx.pkl", "raw_audio_fixed.pkl", "templates.pkl"
MESHES, WAVS = "vertices_npy", "wav"

NO_SOUND, NO_MESH, NO_TEMPLATE = "mesh without sound", "sound without mesh", "subject without template"
NO_FRAMES = "zero-length sequence"

SPEAKERS = (*VOCASET_TRAIN, *VOCASET_VAL, *VOCASET_TEST)

Name = tuple[str, str]  # subject, sentence


class Motion(NamedTuple):
    """The vertices of one sentence: how many frames, and how they are read."""

    frames: int
    read: Callable[[int, int], FloatArray]


class Sound(NamedTuple):
    """The sound of one sentence: how long, and how it is read."""

    seconds: float
    load: Callable[[], Waveform]


def read_vocaset(folder: Path | str, topology: Path | str | None = None) -> Source:
    """Read VOCASET in any of its three layouts; motion stays on the disk.

    Sentences with only mesh or only sound, without frames, or of a subject without template are passed over and
    listed. Where mesh and sound are not equally long the common length is kept; the take's notes say what was cut.

    Parameters
    ----------
    folder : where the files lie.
    topology : mesh with the triangles; default FLAME_sample.ply in `folder` or its `templates/`.

    Raises VisemoError for a folder without any of the layouts, missing or damaged files, pickles with code, and
    vertices of another number, order or unit.
    """
    folder = Path(folder)
    mesh, remarks = read_topology(folder, topology)
    skipped: list[Skipped] = []
    templates = read_templates(folder, mesh, remarks)
    motions = _motions(folder, mesh, skipped, remarks)
    sounds = _sounds(folder)
    skipped += [Skipped("_".join(name), NO_SOUND) for name in sorted(motions) if name not in sounds]
    skipped += [Skipped("_".join(name), NO_MESH) for name in sorted(sounds) if name not in motions]
    sequences = []
    for name in sorted(set(motions) & set(sounds), key=_published_order):
        sequence = _sequence(name, motions[name], sounds[name])
        if name[0] not in templates:
            skipped.append(Skipped(sequence.id, NO_TEMPLATE))
        elif sequence.frames == 0:
            skipped.append(Skipped(sequence.id, NO_FRAMES))
        else:
            sequences.append(sequence)
    if not sequences:
        why = ", ".join(f"{count} {why}" for why, count in reasons(skipped).items()) or "nothing found"
        raise VisemoError(f"{folder}: got no usable sentence ({why}), expected mesh, sound and template")
    neutrals = {sequence.subject: templates[sequence.subject] for sequence in sequences}
    return Source("vocaset", LICENCE, FPS, mesh, neutrals, tuple(sequences), tuple(skipped), remarks=tuple(remarks))


def _published_order(name: Name) -> tuple[int, str, str]:
    """Speakers as the published training lists have them: it is the order of the style vector."""
    subject, sentence = name
    return SPEAKERS.index(subject) if subject in SPEAKERS else len(SPEAKERS), subject, sentence


def layout_of(folder: Path) -> str:
    """Which layout lies in a folder: "distributed", "faceformer", "unposed", or "" for none."""
    if (folder / VERTS).is_file():
        return "distributed"
    if (folder / MESHES).is_dir():
        return "faceformer"
    return "unposed" if any(folder.glob("FaceTalk_*")) or any(folder.glob("*/sentence*")) else ""


def read_topology(folder: Path, topology: Path | str | None) -> tuple[Mesh, list[str]]:
    """The mesh that has the triangles, in metres, and what had to be converted.

    Raises VisemoError where there is none.
    """
    places = [Path(topology)] if topology else [folder / TOPOLOGY, folder / "templates" / TOPOLOGY]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise VisemoError(
            f"{places[0]}: got no such file, expected the mesh with the triangles; it lies in the voca repository "
            "under template/, or name another with --topology"
        )
    mesh, remarks = read_mesh(path), []
    if not len(mesh.triangles):
        raise VisemoError(f"{path}: got a mesh without triangles, expected the topology of the data")
    return Mesh(in_metres(path.name, mesh.vertices, remarks), mesh.triangles), remarks


def read_templates(folder: Path, mesh: Mesh, remarks: list[str]) -> dict[str, FloatArray]:
    """The neutral (N, 3) m of every subject. Raises VisemoError for a missing or damaged file or a wrong mesh."""
    table = _table(folder / TEMPLATES)
    order, neutrals = OrderCheck(mesh.triangles), {}
    for subject, rows in table.items():
        what, vertices = f"{folder / TEMPLATES}: {subject}", np.asarray(rows)
        if vertices.dtype.kind not in "fiu" or vertices.ndim != 2 or vertices.shape[1] != 3:
            raise VisemoError(f"{what}: got {vertices.dtype} of shape {vertices.shape}, expected vertices (N, 3)")
        check_count(what, len(vertices), len(mesh.vertices))
        neutrals[subject] = in_metres(what, vertices, remarks)
        order.person(what, neutrals[subject], mesh)
    return neutrals


def _sequence(name: Name, motion: Motion, sound: Sound) -> Sequence:
    """One sentence, as long as both its mesh and its sound."""
    subject, sentence = name
    frames = min(motion.frames, round(sound.seconds * FPS))
    notes: dict[str, Any] = {}
    if frames < motion.frames:
        notes["cut_frames"] = motion.frames - frames
    elif sound.seconds - frames / FPS >= 1 / FPS:
        notes["cut_sound"] = round(sound.seconds - frames / FPS, 3)
    id, text = f"{subject}_{sentence}", {"sentence": sentence, "notes": notes}
    return Sequence(id, subject, "speech", frames, motion.read, sound=sound.load, **text)


# ---------------------------------------------------------------- motion


def _motions(folder: Path, mesh: Mesh, skipped: list[Skipped], remarks: list[str]) -> dict[Name, Motion]:
    layout = layout_of(folder)
    if layout == "distributed":
        return _indexed(folder, mesh, skipped, remarks)
    if layout == "faceformer":
        return _arrays(folder / MESHES, mesh, skipped, remarks)
    if layout == "unposed":
        return _plys(folder, mesh, skipped)
    raise VisemoError(f"{folder}: got none of {VERTS}, {MESHES}/ and PLY sequences, expected one; try visemo doctor")


def _indexed(folder: Path, mesh: Mesh, skipped: list[Skipped], remarks: list[str]) -> dict[Name, Motion]:
    """Rows of data_verts.npy, which stay there until they are read, and are let go of again."""
    path = folder / VERTS
    rows = open_array(path)
    if rows.ndim != 3 or rows.shape[2] != 3:
        raise VisemoError(f"{folder / VERTS}: got shape {rows.shape}, expected (rows, vertices, 3)")
    check_count(f"{folder / VERTS}", rows.shape[1], len(mesh.vertices))
    metres = _scale(VERTS, rows, remarks)
    motions = {}
    for subject, sentences in _table(folder / INDEX).items():
        for sentence, frames in _entries(folder / INDEX, subject, sentences):
            numbers = sorted(int(number) for number in frames)
            places = np.array([int(frames[number]) for number in sorted(frames)], np.int64)
            if numbers != list(range(len(numbers))) or (places < 0).any() or (places >= len(rows)).any():
                skipped.append(Skipped(f"{subject}_{sentence}", "frames missing from the index or the array"))
            else:
                motions[subject, sentence] = Motion(len(places), partial(_rows, path, places, metres))
    return motions


def _rows(path: Path, places: np.ndarray, metres: float, start: int, stop: int) -> FloatArray:
    vertices = open_array(path)[places[start:stop]].astype(np.float32)  # a map that stays open would grow to the file
    return vertices if metres == 1.0 else vertices * np.float32(metres)


def _arrays(folder: Path, mesh: Mesh, skipped: list[Skipped], remarks: list[str]) -> dict[Name, Motion]:
    """One array of (frames, 3 N) for each sentence."""
    motions: dict[Name, Motion] = {}
    metres = 0.0
    for path in sorted(folder.glob("*.npy")):
        array = open_array(path)
        if array.ndim not in (2, 3) or int(np.prod(array.shape[1:])) % 3:
            raise VisemoError(f"{path}: got shape {array.shape}, expected (frames, 3 x vertices)")
        check_count(f"{path}", int(np.prod(array.shape[1:])) // 3, len(mesh.vertices))
        if not len(array):
            skipped.append(Skipped(path.stem, NO_FRAMES))
            continue
        metres = metres or _scale(f"{MESHES}/", array.reshape(len(array), -1, 3), remarks)
        motions[_name(path)] = Motion(len(array), partial(_flat_rows, path, metres))
    return motions


def _flat_rows(path: Path, metres: float, start: int, stop: int) -> FloatArray:
    block = open_array(path)[start:stop]
    return np.ascontiguousarray(block, np.float32).reshape(len(block), -1, 3) * np.float32(metres)


def _plys(folder: Path, mesh: Mesh, skipped: list[Skipped]) -> dict[Name, Motion]:
    """<subject>/<sentence>, the last two parts of each sequence's path."""
    found, reader = find_plys(folder), PlyReader(mesh.triangles)
    skipped += [Skipped("_".join(path.relative_to(folder).parts[-2:]), NO_FRAMES) for path in found.empty]
    motions: dict[Name, Motion] = {}
    for sequence in found.sequences:
        name = (sequence.key[-2], sequence.key[-1])
        if name in motions:
            raise VisemoError(f"{folder}: got two sequences named {'/'.join(name)}, expected one; remove one")
        motions[name] = Motion(len(sequence), partial(_ply_rows, reader, sequence))
    return motions


def _ply_rows(reader: PlyReader, sequence: PlySequence, start: int, stop: int) -> FloatArray:
    return reader.read(sequence, start, stop)


def _scale(what: str, rows: np.ndarray, remarks: list[str]) -> float:
    """Metres in a unit of the first row that holds a face."""
    first = next((row for row in rows if np.isfinite(row).all() and np.ptp(row)), rows[0] if len(rows) else None)
    if first is None:
        raise VisemoError(f"{what}: got no rows, expected vertices")
    unit, metres = unit_of(what, first)
    if unit != "m":
        remarks.append(f"{what}: converted from {unit}")
    return metres


# ---------------------------------------------------------------- sound


def _sounds(folder: Path) -> dict[Name, Sound]:
    """Every sentence that has a sound, out of the pickle or the wav files, whichever there is."""
    if (folder / WAVS).is_dir():
        return {_name(path): _wav(path) for path in sorted((folder / WAVS).glob("*.wav"))}
    if (folder / AUDIO).is_file():
        return _pickled_sounds(folder / AUDIO)
    beside = sorted(path for path in folder.rglob("*.wav"))
    if not beside:
        raise VisemoError(f"{folder}: got neither {AUDIO} nor {WAVS}/, expected the sound; try visemo doctor")
    return {_name(path) if "_" in path.stem else (path.parent.name, path.stem): _wav(path) for path in beside}


def _pickled_sounds(path: Path) -> dict[Name, Sound]:
    """The sounds of raw_audio_fixed.pkl. It has to be read whole (about 1 GB): the memory needed is that of the file
    and at most once more while it is read; samples are kept as 16 bit afterwards."""
    table, sounds = _table(path), {}
    for subject in list(table):
        for sentence, entry in _entries(path, subject, table.pop(subject)):
            try:
                samples, rate = _sixteen_bit(np.asarray(entry["audio"])), int(entry["sample_rate"])
            except (KeyError, TypeError, ValueError) as error:
                raise VisemoError(
                    f"{path}: got {subject} {sentence} without {error}, expected audio and sample_rate"
                ) from error
            if rate <= 0:
                raise VisemoError(f"{path}: got {subject} {sentence} at {rate} Hz, expected a positive sample rate")
            sounds[subject, sentence] = Sound(len(samples) / rate, partial(_resampled, samples, rate))
    return sounds


def _sixteen_bit(samples: np.ndarray) -> np.ndarray:
    """Mono int16, from int16 in any wider type, 32 bit full scale, or floats of -1..1."""
    if samples.dtype.kind not in "if":
        raise ValueError(f"numbers ({samples.dtype})")
    mono = samples if samples.ndim == 1 else samples.mean(axis=1).astype(samples.dtype)
    if mono.dtype == np.int16:
        return mono
    peak = float(np.abs(mono).max(initial=0))
    scale = 32767.0 if mono.dtype.kind == "f" and peak <= 1.0 else 1.0 if peak < 32769 else 2.0**-16
    return np.clip(mono * scale, -32768, 32767).astype(np.int16)


def _resampled(samples: np.ndarray, rate: int) -> Waveform:
    import soxr

    return Waveform(soxr.resample(samples.astype(np.float32) / 32768, rate, SAMPLE_RATE).astype(np.float32))


def _wav(path: Path) -> Sound:
    import soundfile

    from visemo.media import load_audio

    try:
        seconds = float(soundfile.info(path).duration)
    except soundfile.LibsndfileError as error:
        raise VisemoError(f"{path}: got no readable sound ({error}), expected a wav; get it anew") from error
    return Sound(seconds, partial(load_audio, path))


# ---------------------------------------------------------------- files


def open_array(path: Path) -> np.ndarray:
    """A memory map of a .npy file. Raises VisemoError for a missing, damaged or cut-off one, or one with objects."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise VisemoError(f"{path}: got no whole array ({error}), expected a .npy; get it anew") from error


def _table(path: Path) -> dict[str, Any]:
    """A pickled dictionary. Raises VisemoError where there is none."""
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected it beside the others; try visemo doctor")
    try:
        table = read_array_pickle(path)
    except VisemoError as error:
        raise error if str(path) in str(error) else VisemoError(f"{path}: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
        raise VisemoError(f"{path}: got {type(table).__name__}, expected a dictionary by subject")
    return table


def _entries(path: Path, subject: str, sentences: Any) -> list[tuple[str, Any]]:
    if not isinstance(sentences, dict) or not all(isinstance(entry, dict) for entry in sentences.values()):
        raise VisemoError(f"{path}: got no dictionary of sentences for {subject}, expected one; get the file anew")
    return [(str(sentence), entry) for sentence, entry in sentences.items()]


def _name(path: Path) -> Name:
    """Subject and sentence of <subject>_<sentence>.npy or .wav."""
    subject, _, sentence = path.stem.rpartition("_")
    return subject, sentence
