"""What every program's output becomes: vertices over time, and the bodies that parameters are put on for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from visemo.face.arkit import ARKIT_NAMES
from visemo.face.face import Face
from visemo.face.flame import FlameModel
from visemo.face.flame_motion import used_components
from visemo.types import FloatArray, IntArray, VisemoError, Waveform, check_array, check_indices

BLOCK = 128  # frames of FLAME at once


@dataclass(frozen=True, eq=False)
class Clip:
    """One sequence as some program wrote it: `vertices` (T, V, 3) float32 m, absolute; frame k shows the time k / fps.

    Raises VisemoError for NaN, other shapes, no frames, triangles of other vertices, and a rate that is not positive.
    """

    name: str
    format: str  # whose
    vertices: FloatArray
    fps: float
    triangles: IntArray | None = None  # where the file says how the vertices hang together
    template: FloatArray | None = None  # (V, 3) m, the face at rest where that is known
    sound: Waveform | None = None
    face: str = ""  # the Face it was made on, by name, where the file says so
    notes: tuple[str, ...] = ()  # what was assumed or left out, a line each

    def __post_init__(self) -> None:
        check_array(f"{self.name}: vertices", self.vertices, (None, None, 3), np.float32)
        if not 0 < self.fps < float("inf") or not self.vertices.size:
            raise VisemoError(
                f"{self.name}: got {len(self.vertices)} frames, {self.fps} per second, expected some, a positive rate"
            )
        if self.template is not None:
            check_array(f"{self.name}: template", self.template, (self.vertices.shape[1], 3), np.float32)
        if self.triangles is not None:
            check_indices(f"{self.name}: triangles", self.triangles, 3, self.vertices.shape[1])

    @property
    def seconds(self) -> float:
        return len(self.vertices) / self.fps


class Found(NamedTuple):
    """A clip that is there, read when asked for."""

    name: str
    read: Callable[[], Clip]


@dataclass(frozen=True, eq=False)
class Bodies:
    """What turns parameters into vertices: a FLAME model, and a face with ARKit's shapes."""

    flame: FlameModel | None = None
    face: Face | None = None

    def posed(
        self, what: str, expression: np.ndarray, jaw: np.ndarray, shape: np.ndarray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """FLAME's vertices (T, 5023, 3) m and the same head at rest, (5023, 3) m; head and neck straight.

        Parameters
        ----------
        expression, jaw : (T, E) coefficients and (T, 3) axis-angle, rad
        shape : (S,) or, the same in every row, (T, S); the mean head when absent. Zeros of both beyond the components
            that FLAME has are left out

        Raises
        ------
        VisemoError
            without a FLAME model, and for parameters that do not go with it
        """
        import torch

        if self.flame is None:
            raise VisemoError(
                f"{what}: got FLAME parameters, expected the model they belong to as well; add --flame FILE, such as "
                "flame2020's generic_model.pkl"
            )
        flame = self.flame
        given = np.zeros((1, 0)) if shape is None else np.asarray(shape).reshape(-1, np.shape(shape)[-1])[:1]
        one, shown, turned = (np.ascontiguousarray(part, np.float32) for part in (given, expression, jaw))
        one = used_components(f"{what}: shape", one, flame.n_shape, flame.source)
        shown = used_components(f"{what}: expression", shown, flame.n_expr, flame.source)
        person, *moves = (torch.from_numpy(part) for part in (one, shown, turned))
        try:
            with torch.no_grad():
                rest = self._layer(shape=person)[0]
                blocks = zip(*(part.split(BLOCK) for part in moves))
                frames = [self._layer(shape=person, expression=e, jaw=j) for e, j in blocks]
        except VisemoError as error:
            raise VisemoError(f"{what}: {error}") from error
        return torch.cat(frames).numpy(), rest.numpy()

    @cached_property
    def _layer(self):
        from visemo.face.flame_layer import FlameLayer

        assert self.flame is not None
        return FlameLayer(self.flame)

    def shown(self, what: str, curves: FloatArray) -> tuple[FloatArray, Face]:
        """Vertices (T, V, 3) m of the face that shows ARKit curves (T, 52), 0..1, and that face.

        Raises VisemoError without a face that has ARKit's shapes.
        """
        if self.face is None or self.face.shapes is None or not set(ARKIT_NAMES) & set(self.face.shape_names):
            got = "no face" if self.face is None else f"face {self.face.name} without those shapes"
            raise VisemoError(
                f"{what}: got ARKit curves and {got}, expected one with ARKit's shapes; add --face NAME, such as ict"
            )
        known = [name for name in ARKIT_NAMES if name in self.face.shape_names]
        weights = np.clip(curves[:, [ARKIT_NAMES.index(name) for name in known]], 0, 1).astype(np.float32)
        shapes = np.stack([self.face.shape(name) for name in known])
        return self.face.template + np.tensordot(weights, shapes, axes=1), self.face
