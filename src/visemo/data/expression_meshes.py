"""Apex meshes without a neutral, as the EmoVOCA repository publishes them: one face per person and expression.

    <identity>/<expression>_30.ply                             as in its New_Conditions/
    NAME.npz of vertices (I, E, N, 3), identities, expressions, faces

What a person looks like at rest is guessed: the median over the expressions, with the lips closed as the template has
them. Every mesh becomes a short take of its own: on, hold, off.
"""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from visemo.data.acting import minimum_jerk
from visemo.data.checks import OrderCheck, check_count, in_metres
from visemo.data.ply_sequences import PlyReader, find_plys
from visemo.data.source import DAMAGED, Sequence, Skipped, Source
from visemo.data.splits import subject_of
from visemo.data.unposing import median_head
from visemo.data.vocaset import TOPOLOGY, read_topology
from visemo.types import FloatArray, Mesh, VisemoError

FPS = 30.0
LICENCE = "EmoVOCA expression meshes, from Florence 4D: CC BY-NC 4.0, non-commercial"
ONSET, HOLD, DECAY = 18, 16, 24  # frames
COURSE = "rest, minimum-jerk onset of 0.6 s, apex held 0.5 s, minimum-jerk decay of 0.8 s, rest"
PROXY = "neutrals are proxies: the median over a person's expressions, lips closed as the face's template has them"
FEWEST = 3  # expressions of a person whose median is near to rest

Meshes = dict[str, dict[str, FloatArray]]  # identity -> expression -> (N, 3) as it lies in the file


def read_expression_meshes(path: Path | str, topology: Path | str | None = None) -> Source:
    """Read apex meshes; the source's sequences have a course, 60 frames from rest to the apex and back.

    Parameters
    ----------
    path : the npz, a folder with one, or a folder of identities with PLY files.
    topology : mesh with the triangles; default the file's own.

    Raises VisemoError for a file or folder without such meshes, damage, and people of another number of vertices,
    order or unit. A person with fewer than three expressions is passed over: there is no telling how it looks at rest.
    """
    path = Path(path)
    archive = path if path.suffix == ".npz" else next(iter(sorted(path.glob("*.npz"))), None)
    skipped: list[Skipped] = []
    meshes, triangles = _from_archive(archive) if archive else _from_plys(path, skipped)
    remarks = [PROXY, f"each mesh is made a take: {COURSE}"]
    neutrals, sequences, mesh = {}, [], None
    for identity, expressions in meshes.items():
        subject, apexes = subject_of(identity), {}
        for label, vertices in expressions.items():
            what = f"{path}: {identity} {label}"
            try:
                apexes[label] = in_metres(what, vertices, [])
            except VisemoError as error:
                skipped.append(Skipped(f"{subject}_{label}", DAMAGED, str(error)))
        if len(apexes) < FEWEST:
            skipped += [
                Skipped(f"{subject}_{label}", f"fewer than {FEWEST} expressions of a person") for label in apexes
            ]
            continue
        heads = np.stack(list(apexes.values()))
        if mesh is None:
            mesh = _mesh(path, topology, Mesh(heads[0], triangles), remarks)
        check_count(f"{path}: {identity}", heads.shape[1], len(mesh.vertices))
        neutrals[subject] = median_head(heads)
        OrderCheck(mesh.triangles).person(f"{path}: {identity}", neutrals[subject], mesh)
        sequences += [_sequence(subject, identity, label, apex) for label, apex in apexes.items()]
    if mesh is None:
        why = f": {skipped[0].detail or skipped[0].why}" if skipped else ""
        raise VisemoError(f"{path}: got nobody with {FEWEST} apex meshes, expected some{why}")
    return Source(
        "expression-meshes", LICENCE, FPS, mesh, neutrals, tuple(sequences), tuple(skipped), True, True, tuple(remarks)
    )


def course() -> FloatArray:
    """(60,) float32: how much of the apex each frame of a take shows."""
    time = np.arange(ONSET + HOLD + DECAY + 2)
    return (minimum_jerk(time / ONSET) * minimum_jerk((time[-1] - time) / DECAY)).astype(np.float32)


def _sequence(subject: str, identity: str, label: str, apex: FloatArray) -> Sequence:
    notes = {"course": COURSE, **({"identity": identity} if identity != subject else {})}
    shown = course()
    return Sequence(
        f"{subject}_{label}", subject, "expression", len(shown), partial(_apex, apex), label, course=shown, notes=notes
    )


def _apex(apex: FloatArray, start: int, stop: int) -> FloatArray:
    return apex[None][start:stop]


def _mesh(path: Path, topology: Path | str | None, own: Mesh, remarks: list[str]) -> Mesh:
    """The topology that is named, or the meshes' own triangles."""
    if topology is None and len(own.triangles):
        return own
    folder = path.parent if path.is_file() else path
    mesh, converted = read_topology(folder, topology)
    remarks += converted
    return mesh


def _from_archive(path: Path) -> tuple[Meshes, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            vertices, faces = np.asarray(data["vertices"]), np.ascontiguousarray(data["faces"], np.int32)
            people, labels = ([str(name) for name in data[key]] for key in ("identities", "expressions"))
        if vertices.shape[:2] != (len(people), len(labels)) or vertices.ndim != 4 or vertices.shape[3] != 3:
            raise ValueError(f"vertices {vertices.shape} for {len(people)} people and {len(labels)} expressions")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise VisemoError(
            f"{path}: got no expression meshes ({error}), "
            "expected vertices (I, E, N, 3), identities, expressions and faces"
        ) from error
    for names in (people, labels):
        if len(set(names)) < len(names):
            raise VisemoError(f"{path}: got two of one name among {', '.join(names[:4])}..., expected each once")
    return {who: dict(zip(labels, rows)) for who, rows in zip(people, vertices)}, faces


def _from_plys(folder: Path, skipped: list[Skipped]) -> tuple[Meshes, np.ndarray]:
    """The only frame of each <identity>/<expression>, or a mesh of that name without a number."""
    if not folder.is_dir():
        raise VisemoError(f"{folder}: got no such file or folder, expected expression meshes")
    found = find_plys(folder)
    meshes: Meshes = {}
    triangles = np.zeros((0, 3), np.int32)
    for sequence in found.sequences:
        identity, label = sequence.key[0], "_".join(sequence.key[1:])
        if len(sequence) > 1:
            skipped.append(Skipped("_".join(sequence.key), "several frames, not one apex"))
            continue
        try:
            mesh = sequence.first_mesh()
        except VisemoError as error:
            skipped.append(Skipped("_".join(sequence.key), DAMAGED, str(error)))
            continue
        triangles = triangles if len(triangles) else mesh.triangles
        meshes.setdefault(identity, {})[label] = PlyReader(triangles).read(sequence, 0, 1)[0]
    for key in (key for key in found.meshes if len(key) > 1):
        mesh = found.mesh(key)
        if mesh is not None:
            triangles = triangles if len(triangles) else mesh.triangles
            meshes.setdefault(key[0], {})["_".join(key[1:])] = mesh.vertices
    if not meshes:
        raise VisemoError(
            f"{folder}: got no meshes, expected <identity>/<expression>_30.ply or one npz; {TOPOLOGY} is none"
        )
    return meshes, triangles
