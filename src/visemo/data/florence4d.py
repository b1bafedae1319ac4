"""Florence 4D: people who put on an expression and take it off again, silent, in FLAME's topology.

    <identity>.ply                                     that person at rest, such as COMA_CH01.ply
    <identity>/<expression>/<expression>_<frame>.ply   neutral, apex, neutral; or one expression after another
    <identity>.zip, <identity>/<expression>.zip        the same, not unpacked

The first twelve identities are the speakers of VOCASET and go by their names there, so that nobody is trained on in
one data set and tested on in the other.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from visemo.data.checks import OrderCheck, check_count, in_metres, unit_of
from visemo.data.ply_sequences import Found, PlyReader, PlySequence, find_plys
from visemo.data.source import Sequence, Skipped, Source
from visemo.data.splits import subject_of
from visemo.data.vocaset import NO_FRAMES, NO_TEMPLATE, read_topology
from visemo.geometry.align import rigid_align
from visemo.types import FloatArray, Mesh, VisemoError

FPS = 30.0  # the files do not say; 60 frames of neutral, apex, neutral are two seconds then
LICENCE = (
    "Florence 4D: CC BY 4.0 as its page states; includes CoMA (MPI, non-commercial) and scans of people: "
    "ask its authors before passing anything on"
)
AT_REST = 1e-3  # m: first frames that agree so well show the neutral
FIRST = 8  # sequences whose first frames are compared


def read_florence4d(folder: Path | str, topology: Path | str | None = None, fps: float = FPS) -> Source:
    """Read Florence 4D; frames stay on the disk, zipped or not, until they are asked for.

    A sequence may have any number of frames. An identity without a mesh at rest is used all the same if its sequences
    begin with one and the same face; otherwise it is passed over and listed.

    Parameters
    ----------
    folder : where the identities lie.
    topology : mesh with the triangles; default FLAME_sample.ply in `folder`, or the first mesh found.
    fps : frames per second of the sequences.

    Raises VisemoError for a folder without sequences, damaged files, two sequences of one name, and neutrals of
    another number of vertices, order or unit.
    """
    folder = Path(folder)
    found = find_plys(folder)
    if not found.sequences:
        raise VisemoError(
            f"{folder}: got no sequences, expected <identity>/<expression>/<expression>_<frame>.ply; try visemo doctor"
        )
    remarks = [f"frame rate: taken as {fps:g} per second, the files do not say"]
    mesh, metres = _topology(folder, found, topology, remarks)
    reader, skipped = PlyReader(mesh.triangles), [Skipped(_label(path, folder), NO_FRAMES) for path in found.empty]
    identities = tuple(dict.fromkeys(sequence.key[0] for sequence in found.sequences))
    neutrals = {}
    for identity in identities:
        own = [sequence for sequence in found.sequences if sequence.key[0] == identity]
        neutral = _at_rest(folder, identity, found, mesh, remarks)
        if neutral is None:
            neutral = _first_faces([_frames(reader, sequence, metres, 0, 1)[0] for sequence in own[:FIRST]])
            remarks += [] if neutral is None else [f"{identity}: no mesh at rest, taken from its first frames"]
        if neutral is None:
            skipped += [Skipped("_".join(sequence.key), NO_TEMPLATE) for sequence in own]
        else:
            check_count(identity, len(neutral), len(mesh.vertices))
            neutrals[identity] = neutral
    sequences = tuple(_sequence(s, reader, metres) for s in found.sequences if s.key[0] in neutrals)
    if not sequences:
        raise VisemoError(f"{folder}: got no identity with a mesh at rest, expected {identities[0]}.ply and its like")
    named = {subject_of(identity): neutral for identity, neutral in neutrals.items()}
    return Source(
        "florence4d", LICENCE, fps, mesh, named, sequences, tuple(skipped), posed=True, remarks=tuple(remarks)
    )


def _sequence(sequence: PlySequence, reader: PlyReader, metres: float) -> Sequence:
    identity, *names = sequence.key
    subject, label = subject_of(identity), "_".join(names)
    notes = {"identity": identity} if identity != subject else {}
    gaps = sequence.numbers[-1] - sequence.numbers[0] + 1 - len(sequence)
    if gaps:
        notes["missing_frames"] = str(gaps)
    read = partial(_frames, reader, sequence, metres)
    return Sequence(f"{subject}_{label}", subject, "expression", len(sequence), read, label=label, notes=notes)


def _frames(reader: PlyReader, sequence: PlySequence, metres: float, start: int, stop: int) -> FloatArray:
    vertices = reader.read(sequence, start, stop)
    return vertices if metres == 1.0 else vertices * np.float32(metres)


def _topology(folder: Path, found: Found, topology: Path | str | None, remarks: list[str]) -> tuple[Mesh, float]:
    """The triangles with some head in metres, and how many metres are in a unit of the sequences."""
    first = found.sequences[0]
    sample = first.first_mesh()
    unit, metres = unit_of("/".join(first.key), sample.vertices)
    if unit != "m":
        remarks.append(f"{folder.name}: sequences converted from {unit}")
    try:
        mesh, converted = read_topology(folder, topology)
    except VisemoError:
        if topology:
            raise
        mesh, converted = Mesh(sample.vertices * np.float32(metres), sample.triangles), []
    if not len(mesh.triangles):
        raise VisemoError(f"{folder}: got meshes without triangles, expected FLAME_sample.ply beside them")
    check_count("/".join(first.key), len(sample.vertices), len(mesh.vertices))
    remarks += converted
    return mesh, metres


def _at_rest(folder: Path, identity: str, found: Found, mesh: Mesh, remarks: list[str]) -> FloatArray | None:
    """(N, 3) m: the identity's own mesh at rest, or None where there is no such file."""
    places = [(identity,), ("templates", identity), (identity, "neutral"), (identity, "Neutral")]
    given = next((m for m in map(found.mesh, places) if m is not None), None)
    if given is None:
        return None
    what = f"{folder / identity}.ply"
    check_count(what, len(given.vertices), len(mesh.vertices))
    if len(given.triangles) and not np.array_equal(given.triangles, mesh.triangles):
        raise VisemoError(f"{what}: got triangles of another topology, expected those of the other meshes")
    vertices = in_metres(what, given.vertices, remarks)
    OrderCheck(mesh.triangles).person(what, vertices, mesh)
    return vertices


def _first_faces(firsts: list[FloatArray]) -> FloatArray | None:
    """(N, 3) m: the one face that several sequences begin with, or None when they do not."""
    if len({first.shape for first in firsts}) > 1 or not np.isfinite(np.stack(firsts)).all():
        return None
    laid = np.stack([first @ r.T + t for first in firsts for r, t in [rigid_align(first, firsts[0])]])
    return laid.mean(axis=0).astype(np.float32) if np.abs(laid - laid[0]).max() < AT_REST else None


def _label(path: Path, folder: Path) -> str:
    return "_".join(path.relative_to(folder).parts)
