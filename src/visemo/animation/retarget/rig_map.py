"""The map of one model to one rig, as a file: .npz without pickle, read strictly."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visemo.animation.lively import LIVELY_NAMES
from visemo.animation.retarget.habit import NATURAL, Habit
from visemo.animation.retarget.shape_map import ShapeMap
from visemo.assets import atomic
from visemo.face.face import Face
from visemo.face.rigs.named import Rig
from visemo.types import Animation, FloatArray, VisemoError, check_array

SCHEMA = "visemo-rig-map-1"
_SINGLE = ("matrix", "limits", "residual_mm", "lively")
_DOUBLE = ("shape_energy", "cross_energy", "basis_energy", "shape_gap", "cross_gap")
_KEYS = {*_SINGLE, *_DOUBLE, "names", "lively_names", "meta"}
_META = {"schema", "model", "model_hash", "rig", "rig_hash", "habit", "vertices", "driven", "notes"}


@dataclass(frozen=True, eq=False)
class RigMap:
    """Takes of one model to curves of one rig, named as the rig names them."""

    shapes: ShapeMap
    lively: FloatArray  # (R, L) curves of the lively track's shapes
    lively_names: tuple[str, ...]
    habit: Habit
    model: str
    model_hash: str
    rig: str
    rig_hash: str
    notes: tuple[str, ...] = ()  # how the shapes came to the model's face, and what is assumed

    @property
    def names(self) -> tuple[str, ...]:
        return self.shapes.names

    @classmethod
    def of(
        cls,
        model: str,
        model_hash: str,
        basis: FloatArray,
        face: Face,
        rig: Rig,
        *,
        habit: Habit = NATURAL,
        limits: tuple[float, float] = (0.0, 1.0),
        driven: int | None = None,
    ) -> RigMap:
        """The map of a model's blendshapes (K, V, 3) m on `face` to a rig that was carried to it (`on_face`).

        Parameters
        ----------
        habit : NATURAL where curves may move another head than they were found on, or people read them; EXACT is 0.02
            to 0.1 mm closer, by shapes that pull against each other.
        limits : of every curve.
        driven : how many blendshapes, from the first on, the curves follow; see `ShapeMap.of`.

        Raises VisemoError as `ShapeMap.of` does.
        """
        shapes = ShapeMap.of(rig.shape_names, rig.shapes, basis, face.lip_pairs, limits=limits, driven=driven)
        names = tuple(name for name in LIVELY_NAMES if name in face.shape_names)
        lively = np.zeros((len(rig.shape_names), len(names)), np.float32)
        for column, name in enumerate(names):
            if name in rig.shape_names:  # the same action, also where it hardly moves the skin, as a look does
                lively[rig.shape_names.index(name), column] = 1
            else:
                alone = ShapeMap.of(rig.shape_names, rig.shapes, face.shape(name)[None], face.lip_pairs)
                lively[:, column] = alone.curves(np.ones((1, 1), np.float32))[0][0]  # lids have to meet
        return cls(shapes, lively, names, habit, model, model_hash, rig.name, rig.hash, rig.notes)

    def curves(self, clip: Animation) -> tuple[FloatArray, float]:
        """Curves (T, R) of a take within the map's limits, its lively track included, and the rms in mm that is left.

        Raises
        ------
        VisemoError
            When the take was made by another model.
        """
        self.check_model(clip.meta.get("model_hash"))
        found, residual = self.shapes.curves(clip.weights, self.habit)
        if clip.lively_weights is not None:
            known = [column for column, name in enumerate(clip.lively_names) if name in self.lively_names]
            rows = [self.lively_names.index(clip.lively_names[column]) for column in known]
            low, high = self.shapes.limits.T
            found = np.clip(found + clip.lively_weights[:, known] @ self.lively[:, rows].T, low, high)
        return found.astype(np.float32, copy=False), residual

    def check_model(self, model_hash: str | None) -> None:
        """Refuse another model than the one that the map was made for."""
        if model_hash != self.model_hash:
            raise VisemoError(
                f"rig map: got a take of model {model_hash or 'unknown'}, expected {self.model_hash} ({self.model}), "
                "which the map was made for; run visemo retarget with the take's model"
            )

    def save(self, path: Path) -> None:
        """Write the map. Raises VisemoError when the folder is missing or cannot be written."""
        meta = {
            "schema": SCHEMA,
            "model": self.model,
            "model_hash": self.model_hash,
            "rig": self.rig,
            "rig_hash": self.rig_hash,
            "habit": asdict(self.habit),
            "vertices": self.shapes.vertices,
            "driven": self.shapes.driven,
            "notes": self.notes,
        }
        arrays = {name: getattr(self.shapes, name) for name in (*_SINGLE[:-1], *_DOUBLE)}
        arrays |= {
            "lively": self.lively,
            "names": np.array(self.names, np.str_),
            "lively_names": np.array(self.lively_names, np.str_),
            "meta": np.array(json.dumps(meta, ensure_ascii=False)),
        }
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> RigMap:
        """Read a map.

        Raises
        ------
        VisemoError
            In one line, for no such file, and for one that is damaged, of something else, or not whole.
        """
        if not path.is_file():
            raise VisemoError(f"{path}: got no such file, expected a rig map; visemo retarget makes one")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            if set(arrays) != _KEYS:
                raise ValueError(f"its arrays are {', '.join(sorted(arrays))}")
            return _assembled(arrays, json.loads(str(arrays["meta"])))
        except VisemoError as error:
            raise VisemoError(f"{path}: {error}") from error
        except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            reason = "it is no .npz of plain arrays" if "pickle" in str(error) else str(error).partition("\n")[0]
            raise VisemoError(f"{path}: got no rig map ({reason}), expected one of visemo retarget") from error


def _assembled(arrays: dict[str, np.ndarray], meta: Any) -> RigMap:
    if not isinstance(meta, dict) or set(meta) != _META or meta["schema"] != SCHEMA:
        raise VisemoError(f"got a foreign description, expected {SCHEMA}; use the version that wrote it")
    names, lively_names = (tuple(str(name) for name in arrays[key]) for key in ("names", "lively_names"))
    r, k = len(names), len(arrays["residual_mm"])
    shapes = {
        "matrix": (r, k), "limits": (r, 2), "residual_mm": (k,), "lively": (r, len(lively_names)),
        "shape_energy": (r, r), "cross_energy": (r, k), "basis_energy": (k, k), "shape_gap": (r, r),
        "cross_gap": (r, k),
    }  # fmt: skip
    for name, shape in shapes.items():
        check_array(name, arrays[name], shape, np.float32 if name in _SINGLE else np.float64)
    low, high = arrays["limits"].T
    if not ((low <= 0) & (high > 0)).all():
        raise VisemoError("got limits without 0, expected it to lie between them; make the map anew")
    fields = {name: arrays[name] for name in (*_SINGLE[:-1], *_DOUBLE)}
    return RigMap(
        ShapeMap(names, vertices=int(meta["vertices"]), driven=int(meta["driven"]), **fields),
        arrays["lively"],
        lively_names,
        Habit(**meta["habit"]),
        model=str(meta["model"]),
        model_hash=str(meta["model_hash"]),
        rig=str(meta["rig"]),
        rig_hash=str(meta["rig_hash"]),
        notes=tuple(map(str, meta["notes"])),
    )
