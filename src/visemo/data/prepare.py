"""Any source of motion -> the one store: laid on the face, displacements from each person's own neutral.

One registration serves a whole topology: it says where on the source's triangles every vertex of the face lies, and
with that a fixed sparse product carries all frames over. Where the face is cut out of the source's own mesh its rows
are taken as they are.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visemo.assets import atomic, sha256
from visemo.data.checks import OrderCheck, check_count
from visemo.data.source import DAMAGED, Sequence, Skipped, Source, reasons
from visemo.data.splits import shared_splits
from visemo.data.store import TRANSFER, Precision, Store, StoreWriter, Take, open_store
from visemo.data.unposing import close_lips, lay_on, still_vertices
from visemo.face.face import Face
from visemo.face.registering import own_rows, register_mesh
from visemo.geometry.align import rigid_align
from visemo.geometry.transfer import Transfer
from visemo.types import FloatArray, IntArray, Mesh, VisemoError, Waveform
from visemo.units import MM_PER_M, SAMPLE_RATE

SAME_ANGLE, SAME_PLACE = np.deg2rad(3), 0.01  # rad, m: frames of reference that differ by less are one
SPARE = 0.2e9  # bytes left free on the disk
BYTES = {"float16": 2, "float32": 4}

Register = Callable[[Mesh, Face, None], Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PrepareConfig:
    """How a store is written: `precision` of displacements on disk, `block` frames handled at a time."""

    precision: Precision = "float16"
    block: int = 64

    def __post_init__(self) -> None:
        if self.precision not in BYTES or self.block < 1:
            raise VisemoError(
                f"prepare: got precision {self.precision!r} and blocks of {self.block}, "
                f"expected {' or '.join(BYTES)} and blocks of 1 frame or more"
            )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A finished store, what stayed out of it and why, and how many takes were cut to the length of their sound."""

    store: Store
    skipped: tuple[Skipped, ...]
    cut: int


class Unusable(VisemoError):
    """One sequence cannot be used; the others can."""


def prepare(
    folder: Path | str,
    source: Source,
    face: Face,
    config: PrepareConfig | None = None,
    *,
    register: Register | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Write the store of a source on a face; go on with a half-written one of the same.

    Sequences that turn out damaged are passed over and listed; a take is finished before the next is begun.

    Parameters
    ----------
    folder : the store: absent, empty, or half-written by the same source, face and config.
    source : what a reader found.
    face : any; exact when it has the source's topology or is cut out of it, registered otherwise.
    config : precision and block size; default PrepareConfig().
    register : lays the face's template on a mesh; default `visemo.face.registering.register_mesh`.
    progress : called with (frames done, frames in all).

    Raises VisemoError when the disk is too small, when no sequence is usable, and as `StoreWriter`.
    """
    folder, config = Path(folder), config or PrepareConfig()
    check_disk(folder, source, face, config)
    total, done = sum(sequence.frames for sequence in source.sequences), 0
    skipped, order = list(source.skipped), OrderCheck(source.mesh.triangles)
    with StoreWriter(
        folder,
        face,
        source=source.name,
        fps=source.fps,
        licence=source.licence,
        generator={"version": 1, "hash": fingerprint(source)},
        precision=config.precision,
        resume=True,
    ) as writer:
        carrier = carrier_of(folder, source.mesh, face, register)
        still = carrier.still(face, source.mesh) if source.posed else None
        people = {name: _add_person(writer, name, source, face, carrier) for name in source.neutrals}
        for sequence in source.sequences:
            if sequence.id not in writer:
                frames = _Frames(sequence, source.neutrals[sequence.subject], people[sequence.subject], still)
                try:
                    _add_take(writer, source, sequence, frames.displacements(carrier, order, config.block))
                except Unusable as error:
                    skipped.append(Skipped(sequence.id, DAMAGED, str(error)))
            done += sequence.frames
            if progress:
                progress(done, total)
        if not writer.takes:
            raise VisemoError(f"{folder}: got no usable sequence, expected some; the last: {skipped[-1].detail}")
        for name, parts in shared_splits(writer.takes).items():
            writer.add_split(name, parts)
        cut = sum(not {"cut_frames", "cut_sound"}.isdisjoint(take.notes) for take in writer.takes)
        writer.add_facts(
            counts={"takes": len(writer.takes), "cut to a common length": cut, **reasons(skipped)},
            skipped=[list(row) for row in skipped],
            remarks=list(source.remarks),
            registration=carrier.facts,
        )
    return Prepared(open_store(folder), tuple(skipped), cut)


def fingerprint(source: Source) -> str:
    """16 hex digits over what the source holds: its people, their faces, and every sequence's name and length."""
    rows = "\n".join(f"{s.id} {s.subject} {s.kind} {s.frames}" for s in source.sequences)
    named = [part for name, rest in source.neutrals.items() for part in (name.encode(), rest)]
    return sha256(source.name.encode(), f"{source.fps}".encode(), rows.encode(), source.mesh.triangles, *named)[:16]


def check_disk(folder: Path, source: Source, face: Face, config: PrepareConfig) -> None:
    """Refuse to begin what the disk cannot hold."""
    if not folder.parent.is_dir():
        raise VisemoError(f"{folder}: got no folder {folder.parent}, expected an existing one; create it first")
    frame = len(face.template) * 3 * BYTES[config.precision]
    frames = sum(sequence.frames for sequence in source.sequences)
    talk = sum(sequence.frames for sequence in source.sequences if sequence.sound) / source.fps
    written = sum(path.stat().st_size for path in folder.glob("takes/*")) if folder.is_dir() else 0
    need = frames * frame + talk * SAMPLE_RATE * 2 - written + SPARE
    free = shutil.disk_usage(folder.parent).free
    if free < need:
        raise VisemoError(
            f"{folder}: got {free / 1e9:.1f} GB free on its disk, expected {need / 1e9:.1f} GB; "
            "free some, choose another disk or --precision float16"
        )


# ---------------------------------------------------------------- from the source's mesh to the face


@dataclass(frozen=True, eq=False)
class Carrier:
    """Carries what lives on a source's N vertices to the V of a face, in the face's frame of reference."""

    transfer: Transfer
    rotation: np.ndarray  # (3, 3)
    shift: np.ndarray  # (3,) m
    facts: dict[str, Any]

    def displacements(self, field: FloatArray) -> FloatArray:
        """(..., V, 3) m of displacements (..., N, 3) m."""
        moved = self.transfer.apply(field)
        return moved if self._at_home else (moved @ self.rotation.T.astype(np.float32))

    def places(self, vertices: FloatArray) -> FloatArray:
        """(..., V, 3) m of vertices (..., N, 3) m."""
        return self.displacements(vertices) + self.shift.astype(np.float32)

    def still(self, face: Face, mesh: Mesh) -> IntArray:
        """The source's vertices that hold a head still."""
        nearest = np.take_along_axis(self.transfer.corners, self.transfer.weights.argmax(axis=1)[:, None], axis=1)[:, 0]
        around = (mesh.vertices[nearest[face.region(name)]] for name in ("eyes", "brows"))
        return still_vertices(mesh.vertices, *around)

    @property
    def _at_home(self) -> bool:
        return np.array_equal(self.rotation, np.eye(3))


def carrier_of(folder: Path, mesh: Mesh, face: Face, register: Register | None) -> Carrier:
    """How the mesh's motion comes to the face: its own rows, or a registration, which is kept in the store."""
    topology, rows = sha256(mesh.triangles)[:16], own_rows(mesh, face)
    if rows is not None:
        rotation, shift = rigid_align(mesh.vertices[rows], face.template)
        angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
        if angle < SAME_ANGLE and np.linalg.norm(mesh.vertices[rows].mean(0) - face.template.mean(0)) < SAME_PLACE:
            rotation, shift = np.eye(3), np.zeros(3)
        return Carrier(Transfer.rows(rows), rotation, shift, {"kind": "exact rows", "topology": topology})
    if (folder / TRANSFER).is_file():
        return _kept(folder / TRANSFER, topology)
    laid = (register or register_mesh)(mesh, face, None)
    transfer = Transfer.of(laid.vertices, mesh, face.triangles)
    rotation, shift = rigid_align(laid.vertices, face.template)
    distances = {"mean_mm": round(float(laid.distance_mean), 4), "max_mm": round(float(laid.distance_max), 4)}
    facts = {"kind": "registered", "topology": topology, **distances}
    with atomic(folder / TRANSFER) as path, path.open("wb") as file:
        arrays = {"corners": transfer.corners, "weights": transfer.weights, "rotation": rotation, "shift": shift}
        np.savez(file, allow_pickle=False, topology=topology, distances=list(distances.values()), **arrays)
    return Carrier(transfer, rotation, shift, facts)


def _kept(path: Path, topology: str) -> Carrier:
    """The registration that a half-written store began with."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["topology"]) != topology:
                raise ValueError(f"topology {file['topology']}")
            mean, most = (float(x) for x in file["distances"])
            facts = {"kind": "registered", "topology": topology, "mean_mm": mean, "max_mm": most}
            return Carrier(Transfer(file["corners"], file["weights"]), file["rotation"], file["shift"], facts)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise VisemoError(f"{path}: got no usable transfer ({error}), expected the store's own; delete it") from error


# ---------------------------------------------------------------- people and takes


def _add_person(writer: StoreWriter, name: str, source: Source, face: Face, carrier: Carrier) -> FloatArray:
    """Add a subject; returns what its displacements from the source's neutral lack to those from its own (V, 3)."""
    open_face = carrier.places(source.neutrals[name]).astype(np.float32)
    neutral = close_lips(face, open_face) if source.lips_apart else open_face
    notes: dict[str, Any] = {"rest": "proxy, lips closed"} if source.lips_apart else {}
    writer.add_subject(name, neutral, **notes)
    return open_face - neutral


@dataclass(frozen=True, eq=False)
class _Frames:
    """One sequence on its way: absolute vertices in, displacements of the face out."""

    sequence: Sequence
    neutral: FloatArray  # (N, 3) m in the source
    offset: FloatArray  # (V, 3) m: the neutral in the source minus that in the store
    still: IntArray | None

    def displacements(self, carrier: Carrier, order: OrderCheck, block: int) -> Iterator[FloatArray]:
        """Blocks (n, V, 3) m; puts the frame of the largest displacement into an expression's notes."""
        largest, apex = -1.0, 0
        for start, moved in self._blocks(carrier, order, block):
            if self.sequence.kind == "expression":
                means = np.linalg.norm(moved, axis=2).mean(axis=1)
                if means.max() > largest:
                    largest, apex = float(means.max()), start + int(means.argmax())
            yield moved
        if self.sequence.kind == "expression":
            self.sequence.notes.update({"apex": apex, "apex_mean_mm": round(largest * MM_PER_M, 3)})

    def _blocks(self, carrier: Carrier, order: OrderCheck, block: int) -> Iterator[tuple[int, FloatArray]]:
        sequence, course = self.sequence, self.sequence.course
        for start in range(0, sequence.frames, block):
            stop = min(start + block, sequence.frames)
            if course is None:
                yield start, carrier.displacements(self._read(start, stop, order) - self.neutral) + self.offset
            else:
                apex = carrier.displacements(self._read(0, 1, order) - self.neutral) + self.offset
                yield start, (course[start:stop, None, None] * apex).astype(np.float32)

    def _read(self, start: int, stop: int, order: OrderCheck) -> FloatArray:
        try:
            frames = self.sequence.read(start, stop)
            check_count(self.sequence.id, frames.shape[1], len(self.neutral))
            bad = np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))
            if len(bad):
                raise VisemoError(
                    f"{self.sequence.id}: got NaN or infinite vertices in frame {start + bad[0]}, expected finite ones"
                )
            order.frame(f"{self.sequence.id} frame {start}", frames[0], self.neutral)
        except VisemoError as error:
            raise Unusable(str(error)) from error
        return frames if self.still is None else lay_on(frames, self.neutral, self.still)


def _add_take(writer: StoreWriter, source: Source, sequence: Sequence, blocks: Iterator[FloatArray]) -> None:
    words = {"label": sequence.label, "sentence": sequence.sentence, "notes": sequence.notes}
    take = Take(sequence.id, sequence.subject, sequence.kind, sequence.frames, source.fps, **words)
    writer.add_take(take, blocks, _sound(sequence, source.fps))


def _sound(sequence: Sequence, fps: float) -> Waveform | None:
    """The sequence's sound, as long as its motion."""
    if sequence.sound is None:
        return None
    try:
        sound = sequence.sound()
    except VisemoError as error:
        raise Unusable(str(error)) from error
    return Waveform(sound.samples[: round(sequence.frames / fps * sound.sample_rate)], sound.sample_rate)
