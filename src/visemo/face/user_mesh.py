"""Anybody's mesh as a face: its unit, its pose and its landmarks found out, its shapes read from beside it.

`NAME.obj` (or .ply) is the neutral. Beside it there may be `NAME.landmarks.json`, {iBUG number: vertex or [x, y, z]} in
the file's own unit, which overrides what is found automatically; and a folder `NAME_shapes` with the same mesh in
ARKit's shapes, `jawOpen.obj` and so on, which makes it a rig.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from visemo.assets import sha256
from visemo.face.anatomy import CHIN, NEEDED, face_from_mesh
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.face.flame_topology import FINGERPRINT, fingerprint, flame_topology
from visemo.face.ict import LANDMARKS as ICT_LANDMARKS
from visemo.face.landmarks import find_landmarks
from visemo.face.lip_line import lips_that_meet
from visemo.face.shape_files import mesh_files, shape_delta, shapes_folder
from visemo.geometry.align import rigid_align
from visemo.geometry.mesh import adjacency, edges, read_mesh, vertex_normals
from visemo.types import FloatArray, Mesh, VisemoError

EYE_SPAN = 0.09  # m between the outer corners of the eyes of an adult
UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254}
UNIT_REACH = 1.5  # how far from an adult's a head in its own unit may be
TURNED = 6.0  # degrees from upright and frontal beyond which a mesh is turned
OFF_MIDDLE = 0.002  # m
BENT = 2.5  # times longer or shorter: an edge that is not the same one
DISORDER = 0.1  # share of such edges in meshes whose vertices are in another order
KNOWN = {
    5023: "FLAME", 26719: "ICT-FaceKit", 11248: "ICT-FaceKit, head only", 9409: "ICT-FaceKit, face only",
    6172: "Multiface", 23370: "BIWI", 10857: "the frontal template of Mao et al. 2025",
}  # fmt: skip
NOSE_TIP = 30
ICT_SIZES = (26719, 11248, 9409)
SNAPPED = 12  # nearest vertices that a landmark may be
# where landmarks of the inner lips face: lips that touch are two skins
FACING = {**dict.fromkeys((61, 62, 63), (0.0, -1.0, 0.3)), **dict.fromkeys((65, 66, 67), (0.0, 1.0, 0.3))}
Landmarks = Mapping[int, int | tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class UserMesh:
    """A face and how it came about: lines to tell the user."""

    face: Face
    notes: tuple[str, ...]


def user_face(path: str | Path, landmarks: Landmarks | None = None) -> Face:
    """The face of `read_user_mesh`, without what it has to say."""
    return read_user_mesh(path, landmarks).face


def read_user_mesh(path: str | Path, landmarks: Landmarks | None = None) -> UserMesh:
    """A mesh file as a face in metres, upright and frontal, its midline in x = 0.

    Parameters
    ----------
    path : OBJ or PLY of a neutral face or head in any unit, looking along +z within about 30 degrees.
    landmarks : iBUG number -> vertex, or point in the file's own unit; they override the file beside the mesh, which
        overrides what is found automatically.

    Returns
    -------
    The face, named after the file, its vertices in the file's order; and notes that say which unit was taken, whether
    the head was turned or moved, whose topology it is, and where the landmarks are from. A mesh that is not symmetric
    is a face all the same: see `face_from_mesh`.

    Raises
    ------
    VisemoError
        When the file cannot be read or holds no numbers, no face is found on it, or landmarks or shapes do not fit.
    """
    path = Path(path)
    mesh = read_mesh(path)
    notes = [f"{path}: {_topology(mesh)}"]
    given = {**_beside(path), **dict(landmarks or {})}
    spots = _spots(path, mesh, given, notes)
    metres, unit = _unit(spots)
    notes.append(f"{path}: {unit}")
    rotation, shift, moved = _upright(spots * metres)
    notes += [f"{path}: {line}" for line in moved]
    straight = Mesh((metres * mesh.vertices @ rotation.T + shift).astype(np.float32), mesh.triangles)
    vertices = _snapped(straight, dict(zip(_numbers(given), spots * metres @ rotation.T + shift)), given)
    names, shapes = _shapes(path, mesh, metres * rotation)
    if names:
        notes.append(f"{path}: {len(names)} of ARKit's 52 shapes in {shapes_folder(path).name}")
    face = face_from_mesh(
        path.stem, straight, licence="unknown: yours to say", landmarks=vertices, shape_names=names, shapes=shapes,
        symmetric=False,
    )  # fmt: skip
    unpaired = int(((face.mirror == np.arange(len(face.mirror))) & (np.abs(face.template[:, 0]) > 0.003)).sum())
    if unpaired:
        notes.append(f"{path}: {unpaired} vertices have no mirror image; such a face can be animated, not trained on")
    return UserMesh(face, tuple(notes))


def check_same_order(mesh: Mesh, face: Face) -> None:
    """Refuse a mesh that has a face's number of vertices in another order.

    The face's edges are then as long on the mesh as on the face, but for its size and what people differ in.
    Raises VisemoError when they are not.
    """
    if mesh.vertices.shape != face.template.shape:
        raise VisemoError(
            f"mesh: got {len(mesh.vertices)} vertices, expected the {len(face.template)} of face {face.name}"
        )
    i, j = edges(face.triangles).T
    here, there = (np.linalg.norm(points[i] - points[j], axis=1) for points in (mesh.vertices, face.template))
    size = np.median(here) / max(float(np.median(there)), 1e-12)
    bent = (here > BENT * size * there) | (BENT * here < size * there)
    share = float(bent[there > 0].mean())
    if not share <= DISORDER:
        raise VisemoError(
            f"mesh: got vertices in another order than {face.name}'s ({100 * share:.0f} % of its edges are {BENT:g} "
            "times longer or shorter), expected the same order; export it without reordering"
        )


# --- landmarks ----------------------------------------------------------------------------------------


def known_landmarks(path: Path, mesh: Mesh) -> dict[int, tuple[float, float, float]]:
    """iBUG number -> point of a mesh file, in its unit: those of the file beside it, or of its topology; or none.

    Raises VisemoError for a landmarks file that holds something else.
    """
    given = {**_known_landmarks(mesh), **_beside(path)}
    _check_given(path, mesh, given)
    places = {n: mesh.vertices[where] if isinstance(where, int) else where for n, where in given.items()}
    return {number: (float(x), float(y), float(z)) for number, (x, y, z) in places.items()}


def _check_given(path: Path, mesh: Mesh, given: Landmarks) -> None:
    bad = [n for n, where in given.items() if n not in range(68) or not _fits(where, len(mesh.vertices))]
    if bad:
        raise VisemoError(
            f"{path}: got landmark {bad[0]} at {given[bad[0]]!r}, expected numbers 0 to 67 at vertices below "
            f"{len(mesh.vertices)} or at [x, y, z]"
        )


def _beside(path: Path) -> dict[int, int | tuple[float, float, float]]:
    """What the landmarks file beside a mesh says, or nothing."""
    place = path.with_suffix(".landmarks.json")
    if not place.is_file():
        return {}
    try:
        table = json.loads(place.read_text(encoding="utf-8"))
        return {
            int(number): where if isinstance(where, int) else (float(where[0]), float(where[1]), float(where[2]))
            for number, where in table.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise VisemoError(f"{place}: got no landmarks ({error}), expected {{number: vertex or [x, y, z]}}") from error


def _numbers(given: Landmarks) -> list[int]:
    return [*([CHIN] if CHIN in given else []), *NEEDED]


def _spots(path: Path, mesh: Mesh, given: dict, notes: list[str]) -> NDArray[np.float64]:
    """Positions (L, 3) of the landmarks `_numbers(given)` in the file's unit; `given` is completed in place."""
    _check_given(path, mesh, given)
    missing = set(NEEDED) - set(given)
    if not missing:
        notes.append(f"{path}: {len(given)} landmarks given")
    elif known := _known_landmarks(mesh):
        given |= {number: vertex for number, vertex in known.items() if number not in given}
        notes.append(f"{path}: landmarks known from the topology")
    else:
        found = find_landmarks(mesh, _known_face())
        given |= {number: where for number, where in found.items() if number not in given}
        notes.append(f"{path}: {len(missing)} landmarks found automatically; check the lips")
    places = [given[number] for number in _numbers(given)]
    return np.array([mesh.vertices[where] if isinstance(where, int) else where for where in places], np.float64)


def _known_face() -> Face:
    """The face that others are compared with."""
    from visemo.face.builtin import builtin_face  # sculpted on first use only

    return builtin_face()


def _fits(where: object, count: int) -> bool:
    if isinstance(where, int):
        return 0 <= where < count
    return isinstance(where, tuple) and len(where) == 3 and bool(np.isfinite(where).all())


def _topology(mesh: Mesh) -> str:
    """What is known of a mesh by its triangles, in words."""
    known = KNOWN.get(len(mesh.vertices))
    guess = f"as many as {known} has" if known else "a topology of its own"
    return f"{len(mesh.vertices)} vertices, {guess} (triangles {sha256(mesh.triangles)[:16]})"


def _known_landmarks(mesh: Mesh) -> dict[int, int]:
    """The landmarks of a mesh in a topology whose landmarks are known, and whose vertices lie as there; else none."""
    if len(mesh.triangles) and fingerprint(mesh.triangles) == FINGERPRINT:
        return flame_topology(mesh.triangles).landmarks
    if len(mesh.vertices) in ICT_SIZES:
        numbers: dict[int, int] = dict(enumerate(ICT_LANDMARKS))
        if _looks_like_a_face(mesh.vertices[list(ICT_LANDMARKS)].astype(np.float64)):
            return numbers
    return {}


def _looks_like_a_face(points: NDArray[np.float64]) -> bool:
    """Whether 68 points (68, 3) lie to each other as landmarks do: as the built-in face's, but for a similarity."""
    face = _known_face()
    numbers = sorted(face.landmarks)
    own = face.template[[face.landmarks[number] for number in numbers]].astype(np.float64)
    there = points[numbers]
    size = (own - own.mean(axis=0)).std() / max((there - there.mean(axis=0)).std(), 1e-12)
    rotation, shift = rigid_align(size * there, own)
    return bool(np.linalg.norm(size * there @ rotation.T + shift - own, axis=1).mean() < 0.012)


# --- unit and pose ------------------------------------------------------------------------------------


def _unit(spots: NDArray[np.float64]) -> tuple[float, str]:
    """Metres in the file's unit, and what to say of it; the eyes decide."""
    span = float(np.linalg.norm(spots[36 - 68] - spots[45 - 68]))
    if not span > 0:
        raise VisemoError("landmarks: got the corners of the eyes in one place, expected a face; check them")
    name, metres = min(UNITS.items(), key=lambda unit: abs(np.log(span * unit[1] / EYE_SPAN)))
    if 1 / UNIT_REACH < span * metres / EYE_SPAN < UNIT_REACH:
        return metres, f"taken as {name}: the eyes span {span * metres * 1000:.0f} mm"
    metres = EYE_SPAN / span
    return metres, f"in no known unit, scaled by {metres:.4g} so that the eyes span {EYE_SPAN * 1000:.0f} mm"


def _upright(spots: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Rotation (3, 3) and shift (3,) m that make landmarks (L, 3) m look ahead, and what to say of it."""
    face = _known_face()
    shared = [number for number in NEEDED if number in face.landmarks]
    own = face.template[[face.landmarks[number] for number in shared]].astype(np.float64)
    there = spots[-len(NEEDED) :][[NEEDED.index(number) for number in shared]]
    size = (own - own.mean(axis=0)).std() / (there - there.mean(axis=0)).std()
    rotation, _ = rigid_align(size * there, own)
    angle = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    said = []
    if angle < TURNED:
        rotation = np.eye(3)
    else:
        said.append(f"turned by {angle:.0f} degrees to look along +z")
    middle = (there @ rotation.T).mean(axis=0)
    shift = np.zeros(3)
    if abs(middle[0]) > OFF_MIDDLE:
        shift[0] = -middle[0]
        said.append(f"moved by {shift[0] * 1000:.0f} mm along x to its midline")
    return rotation, shift, said


def _snapped(mesh: Mesh, spots: dict[int, NDArray[np.float64]], given: dict) -> dict[int, int]:
    """Landmark number -> vertex: the given one, or the nearest that faces where that landmark does."""
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    skin = _skin(mesh, spots[NOSE_TIP])
    tree, found = KDTree(mesh.vertices[skin]), {}
    for number, spot in spots.items():
        if isinstance(given[number], int):
            found[number] = int(given[number])
            continue
        near = skin[np.atleast_1d(tree.query(spot, k=min(SNAPPED, len(skin)))[1])]
        off = np.linalg.norm(mesh.vertices[near] - spot, axis=1)
        facing = np.array(FACING.get(number, (0.0, 0.0, 0.5)))
        found[number] = int(near[np.argmin(off + 0.004 * (1 - normals[near] @ facing))])
    if not any(isinstance(given[number], int) for number in range(60, 68)):
        found |= lips_that_meet(mesh, skin, spots)
    return found


def _skin(mesh: Mesh, tip: NDArray[np.float64]) -> NDArray[np.int64]:
    """The vertices of the piece of a mesh that the tip of the nose is on: no eyeballs, teeth or hair."""
    _, piece = connected_components(adjacency(mesh.triangles, len(mesh.vertices)), directed=False)
    used = np.unique(mesh.triangles)
    return np.flatnonzero(piece == piece[used[KDTree(mesh.vertices[used]).query(tip)[1]]])


# --- shapes -------------------------------------------------------------------------------------------


def _shapes(path: Path, mesh: Mesh, turn: NDArray[np.float64]) -> tuple[tuple[str, ...], FloatArray | None]:
    """ARKit shapes from the folder beside a mesh: names, and deltas (M, V, 3) m turned as the mesh was."""
    folder = shapes_folder(path)
    if not folder.is_dir():
        return (), None
    files = {file.stem.lower(): file for file in mesh_files(folder)}
    known = {name.lower(): name for name in ARKIT_NAMES}
    for stem, file in files.items():
        if stem not in known:
            close = get_close_matches(stem, known, 1)
            hint = f"did you mean {known[close[0]]}?" if close else "see ARKit's 52 names"
            raise VisemoError(f"{file}: got a shape that ARKit does not know, expected one of its 52; {hint}")
    names = tuple(name for name in ARKIT_NAMES if name.lower() in files)
    if not names:
        raise VisemoError(f"{folder}: got no shapes, expected meshes named after ARKit's, such as jawOpen.obj")
    deltas = np.stack([shape_delta(files[name.lower()], mesh.vertices, path.name) @ turn.T for name in names])
    return names, deltas.astype(np.float32)
