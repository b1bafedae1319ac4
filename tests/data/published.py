"""Miniature copies of public data sets, in the very layouts they are published in.

VOCASET's pickles are written as python 2 wrote them, PLY files as binary doubles with unsigned faces. The head is
FLAME's own template where the real data are at hand, and a small one of the same build elsewhere.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tiny import make_tiny_face
from visemo.assets import sha256
from visemo.data.splits import COMA_SUBJECTS, VOCASET_TEST, VOCASET_TRAIN, VOCASET_VAL
from visemo.face.face import Cut, Face
from visemo.types import Mesh

SPEAKERS = (*VOCASET_TRAIN, *VOCASET_VAL, *VOCASET_TEST)
IDENTITIES = {subject: identity for identity, subject in COMA_SUBJECTS.items()}
REPOSITORY = Path(__file__).resolve().parents[2]
RATE = 22_000  # of VOCASET's sounds

Sentence = tuple[str, str]  # speaker or identity, sentence or expression


@dataclass(frozen=True)
class Head:
    """A head as the data sets have it, and a face that is cut out of it."""

    mesh: Mesh
    face: Face
    real: bool


def small_head() -> Head:
    """A face of 532 vertices with a scalp above it; the face's rows run backwards through the head's."""
    face = make_tiny_face()
    count = len(face.template)
    x, y = np.meshgrid(np.linspace(-0.07, 0.07, 12), np.linspace(0.115, 0.17, 6))
    scalp = np.stack([x.ravel(), y.ravel(), 0.06 - 3 * x.ravel() ** 2 - 4 * (y.ravel() - 0.1) ** 2 / 0.1], axis=1)
    at = np.arange(72).reshape(6, 12)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    above = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    rows = np.arange(count + 72 - 1, 71, -1)  # face vertex i is head vertex rows[i]
    vertices = np.empty((count + 72, 3), np.float32)
    vertices[:72], vertices[rows] = scalp, face.template
    triangles = np.concatenate([above, rows[face.triangles]]).astype(np.int32)
    cut = Cut(sha256(triangles)[:16], rows.astype(np.int32))
    return Head(Mesh(vertices, triangles), replace(face, name="cut", cut=cut), False)


def flame_head() -> Head | None:
    """FLAME's template and the frontal face cut out of it, or None where the real data are not at hand."""
    from visemo.face.flame import flame_face, read_flame

    shared = Path(os.environ.get("VISEMO_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    pack = shared / "flame_open" / "flame2023_open_partial.npz"
    if not pack.is_file():
        return None
    model = read_flame(pack)
    return Head(Mesh(model.v_template, model.triangles), flame_face(model), True)


def head() -> Head:
    """The real one where it is at hand, else the small one."""
    return flame_head() or small_head()


# ---------------------------------------------------------------- people and motion to write


def people(mesh: Mesh, names: tuple[str, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """A neutral (N, 3) for everyone: the head, a little longer, wider and lopsided."""
    neutrals = {}
    for n, name in enumerate(names):
        random = np.random.default_rng((seed, n))
        stretch = 1 + 0.03 * random.standard_normal(3)
        lean = 0.004 * np.sin(30 * mesh.vertices[:, [1, 2, 0]] + random.uniform(0, 6, 3))
        neutrals[name] = (mesh.vertices * stretch + lean).astype(np.float32)
    return neutrals


def talk(mesh: Mesh, frames: int, seed: int = 0) -> np.ndarray:
    """Displacements (T, N, 3) m: the lower front of the head goes down and up again, some 8 mm at most."""
    time = np.arange(frames) / 60
    course = 0.5 - 0.5 * np.cos(2 * np.pi * (3 + seed % 3) * time + 0.2 * seed)
    return (course[:, None, None] * bump(mesh, (0, -0.25), 0.10, (0, -0.008, -0.001))).astype(np.float32)


def smile(mesh: Mesh, frames: int, seed: int = 0, size: float = 1.0) -> np.ndarray:
    """Displacements (T, N, 3) m, neutral, apex in the middle, neutral: both corners of the mouth go up and out."""
    course = np.sin(np.linspace(0, np.pi, frames)) ** 2
    left = bump(mesh, (0.2, -0.2), 0.07, (0.006, 0.006 + 0.001 * (seed % 4), -0.002))
    right = bump(mesh, (-0.2, -0.2), 0.07, (-0.006, 0.006 + 0.001 * (seed % 4), -0.002))
    return (size * course[:, None, None] * (left + right)).astype(np.float32)


def bump(mesh: Mesh, at: tuple[float, float], width: float, move: tuple[float, float, float]) -> np.ndarray:
    """A smooth local displacement (N, 3); place and width are shares of the head's size, from its middle."""
    size = np.ptp(mesh.vertices, axis=0).max()
    middle = (mesh.vertices.max(axis=0) + mesh.vertices.min(axis=0)) / 2
    away = (mesh.vertices - middle)[:, :2] / size - np.array(at)
    near = np.exp(-(away**2).sum(axis=1) / (2 * width**2)) * (mesh.vertices[:, 2] > middle[2] - 0.2 * size)
    return near[:, None] * np.array(move)


def nodding(frames: np.ndarray, seed: int = 0, degrees: float = 2.0, metres: float = 0.004) -> np.ndarray:
    """The same vertices (T, N, 3) on a head that turns and drifts from frame to frame."""
    from scipy.spatial.transform import Rotation

    random = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(np.deg2rad(degrees) * random.standard_normal((len(frames), 3))).as_matrix()
    moved = np.einsum("tij,tnj->tni", turns, frames) + metres * random.standard_normal((len(frames), 1, 3))
    return moved.astype(np.float32)


def hum(seconds: float, rate: int = RATE, pitch: float = 140.0) -> np.ndarray:
    """16 bit samples of a voice of a kind."""
    time = np.arange(round(seconds * rate)) / rate
    return (6000 * np.sin(2 * np.pi * pitch * time) * (0.6 + 0.4 * np.sin(9 * time))).astype(np.int16)


# ---------------------------------------------------------------- VOCASET


def write_vocaset(
    folder: Path,
    mesh: Mesh,
    neutrals: Mapping[str, np.ndarray],
    motions: Mapping[Sentence, np.ndarray],
    sounds: Mapping[Sentence, tuple[np.ndarray, int]],
    *,
    layout: str = "distributed",
) -> Path:
    """Write displacements (T, N, 3) of each (speaker, sentence) and their sounds (samples, rate).

    `layout` is distributed, faceformer, unposed, or zipped (unposed, an archive for each speaker).
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_python2_pickle(folder / "templates.pkl", {name: rest.astype(np.float64) for name, rest in neutrals.items()})
    faces = {name: (neutrals[name[0]] if name[0] in neutrals else mesh.vertices) + d for name, d in motions.items()}
    if layout == "distributed":
        _write_rows(folder, faces)
    elif layout == "faceformer":
        (folder / "vertices_npy").mkdir(exist_ok=True)
        for name, vertices in faces.items():
            np.save(
                folder / "vertices_npy" / f"{'_'.join(name)}.npy",
                vertices.reshape(len(vertices), 3 * vertices.shape[1]),
            )
    else:
        for (speaker, sentence), vertices in faces.items():
            names = [f"{sentence}/{sentence}.{n + 1:06d}.ply" for n in range(len(vertices))]
            write_plys(folder / speaker, names, vertices, mesh.triangles, zipped=layout == "zipped")
    if layout == "faceformer":
        (folder / "wav").mkdir(exist_ok=True)
        for name, (samples, rate) in sounds.items():
            soundfile.write(folder / "wav" / f"{'_'.join(name)}.wav", samples, rate, subtype="PCM_16")
    else:
        table: dict[str, Any] = {}
        for (speaker, sentence), (samples, rate) in sounds.items():
            table.setdefault(speaker, {})[sentence] = {"audio": samples, "sample_rate": rate}
        write_python2_pickle(folder / "raw_audio_fixed.pkl", table)
    place = folder / "templates" if layout == "faceformer" else folder
    place.mkdir(exist_ok=True)
    (place / "FLAME_sample.ply").write_bytes(ply_bytes(mesh.vertices, mesh.triangles))
    return folder


def _write_rows(folder: Path, faces: Mapping[Sentence, np.ndarray]) -> None:
    """data_verts.npy and its index, the rows of every sentence out of order among others'."""
    total = sum(len(vertices) for vertices in faces.values())
    places = np.random.default_rng(0).permutation(total)
    rows = np.empty((total, *next(iter(faces.values())).shape[1:]), np.float32)
    index: dict[str, dict[str, dict[int, int]]] = {}
    used = 0
    for (speaker, sentence), vertices in faces.items():
        own = places[used : used + len(vertices)]
        rows[own] = vertices
        index.setdefault(speaker, {})[sentence] = {n: int(place) for n, place in enumerate(own)}
        used += len(vertices)
    np.save(folder / "data_verts.npy", rows)
    write_python2_pickle(folder / "subj_seq_to_idx.pkl", index)


class _Python2(pickle._Pickler):  # type: ignore[misc]
    """Writes text and bytes as python 2's `str`, and numpy's names of then."""

    dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    def save_text(self, text: str) -> None:
        self._save_bytes(text.encode("latin1"))

    def _save_bytes(self, data: bytes) -> None:
        short = len(data) < 256
        self.write((b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data)
        self.memoize(data) if short and id(data) not in self.memo else None

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(b"c" + module.encode() + b"\n" + (name or obj.__qualname__).encode() + b"\n")
        self.memoize(obj)

    dispatch[str] = save_text
    dispatch[bytes] = _save_bytes
    dispatch[type] = save_global
    dispatch[type(len)] = save_global


def write_python2_pickle(path: Path, value: Any) -> None:
    """A protocol 2 pickle as python 2 would have written it."""
    file = io.BytesIO()
    _Python2(file, protocol=2).dump(value)
    path.write_bytes(file.getvalue())


# ---------------------------------------------------------------- Florence 4D and EmoVOCA's meshes


def write_florence4d(
    folder: Path,
    mesh: Mesh,
    neutrals: Mapping[str, np.ndarray],
    sequences: Mapping[Sentence, np.ndarray],
    zipped: bool = False,
) -> Path:
    """Write absolute vertices (T, N, 3) of each (identity, expression), and every identity at rest."""
    folder.mkdir(parents=True, exist_ok=True)
    for identity, neutral in neutrals.items():
        (folder / f"{identity}.ply").write_bytes(ply_bytes(neutral, mesh.triangles))
    for (identity, expression), vertices in sequences.items():
        names = [f"{expression}/{expression}_{n}.ply" for n in range(len(vertices))]
        write_plys(folder / identity, names, vertices, mesh.triangles, zipped)
    return folder


def write_expression_meshes(folder: Path, mesh: Mesh, apexes: Mapping[Sentence, np.ndarray]) -> Path:
    """Write one mesh (N, 3) for each (identity, expression), as EmoVOCA's New_Conditions has them."""
    for (identity, expression), vertices in apexes.items():
        (folder / identity).mkdir(parents=True, exist_ok=True)
        (folder / identity / f"{expression}_30.ply").write_bytes(ply_bytes(vertices, mesh.triangles))
    return folder


def write_plys(folder: Path, names: list[str], frames: np.ndarray, triangles: np.ndarray, zipped: bool = False) -> None:
    """PLY files below a folder, or in an archive of its name."""
    if zipped:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder.with_name(f"{folder.name}.zip"), "a") as archive:
            for name, vertices in zip(names, frames):
                archive.writestr(f"{folder.name}/{name}", ply_bytes(vertices, triangles))
        return
    for name, vertices in zip(names, frames):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ply_bytes(vertices, triangles))


def ply_bytes(vertices: np.ndarray, triangles: np.ndarray) -> bytes:
    """Binary little endian PLY of doubles, faces uchar and uint."""
    header = f"ply\nformat binary_little_endian 1.0\ncomment VCGLIB generated\nelement vertex {len(vertices)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += f"element face {len(triangles)}\nproperty list uchar uint vertex_indices\nend_header\n"
    faces = np.zeros(len(triangles), [("count", "u1"), ("corners", "<u4", 3)])
    faces["count"], faces["corners"] = 3, triangles
    return header.encode() + np.asarray(vertices, "<f8").tobytes() + faces.tobytes()
