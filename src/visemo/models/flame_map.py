"""L_G: blendshape weights to FLAME's expression and jaw pose, one matrix (Eq. 14, 15).

FLAME's editions have different expression components, and every model its own blendshapes: a map says which FLAME and
which model it belongs to, and is refused with any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from visemo.assets import atomic
from visemo.face.flame import FlameModel
from visemo.face.flame_motion import FlameName
from visemo.types import FlameParams, FloatArray, VisemoError, check_array
from visemo.units import FPS

FILE = "flame_map.safetensors"  # in the folder of its run
SCHEMA = "visemo.flame_map/1"
ARRAYS = ("matrix", "lively")  # in the file, the latter where there is one
JAW = 3  # the last rows of the matrix: axis-angle of the jaw


@dataclass(frozen=True, eq=False)
class FlameMap:
    """One matrix from a model's weights [w_A, w_E] (K) to n coefficients of FLAME's expression and its jaw pose.

    Rest maps to rest: it has no offset, so what FLAME shows is the motion on FLAME's own neutral, or on anybody's.
    Raises VisemoError for a matrix that is none, or not finite.
    """

    matrix: FloatArray  # (n + 3, K): rows of expression in standard deviations, then the jaw's x, y, z in rad
    model_hash: str  # of the model whose weights these are
    flame_hash: str  # FlameModel.hash
    edition: str  # of FLAME, as its file's name hints
    basis: str  # whose expression components: "FLAME", or what stands in for them
    model: str = ""  # its name, for messages
    licence: str = ""  # of the FLAME that it was fitted with
    residual_mm: float = 0.0  # mean distance on the model's face between its motion and FLAME's, held-out frames
    floor_mm: float = 0.0  # the same of FLAME's own best fit to each frame
    lively_names: tuple[str, ...] = ()  # shapes that a lively track moves beside the eyes: blinks
    lively: FloatArray | None = None  # (n + 3, L): the same rows for each of these at weight 1

    def __post_init__(self) -> None:
        check_array("FLAME map", self.matrix, (None, None), np.float32)
        columns = self.matrix[:, :0] if self.lively is None else self.lively
        check_array("FLAME map: lively", columns, (len(self.matrix), len(self.lively_names)), np.float32)
        if len(self.matrix) < JAW:
            raise VisemoError(f"FLAME map: got {len(self.matrix)} rows, expected those of expression and {JAW} of jaw")

    @property
    def components(self) -> int:
        """n, how many coefficients of expression it gives."""
        return len(self.matrix) - JAW

    def params(
        self, weights: FloatArray, fps: float = FPS, curves: Mapping[str, FloatArray] | None = None
    ) -> FlameParams:
        """FLAME's expression (T, n) and jaw pose (T, 3) of weights (T, K), speech first, and of a lively track's curves
        (T,) by name, of which those that the map knows are added.

        Raises VisemoError for weights of another width.
        """
        check_array("weights", weights, (None, self.matrix.shape[1]), np.float32)
        both = weights @ self.matrix.T
        for row, name in enumerate(self.lively_names):
            if curves is not None and self.lively is not None and name in curves:
                both += np.outer(curves[name], self.lively[:, row])
        expression, jaw = (np.ascontiguousarray(part) for part in np.split(both, [self.components], axis=1))
        return FlameParams(expression, jaw, fps)

    def check_model(self, model_hash: str) -> None:
        """Raises VisemoError when weights come from another model than the map's."""
        if model_hash != self.model_hash:
            raise VisemoError(
                f"FLAME map: got weights of model {model_hash or 'unknown'}, expected {self.model} "
                f"({self.model_hash}); train a map for this model with visemo train flame-map"
            )

    def check_flame(self, flame: FlameModel) -> None:
        """Raises VisemoError for another FLAME than the map's, of whatever edition: its coefficients mean others."""
        FlameName(self.flame_hash, self.edition, self.basis).check(flame, "the map")

    def save(self, path: Path | str) -> None:
        """Write it to a file, or as `FILE` into an existing folder."""
        about = {name: value for name, value in asdict(self).items() if name not in ARRAYS}
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
        with atomic(_file(path)) as temporary:
            save_file(arrays, temporary, {"about": json.dumps({"schema": SCHEMA, **about})})

    @classmethod
    def load(cls, path: Path | str) -> FlameMap:
        """Read what `save` wrote: the file, or the folder of the run that trained it.

        Raises
        ------
        VisemoError
            In one line, for a missing, damaged or foreign file.
        """
        path = _file(path)
        if not path.is_file():
            raise VisemoError(f"{path}: no such file, expected a FLAME map; make one with visemo train flame-map")
        try:
            with safe_open(path, "np") as file:
                about = json.loads((file.metadata() or {}).get("about", "{}"))
                schema = about.pop("schema", "none")
                if schema != SCHEMA or not {"matrix"} <= set(file.keys()) <= set(ARRAYS):
                    raise VisemoError(f"{path}: got schema {schema}, expected {SCHEMA}; name a FLAME map")
                about["lively_names"] = tuple(about.get("lively_names", ()))
                return cls(**{name: file.get_tensor(name) for name in file.keys()}, **about)
        except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
            if isinstance(error, VisemoError) and str(error).startswith(str(path)):
                raise
            raise VisemoError(f"{path}: got a damaged or foreign file ({error}), expected a FLAME map") from error


def _file(path: Path | str) -> Path:
    return Path(path) / FILE if Path(path).is_dir() else Path(path)
