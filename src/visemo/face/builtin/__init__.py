"""The built-in head, modelled in code: `builtin_face()`.

`layout` says which vertices there are and how they are joined, `form` and `sculpt` where they are in the neutral,
`paint` what colour they have,
`shapes` and `identities` how they move, `parts` what is attached to them. No scan and no other model went into it.
"""

from __future__ import annotations

import zipfile
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from visemo.assets import atomic, cache_folder, sha256
from visemo.face.arkit import ARKIT_NAMES
from visemo.face.builtin.form import smooth_step
from visemo.face.builtin.identities import identity_shapes
from visemo.face.builtin.landmarks import landmark_vertices
from visemo.face.builtin.layout import DIAGONALS, EYE_SEGMENTS, MOUTH_INNER, Layout, half_layout
from visemo.face.builtin.paint import brow_strength, skin_color
from visemo.face.builtin.parts import parts
from visemo.face.builtin.sculpt import half_form
from visemo.face.builtin.shapes import RED, RIM, Frame, arkit_shapes
from visemo.face.face import Face, Part
from visemo.types import FloatArray, IntArray, VisemoError
from visemo.units import M_PER_MM

SIDE = np.array([-1.0, 1.0, 1.0])  # a point times this is its mirror image
LIP_RED = np.array([0.43, 0.19, 0.17])
INNER_RED = np.array([0.20, 0.06, 0.055])
LID_EDGE = np.array([0.40, 0.20, 0.17])
CREASE = np.array([0.80, 0.70, 0.68])  # what little light gets back out of the fold of the upper lid
LASH_LINE = np.array([0.03, 0.02, 0.015])
FACE_ARRAYS = ("template", "triangles", "lip_pairs", "mirror", "colors", "shapes", "identities")
PART_ARRAYS = ("vertices", "triangles", "colors", "shapes")


@lru_cache(maxsize=1)
def builtin_face() -> Face:
    """The built-in head in its neutral, with the 52 ARKit shapes, identities and attached parts.

    Metres, +y up, +z out of the face, +x the face's own left; the origin lies between the ears. Built
    once per version of its sources and kept in the cache folder; a cache that cannot be read or
    written costs seconds, never an error.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    path = cache_folder() / f"builtin_{sha256(*sources, DIAGONALS)[:16]}.npz"
    try:
        return _load(path)
    except (
        OSError,
        KeyError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
    ):  # absent or damaged; VisemoError is a ValueError
        face = build_face()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            _save(face, temporary)
    except (OSError, VisemoError):  # a read-only home: build it again next time
        pass
    return face


def build_face() -> Face:
    """Sculpt the head from nothing, past the cache. Seconds."""
    layout = half_layout()
    half = np.round(half_form(layout), 4)  # a tenth of a micrometre: the same form whatever the linear algebra
    half[layout.midline, 0] = 0.0
    other, frame, triangles = _unfold(layout, half)
    shapes = arkit_shapes(frame)
    names, identities = identity_shapes(frame)
    border = np.concatenate([layout.border, other[layout.border[-2:0:-1]]])
    hole = np.concatenate([layout.mouth[0], other[layout.mouth[0, -2:0:-1]]])
    lid = frame.eye[:, 2, : EYE_SEGMENTS // 2 + 1]
    points = frame.points
    return Face(
        name="builtin",
        template=_metres(points),
        triangles=triangles.astype(np.int32),
        regions=_regions(frame),
        lip_pairs=_lip_pairs(layout, other),
        mirror=frame.mirror.astype(np.int32),
        colors=_colors(frame),
        shape_names=ARKIT_NAMES,
        shapes=_metres(shapes),
        identity_names=names,
        identities=_metres(identities),
        parts=parts(points[border], points[hole], shapes[:, hole], points[lid], shapes[:, lid]),
        landmarks=landmark_vertices(layout, points, frame.mirror),
        licence="Apache-2.0",
    )


def _metres(millimetres: np.ndarray) -> FloatArray:
    return (millimetres * M_PER_MM).astype(np.float32)


def _unfold(layout: Layout, half: np.ndarray) -> tuple[np.ndarray, Frame, np.ndarray]:
    """The whole mask from its half: mirror image (N,) of each half vertex, frame, triangles (F, 3)."""
    count, off = len(half), ~layout.midline
    other = np.arange(count)
    other[off] = count + np.arange(off.sum())
    mirror = np.empty(count + off.sum(), int)
    mirror[:count] = other
    mirror[other] = np.arange(count)
    points = np.concatenate([half, half[off] * SIDE])
    flat = np.concatenate([layout.points, layout.points[off] * SIDE[:2]])
    near = KDTree(layout.points[layout.border]).query(np.stack([np.abs(flat[:, 0]), flat[:, 1]], axis=1))[0]
    frame = Frame(points, flat, mirror, near, np.stack([layout.eye, other[layout.eye]]), layout.mouth)
    triangles = np.concatenate([layout.triangles, other[layout.triangles][:, ::-1]])
    return other, frame, triangles


def _lip_pairs(layout: Layout, other: np.ndarray) -> IntArray:
    """(N, 2) upper and lower rim from the right corner to the left; the corners themselves are no pairs."""
    rim = layout.mouth[MOUTH_INNER]
    half = len(rim) // 2
    left = np.stack([rim[:half], rim[:half:-1]], axis=1)
    return np.concatenate([other[left[:0:-1]], left]).astype(np.int32)


def _regions(frame: Frame) -> dict[str, IntArray]:
    u, v = np.abs(frame.flat[:, 0]), frame.flat[:, 1]
    lips = frame.radius <= RED + 1e-6
    masks = {
        "lips": lips,
        "upper_lip": lips & (frame.angle >= 0),
        "lower_lip": lips & (frame.angle <= 0),
        "mouth": frame.radius <= 1.25,
        "eyes": frame.eye_radius <= 1.1,
        "lids": frame.eye_radius <= 0.7,
        "brows": brow_strength(frame.points) > 0.25,
        "forehead": (v > 58) & (u < 80),
        "nose": (u < 19) & (v > -22) & (v < 36) & (frame.eye_radius > 1.0),
        "cheeks": (u > 20) & (u < 85) & (v < 9) & (v > -48) & (frame.radius > 1.0),
        "jaw": (v < -50) & (frame.radius > 0.9),
        "upper_face": v > -5,
        "border": frame.near < 8.0,
    }
    return {name: np.flatnonzero(mask).astype(np.int32) for name, mask in masks.items()}


def _colors(frame: Frame) -> FloatArray:
    """Linear RGB (V, 3): skin, hair and brows, the red of the lips, the edges of the lids with their lash line."""
    colors = skin_color(frame.points)
    red = (smooth_step(RED + 0.05, RED - 0.075, frame.radius) * (1.0 - 0.45 * np.abs(frame.along) ** 5))[:, None]
    colors += red * (LIP_RED - colors)
    deep = smooth_step(RIM + 0.03, RIM - 0.05, frame.radius)[:, None]
    colors += deep * (INNER_RED - colors)
    for rings in frame.eye:
        colors[rings[:2]] = LID_EDGE
        colors[rings[2]] = 0.4 * LID_EDGE
        colors[rings[2, 3:23]] = LASH_LINE
        colors[rings[6:8, 4:23]] *= CREASE
    return colors.astype(np.float32)


def _save(face: Face, path: Path) -> None:
    arrays = {name: getattr(face, name) for name in FACE_ARRAYS}
    arrays |= {f"region/{name}": indices for name, indices in face.regions.items()}
    arrays["identity_names"] = np.array(face.identity_names)
    arrays["landmarks"] = np.array(list(face.landmarks.items()), np.int32)
    for part in face.parts:
        arrays |= {f"part/{part.name}/{field.name}": np.asarray(getattr(part, field.name)) for field in fields(Part)}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _load(path: Path) -> Face:
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    names = list(dict.fromkeys(name.split("/")[1] for name in arrays if name.startswith("part/")))
    attached = tuple(
        Part(
            name,
            gloss=float(arrays[f"part/{name}/gloss"]),
            **{key: arrays[f"part/{name}/{key}"] for key in PART_ARRAYS},
        )
        for name in names
    )
    return Face(
        name="builtin",
        regions={name.removeprefix("region/"): arrays[name] for name in arrays if name.startswith("region/")},
        shape_names=ARKIT_NAMES,
        identity_names=tuple(str(name) for name in arrays["identity_names"]),
        parts=attached,
        landmarks={int(number): int(vertex) for number, vertex in arrays["landmarks"]},
        licence="Apache-2.0",
        **{name: arrays[name] for name in FACE_ARRAYS},
    )
