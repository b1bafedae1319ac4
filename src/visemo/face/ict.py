"""The head of ICT-FaceKit (MIT licence) as a face with the 52 ARKit shapes.

Read from the original folder of OBJ files (`FaceXModel`: the neutral, a file per expression, a file per identity),
or from a pack of arrays of the same (`ict_facekit_head.npz` and, for teeth, eyes and the inside of the mouth,
`ict_facekit_interior.npz`). The face is vertices 0..9408 of the model; head and neck, mouth, gums and teeth, eye
sockets and eyeballs are attached parts.

ARKit's whole shapes `browInnerUp` and `cheekPuff` are the sums of the model's halves. The model has no tongue shape:
`tongueOut` is there, so that all 52 curves fit, and moves nothing. Its eyes look with the lids only: the eyeballs get
linear turns of their own, LOOK at full weight.

Source: https://github.com/ICT-VGL/ICT-FaceKit; Li et al., "Learning Formation of Physically-Based Face Attributes",
CVPR 2020. Unit there: centimetres.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from visemo.assets import cache_folder, sha256
from visemo.face.anatomy import SKIN, face_from_mesh
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.eyes import WHITE, eye_colors
from visemo.face.face import Cut, Face, Part
from visemo.face.mirroring import mirror_pairs
from visemo.face.positions import read_positions
from visemo.face.storage import read_face, save_face
from visemo.geometry.geomap import symmetric_triangles
from visemo.types import FloatArray, IntArray, Mesh, VisemoError

LICENCE = "MIT"
NEUTRAL = "generic_neutral_mesh.obj"
HEAD, INTERIOR = "ict_facekit_head.npz", "ict_facekit_interior.npz"
VERTICES = 26719  # of the whole model
M_PER_CM = 0.01
FACE, HEAD_NECK = range(0, 9409), range(9409, 11248)
FACE_POLYGONS, HEAD_POLYGONS = 9230, 11144
MOUTH = range(11248, 13294)
SOCKETS = {"eye_socket_left": range(13294, 13678), "eye_socket_right": range(13678, 14062)}
GUMS, TEETH = range(14062, 17039), range(17039, 21451)
SCLERAS = {"eye_left": range(21451, 22221), "eye_right": range(23021, 23791)}  # the shells; irises lie behind them
LANDMARKS = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509,
    978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841,
    5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
LOOK = np.radians(25.0)  # that an eyeball turns at full weight
GUM = np.array([0.40, 0.15, 0.14])
TOOTH = np.array([0.62, 0.56, 0.46])
INSIDE, DEEP = np.array([0.22, 0.07, 0.065]), np.array([0.004, 0.001, 0.001])


@dataclass(frozen=True, eq=False)
class _Model:
    """What either source holds, in its own numbers: centimetres, polygons of three (-1 last) or four corners."""

    neutral: NDArray  # (N, 3)
    polygons: IntArray  # (F, 4)
    deltas: dict[str, NDArray]  # ICT's name -> (N, 3)
    identities: dict[str, NDArray]  # name -> (N', 3), N' at least the face's vertices


def is_ict(folder: Path) -> bool:
    """Whether a folder is one that `ict_face` reads."""
    return _source(folder) is not None


def ict_face(path: str | Path) -> Face:
    """The ICT face out of a folder: the repository, its FaceXModel, or a pack of arrays.

    Metres, +y up, +z out of the face. Reading the OBJ files takes seconds and is remembered in the cache folder.

    Raises
    ------
    VisemoError
        When the folder holds neither, or files of it are missing, damaged or of another edition.
    """
    source = _source(Path(path))
    if source is None:
        raise VisemoError(
            f"{path}: got neither {NEUTRAL} nor {HEAD}, expected the FaceXModel folder of ICT-FaceKit; "
            "visemo fetch ict gets it"
        )
    read = _read_folder if (source / NEUTRAL).is_file() else _read_pack
    return _remembered(source, lambda: _face(read(source)))


def _source(folder: Path) -> Path | None:
    places = (folder, folder / "FaceXModel")
    return next((place for place in places if any((place / name).is_file() for name in (NEUTRAL, HEAD))), None)


def _remembered(source: Path, make: Callable[[], Face]) -> Face:
    """The face made before from the same files by the same code, else made now; a cache that fails costs seconds."""
    files = sorted(path for path in source.iterdir() if path.suffix in (".obj", ".npz"))
    stamps = "".join(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}\n" for path in files)
    code = [Path(__file__).with_name(f"{name}.py") for name in ("ict", "anatomy", "eyes", "mirroring")]
    folder = cache_folder() / f"ict_{sha256(*code, str(source.resolve()).encode(), stamps.encode())[:16]}"
    try:
        return read_face(folder)
    except VisemoError:
        face = make()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_face(face, folder)
    except (OSError, VisemoError):  # a read-only home: read it again next time
        pass
    return face


# --- reading -----------------------------------------------------------------------------------------


def ict_names(arkit: str) -> tuple[str, ...]:
    """The model's shapes that make up an ARKit shape: `eyeBlinkLeft` is `eyeBlink_L`, `cheekPuff` both its halves."""
    if arkit in ("browInnerUp", "cheekPuff"):
        return f"{arkit}_L", f"{arkit}_R"
    if arkit == "tongueOut":
        return ()
    if arkit in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        return (arkit,)
    for side in ("Left", "Right"):
        if arkit.endswith(side):
            return (f"{arkit.removesuffix(side)}_{side[0]}",)
    return (arkit,)


EXPRESSIONS = tuple(name for arkit in ARKIT_NAMES for name in ict_names(arkit))


def _read_folder(folder: Path) -> _Model:
    missing = [name for name in EXPRESSIONS if not (folder / f"{name}.obj").is_file()]
    if missing:
        raise VisemoError(
            f"{folder}: got no {missing[0]}.obj ({len(missing)} of {len(EXPRESSIONS)} expressions are missing), "
            "expected the whole FaceXModel folder; visemo fetch ict gets it anew"
        )
    neutral = _obj_positions(folder / NEUTRAL)
    deltas = {name: _obj_positions(folder / f"{name}.obj") - neutral for name in EXPRESSIONS}
    modes = sorted(folder.glob("identity[0-9]*.obj"))
    identities = {path.stem: (_obj_positions(path) - neutral)[: len(FACE)] for path in modes}
    return _Model(neutral, _obj_polygons(folder / NEUTRAL), deltas, identities)


def _obj_positions(path: Path) -> NDArray[np.float64]:
    """(26719, 3) the vertices of one of the model's OBJ files."""
    points = read_positions(path)
    if len(points) != VERTICES:
        raise VisemoError(f"{path}: got {len(points)} vertices, expected the {VERTICES} of ICT-FaceKit; get it anew")
    return points


def _obj_polygons(path: Path) -> IntArray:
    """(F, 4) corners of the model's triangles (-1 last) and quads."""
    rows = [line.split()[1:] for line in path.read_bytes().splitlines() if line.startswith(b"f ")]
    try:
        corners = [[int(word.partition(b"/")[0]) - 1 for word in row] for row in rows]
        polygons = np.array([row + [-1] * (4 - len(row)) for row in corners], np.int32)
    except ValueError as error:
        raise VisemoError(f"{path}: got a damaged OBJ file, expected triangles and quads; get it anew") from error
    if len(polygons) < HEAD_POLYGONS or polygons.shape[1] != 4 or polygons.max() >= VERTICES:
        raise VisemoError(f"{path}: got {len(polygons)} polygons, expected those of ICT-FaceKit; get it anew")
    return polygons


def _read_pack(folder: Path) -> _Model:
    head = _arrays(folder / HEAD, "neutral", "faces_quad", "expression_names", "expression_deltas", "identity_deltas")
    names = [str(name) for name in head["expression_names"]]
    missing = [name for name in EXPRESSIONS if name not in names]
    if missing or len(head["neutral"]) != HEAD_NECK.stop:
        raise VisemoError(
            f"{folder / HEAD}: got {len(head['neutral'])} vertices and {len(names)} shapes, expected the "
            f"{HEAD_NECK.stop} and all {len(EXPRESSIONS)} of ICT-FaceKit; get it anew"
        )
    neutral, polygons = head["neutral"].astype(np.float64), head["faces_quad"]
    deltas = {name: head["expression_deltas"][names.index(name)].astype(np.float64) for name in EXPRESSIONS}
    if (folder / INTERIOR).is_file():
        inner = _arrays(folder / INTERIOR, "neutral", "faces_quad", "expression_names", "expression_deltas")
        names = [str(name) for name in inner["expression_names"]]
        neutral = np.concatenate([neutral, inner["neutral"]])
        polygons = np.concatenate([polygons, inner["faces_quad"]])
        deltas = {n: np.concatenate([d, inner["expression_deltas"][names.index(n)]]) for n, d in deltas.items()}
    modes = head["identity_deltas"][:, : len(FACE)].astype(np.float64)
    return _Model(neutral, polygons, deltas, {f"identity{number:03d}": mode for number, mode in enumerate(modes)})


def _arrays(path: Path, *needed: str) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in needed}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise VisemoError(
            f"{path}: got no readable pack ({error}), expected {', '.join(needed)}; get it anew"
        ) from error


# --- building ----------------------------------------------------------------------------------------


def _metres(centimetres: NDArray) -> FloatArray:
    return np.ascontiguousarray(centimetres * M_PER_CM, np.float32)


def _fans(polygons: IntArray) -> IntArray:
    """Triangles (F, 3), every polygon split at its first corner, in the polygons' order."""
    fans = polygons[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    return fans[(fans >= 0).all(axis=1)].astype(np.int32)


def _face(model: _Model) -> Face:
    template = _metres(model.neutral[: len(FACE)])
    fans = _fans(model.polygons[:FACE_POLYGONS])
    mirror = mirror_pairs(template, fans)
    shapes = np.stack([_shape(model, name) for name in ARKIT_NAMES])
    return face_from_mesh(
        "ict",
        Mesh(template, symmetric_triangles(template, fans, mirror)),
        licence=LICENCE,
        landmarks=dict(enumerate(LANDMARKS)),
        mirror=mirror,
        shape_names=ARKIT_NAMES,
        shapes=np.ascontiguousarray(shapes[:, : len(FACE)]),
        identity_names=tuple(model.identities),
        identities=np.stack([_metres(mode) for mode in model.identities.values()]) if model.identities else None,
        parts=_parts(model, shapes),
        cut=Cut(sha256(_fans(model.polygons[:HEAD_POLYGONS]))[:16], np.arange(len(FACE), dtype=np.int32)),
    )


def _shape(model: _Model, arkit: str) -> FloatArray:
    """(N, 3) m delta of an ARKit shape on the whole model."""
    return _metres(sum((model.deltas[name] for name in ict_names(arkit)), np.zeros_like(model.neutral)))


def _parts(model: _Model, shapes: FloatArray) -> tuple[Part, ...]:
    """Head and neck; and what is inside, where the source has it."""
    parts = [_part("head", model, shapes, model.polygons[FACE_POLYGONS:HEAD_POLYGONS], color=SKIN, gloss=0.0)]
    if len(model.neutral) < SCLERAS["eye_right"].stop:
        return tuple(parts)
    mouth = _part("mouth", model, shapes, _polygons_of(model, MOUTH), color=INSIDE, gloss=0.2)
    front, back = mouth.vertices[:, 2].max(), mouth.vertices[:, 2].min()
    depth = np.clip((front - mouth.vertices[:, 2:]) / (0.6 * (front - back)), 0, 1) ** 0.5
    parts.append(_painted(mouth, INSIDE + depth * (DEEP - INSIDE)))
    parts.append(_part("gums", model, shapes, _polygons_of(model, GUMS), color=GUM, gloss=0.4))
    parts += _teeth(model, shapes)
    parts += [
        _part(name, model, shapes, _polygons_of(model, rows), color=0.7 * SKIN, gloss=0.0)
        for name, rows in SOCKETS.items()
    ]
    parts += [_eyeball(name, model, shapes, rows) for name, rows in SCLERAS.items()]
    return tuple(parts)


def _polygons_of(model: _Model, rows: range) -> IntArray:
    """The polygons that have a corner among some vertices: with the seam to what they hang on."""
    inside = (model.polygons >= rows.start) & (model.polygons < rows.stop)
    return model.polygons[inside.any(axis=1)]


def _part(name: str, model: _Model, shapes: FloatArray, polygons: IntArray, *, color: NDArray, gloss: float) -> Part:
    triangles = _fans(polygons)
    used, numbered = np.unique(triangles, return_inverse=True)
    colors = np.tile(np.asarray(color, np.float32), (len(used), 1))
    moved = np.ascontiguousarray(shapes[:, used])
    return Part(name, _metres(model.neutral[used]), numbered.reshape(-1, 3).astype(np.int32), colors, moved, gloss)


def _painted(part: Part, colors: NDArray) -> Part:
    return Part(part.name, part.vertices, part.triangles, colors.astype(np.float32), part.shapes, part.gloss)


def _teeth(model: _Model, shapes: FloatArray) -> tuple[Part, Part]:
    """The two rows: a tooth that opening the jaw moves is a lower one."""
    polygons = _polygons_of(model, TEETH)
    corners = polygons[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(corners)), corners.T), shape=(len(model.neutral),) * 2)
    _, tooth = connected_components(graph, directed=False)
    falls = np.linalg.norm(shapes[ARKIT_NAMES.index("jawOpen")], axis=1)
    moved = np.bincount(tooth, falls) / np.bincount(tooth)
    lower = moved[tooth[polygons[:, 0]]] > 0.5 * moved[tooth[polygons[:, 0]]].max()
    return (
        _part("teeth_upper", model, shapes, polygons[~lower], color=TOOTH, gloss=0.6),
        _part("teeth_lower", model, shapes, polygons[lower], color=TOOTH, gloss=0.6),
    )


def _eyeball(name: str, model: _Model, shapes: FloatArray, rows: range) -> Part:
    """The shell of an eye, turned about its middle by the four eyeLook shapes of its side and by no other."""
    ball = _part(name, model, np.zeros_like(shapes), _polygons_of(model, rows), color=WHITE, gloss=1.0)
    points = ball.vertices.astype(np.float64)
    solved = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(axis=1), rcond=None)[0]
    unit = points - solved[:3]
    side, sign = ("Left", 1.0) if name == "eye_left" else ("Right", -1.0)
    for shape, axis in {"Out": (0, sign, 0), "In": (0, -sign, 0), "Up": (-1, 0, 0), "Down": (1, 0, 0)}.items():
        across = np.cross(axis, unit)  # Rodrigues' formula: what a turn of LOOK about `axis` moves
        turn = np.sin(LOOK) * across + (1 - np.cos(LOOK)) * np.cross(axis, across)
        ball.shapes[ARKIT_NAMES.index(f"eyeLook{shape}{side}")] = turn
    return _painted(ball, eye_colors(unit))
