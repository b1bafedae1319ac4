"""Faces in a folder: `face.json` says what there is, `face.npz` holds the arrays."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from visemo.assets import atomic
from visemo.face.face import Cut, Face, Part
from visemo.types import VisemoError

SCHEMA = "visemo-face-1"
_ARRAYS = ("template", "triangles", "lip_pairs", "mirror", "colors")
_PART_ARRAYS = ("vertices", "triangles", "colors", "shapes")
_CUT = "cut"
_KEYS = {"schema", "name", "licence", "topology", "shape_names", "identity_names", "regions", "parts"}


def read_face(folder: str | Path) -> Face:
    """The face that `save_face` wrote into a folder.

    Raises VisemoError, in one line, for a folder that holds no face, and for files that are damaged, foreign, or do
    not belong together.
    """
    folder = Path(folder)
    about = _about(folder / "face.json")
    arrays = _arrays(folder / "face.npz")
    try:
        face = _assemble(about, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise VisemoError(f"{folder}: got a face without {error}, expected a complete one; save it anew") from error
    except VisemoError as error:
        raise VisemoError(f"{folder}: {error}") from error
    if face.topology_hash != about["topology"]:
        raise VisemoError(
            f"{folder}: got topology {face.topology_hash}, expected {about['topology']}; save the face anew"
        )
    return face


def save_face(face: Face, folder: str | Path) -> None:
    """Write a face to `folder`, made if need be; raises VisemoError where that is not possible."""
    folder = Path(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{folder}: cannot make that folder ({error.strerror}); choose another") from error
    about = {
        "schema": SCHEMA,
        "name": face.name,
        "licence": face.licence,
        "topology": face.topology_hash,
        "shape_names": face.shape_names,
        "identity_names": face.identity_names,
        "regions": list(face.regions),
        "parts": [{"name": part.name, "gloss": part.gloss} for part in face.parts],
    }
    if face.cut is not None:
        about[_CUT] = face.cut.topology
    with atomic(folder / "face.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **_stored(face))
    with atomic(folder / "face.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def _stored(face: Face) -> dict[str, np.ndarray]:
    arrays = {name: getattr(face, name) for name in _ARRAYS}
    arrays |= {name: array for name in ("shapes", "identities") if (array := getattr(face, name)) is not None}
    arrays |= {f"region/{name}": indices for name, indices in face.regions.items()}
    if face.landmarks:
        arrays["landmarks"] = np.array(list(face.landmarks.items()), np.int32)
    if face.cut is not None:
        arrays["cut_rows"] = face.cut.rows
    for part in face.parts:
        arrays |= {f"part/{part.name}/{name}": getattr(part, name) for name in _PART_ARRAYS}
    return arrays


def _assemble(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Face:
    rest = dict(arrays)
    face = Face(
        name=about["name"],
        **{name: rest.pop(name) for name in _ARRAYS},
        regions={name: rest.pop(f"region/{name}") for name in about["regions"]},
        shape_names=tuple(about["shape_names"]),
        shapes=rest.pop("shapes", None),
        identity_names=tuple(about["identity_names"]),
        identities=rest.pop("identities", None),
        parts=tuple(
            Part(part["name"], gloss=part["gloss"], **{n: rest.pop(f"part/{part['name']}/{n}") for n in _PART_ARRAYS})
            for part in about["parts"]
        ),
        landmarks={int(number): int(vertex) for number, vertex in rest.pop("landmarks", ())},
        cut=Cut(about[_CUT], rest.pop("cut_rows")) if _CUT in about else None,
        licence=about["licence"],
    )
    if rest:
        raise VisemoError(f"face: got unknown arrays {', '.join(sorted(rest))}, expected those of face.json only")
    return face


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise VisemoError(f"{path}: got no readable description, expected a face folder; name another") from error
    if not isinstance(about, dict) or set(about) - {_CUT} != _KEYS or about["schema"] != SCHEMA:
        raise VisemoError(f"{path}: got a foreign description, expected {SCHEMA}; use the version that wrote it")
    return about


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise VisemoError(f"{path}: got no readable arrays, expected those of a face; save it anew") from error
