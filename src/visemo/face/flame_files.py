"""FLAME's files as plain arrays: models as pickles of any year or npz, landmark embeddings, masks of regions."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from visemo.assets import read_array_pickle
from visemo.types import FloatArray, IntArray, VisemoError

COMPONENTS = (300, 100)  # of identity, then of expression, in the `shapedirs` of every edition
IDENTITY, EXPRESSION = "shapedirs_identity", "shapedirs_expression"  # of packs that hold a part of them, with its size
NEEDED = (
    ("v_template",),
    ("f", "faces"),
    ("posedirs",),
    ("weights",),
    ("J_regressor",),
    ("kintree_table", "kintree_parents"),
)
# MediaPipe's face mesh vertices that stand for the iBUG numbers 17 to 67
MEDIAPIPE = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 195, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 81, 13, 311, 308, 402, 14, 178,
)  # fmt: skip
FIRST, LAST = 17, 67  # iBUG numbers of the 51 landmarks inside the face
# what a file's name says about its edition: a hint, as files get renamed
EDITIONS = (
    ("no_jaw", "2023 without jaw"),
    ("2023_open", "2023 Open"),
    ("2023open", "2023 Open"),
    ("2023", "2023"),
    ("2020", "2020"),
    ("2019", "2019"),
    ("2017", "2017"),
    ("2016", "2016"),
    ("generic_model", "2016 to 2020"),
    ("female_model", "2016 to 2020, female"),
    ("male_model", "2016 to 2020, male"),
)

Landmarks = dict[int, tuple[int, FloatArray]]  # iBUG number -> triangle, barycentric weights (3,)


@dataclass(frozen=True, eq=False)
class RawFlame:
    """The arrays of a model file, of the kinds and shapes they came in."""

    v_template: np.ndarray
    triangles: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    posedirs: np.ndarray
    weights: np.ndarray
    joint_regressor: np.ndarray
    parents: np.ndarray
    landmarks: Landmarks


def read_raw_flame(path: Path) -> RawFlame:
    """Read a model's arrays. Raises VisemoError for another kind of file, damage, and keys that are missing."""
    table = _table(path)
    missing = [" or ".join(names) for names in NEEDED if not any(name in table for name in names)]
    if not any(key.startswith("shapedirs") for key in table):
        missing.append("shapedirs")
    if missing:
        raise VisemoError(
            f"{path}: got no {', '.join(missing)}, expected them beside {', '.join(sorted(table)) or 'nothing'}; "
            "this is no whole FLAME model"
        )
    identity, expression = _components(table)
    return RawFlame(
        _array(table, "v_template"),
        _array(table, "f", "faces"),
        identity,
        expression,
        _array(table, "posedirs"),
        _array(table, "weights"),
        _array(table, "J_regressor"),
        _parents(_array(table, "kintree_table", "kintree_parents")),
        _mediapipe(table, "mediapipe_lmk_face_idx", "mediapipe_lmk_b_coords", "mediapipe_landmark_indices"),
    )


def edition_of(path: Path) -> str:
    """The edition that a file's name hints at, or `unknown`."""
    name = path.name.lower()
    return next((edition for hint, edition in EDITIONS if hint in name), "unknown")


def read_flame_landmarks(path: str | Path) -> Landmarks:
    """iBUG landmarks on FLAME's surface: number -> (triangle, barycentric weights (3,) float32).

    From `flame_static_embedding.pkl` (51 landmarks: iBUG 17 to 67, 0-based) or the npz of MediaPipe's 105, of which
    those are kept that stand for one. Raises VisemoError for anything else.
    """
    path = Path(path)
    table = _table(path)
    try:
        if "landmark_indices" in table:
            return _mediapipe(table, "lmk_face_idx", "lmk_b_coords", "landmark_indices")
        faces, weights = _array(table, "lmk_face_idx"), _array(table, "lmk_b_coords")
        return _embedded(range(FIRST, LAST + 1), faces, weights)
    except VisemoError as error:
        raise VisemoError(f"{path}: {error}") from error


def read_flame_masks(path: str | Path) -> dict[str, IntArray]:
    """`FLAME_masks.pkl` or an npz of the same: region -> ascending vertices of FLAME, int32.

    Raises VisemoError for another content.
    """
    path = Path(path)
    masks = {}
    for region, members in _table(path).items():
        indices = np.asarray(members)
        if indices.ndim != 1 or indices.dtype.kind not in "iu" or (indices.size and not _within(indices, 5023)):
            raise VisemoError(
                f"{path}: got region {region} of {indices.dtype} {indices.shape}, expected vertices 0..5022"
            )
        masks[region] = np.unique(indices).astype(np.int32)
    return masks


# ---------------------------------------------------------------- inside


def _table(path: Path) -> dict[str, Any]:
    """A pickled dictionary or an npz, by the first bytes of the file."""
    if not path.is_file():
        raise VisemoError(
            f"{path}: no such file, expected one of FLAME's .pkl or .npz; download it from flame.is.tue.mpg.de"
        )
    if zipfile.is_zipfile(path):
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, NotImplementedError) as error:
            raise VisemoError(
                f"{path}: got no readable arrays ({error}), expected FLAME's; get the file anew"
            ) from error
    table = read_array_pickle(path)
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
        raise VisemoError(f"{path}: got a pickled {type(table).__name__}, expected a dictionary of arrays")
    return table


def _array(table: Mapping[str, Any], *names: str) -> np.ndarray:
    """The array of the first of some keys, as numbers and dense."""
    name = next((name for name in names if name in table), None)
    if name is None:
        raise VisemoError(f"got keys {', '.join(sorted(table)) or 'none'}, expected {' or '.join(names)} too")
    value = table[name]
    if sp.issparse(value):
        if np.prod(value.shape) > 1e7:  # a claim of its shape alone would fill the memory
            raise VisemoError(f"{name}: got shape {value.shape}, expected a matrix of joints by vertices")
        value = value.toarray()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise VisemoError(f"{name}: got {array.dtype}, expected numbers")
    return array


def _components(table: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Identity and expression components, (..., n) each; a pack may lack the latter."""
    if "shapedirs" in table:
        both = _array(table, "shapedirs")
        if both.ndim != 3 or both.shape[-1] != sum(COMPONENTS):
            raise VisemoError(
                f"shapedirs: got shape {both.shape}, expected (5023, 3, 400), 300 of identity and 100 of expression"
            )
        return both[..., : COMPONENTS[0]], both[..., COMPONENTS[0] :]
    named = {kind: [key for key in table if key.startswith(kind)] for kind in (IDENTITY, EXPRESSION)}
    identity = _array(table, *(named[IDENTITY] or ["shapedirs"]))
    return identity, _array(table, *named[EXPRESSION]) if named[EXPRESSION] else identity[..., :0]


def _parents(table: np.ndarray) -> np.ndarray:
    """Parent of every joint, -1 for the root, which files write as the largest unsigned number."""
    parents = table[0] if table.ndim == 2 else table
    return np.where(parents > 1_000_000, -1, parents.astype(np.int64))


def _mediapipe(table: Mapping[str, Any], faces: str, weights: str, indices: str) -> Landmarks:
    """The iBUG landmarks of a MediaPipe embedding; none when there is no such embedding."""
    if indices not in table:
        return {}
    known = {int(index): row for row, index in enumerate(_array(table, indices).ravel())}
    numbers = [number for number, index in enumerate(MEDIAPIPE, FIRST) if index in known]
    rows = [known[MEDIAPIPE[number - FIRST]] for number in numbers]
    try:
        return _embedded(numbers, _array(table, faces)[rows], _array(table, weights)[rows])
    except IndexError:
        raise VisemoError(f"{faces}: got fewer rows than {indices}, expected one for each landmark") from None


def _embedded(numbers: Any, faces: np.ndarray, weights: np.ndarray) -> Landmarks:
    count = len(numbers)
    shapes_fit = faces.shape == (count,) and weights.shape == (count, 3) and faces.dtype.kind in "iu"
    if not shapes_fit or not _within(faces, 9976) or not np.allclose(weights.sum(axis=1), 1, atol=1e-3):
        raise VisemoError(
            f"landmarks: got triangles {faces.shape} and weights {weights.shape}, expected {count} of FLAME's 9976 "
            "triangles with barycentric weights that sum to 1"
        )
    return {n: (int(face), weight.astype(np.float32)) for n, face, weight in zip(numbers, faces, weights)}


def _within(indices: np.ndarray, limit: int) -> bool:
    return bool(0 <= int(indices.min()) <= int(indices.max()) < limit)
