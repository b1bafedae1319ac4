"""The camera: where a face is seen from, and the perspective that puts its points on the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visemo.geometry.rotation import axis_angle_to_matrix
from visemo.types import FloatArray, VisemoError

View = Literal["front", "three_quarter", "side"]
# degrees that the camera walks around the head, towards the face's own left
AZIMUTHS: dict[str, float] = {"front": 0.0, "three_quarter": 38.0, "side": 84.0}

FIELD_OF_VIEW = 20.0  # degrees, vertical; a portrait lens: wider ones swell the nose
_FILL = 0.86  # part of the picture's height that the framed points take


@dataclass(frozen=True)
class Camera:
    """A perspective camera at `position` looking at `target` (m, face frame), +y upwards.

    Its own frame has x to the picture's right, y up and z out of the picture towards the viewer.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    field_of_view: float = FIELD_OF_VIEW

    def __post_init__(self) -> None:
        if not 0 < self.field_of_view < 180:
            raise VisemoError(f"field of view: got {self.field_of_view} degrees, expected more than 0, less than 180")
        line = np.subtract(self.position, self.target)
        if not np.hypot(line[0], line[2]) > 0:
            raise VisemoError(
                f"camera: got position {self.position} straight above, below or at its target, expected one beside it"
            )

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3); rows are the camera's x, y and z axes in the face frame."""
        back = np.subtract(self.position, self.target)
        back = back / np.linalg.norm(back)
        right = np.cross([0.0, 1.0, 0.0], back)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(back, right), back])

    def orbited(self, degrees: float) -> Camera:
        """This camera after a walk around the vertical through its target, towards the face's own left."""
        turn = axis_angle_to_matrix(np.array([0.0, np.radians(degrees), 0.0]))
        x, y, z = map(float, turn @ np.subtract(self.position, self.target) + self.target)
        return replace(self, position=(x, y, z))

    def to_camera(self, points: FloatArray) -> NDArray[np.float64]:
        """Points (N, 3) of the face frame in the camera's frame, m; what is in front has z < 0."""
        return (points - np.asarray(self.position)) @ self.rotation.T

    def project(self, points: FloatArray, width: int, height: int) -> NDArray[np.float64]:
        """(N, 3): x to the right and y downwards in pixels from the picture's upper left corner, and
        1 / distance along the axis in 1/m, which is linear on the picture."""
        inside = self.to_camera(points)
        inverse = 1.0 / -inside[:, 2]
        focal = 0.5 * height / np.tan(np.radians(self.field_of_view) / 2)
        x = 0.5 * width + focal * inside[:, 0] * inverse
        y = 0.5 * height - focal * inside[:, 1] * inverse
        return np.stack([x, y, inverse], axis=1)


def portrait(points: FloatArray, view: View = "front", fill: float = _FILL) -> Camera:
    """Camera that frames `points` (N, 3) m from one of the named views.

    `fill` is the part of the picture's height that the points' larger extent takes.
    Raises VisemoError with the list of views.
    """
    if view not in AZIMUTHS:
        raise VisemoError(f"view: got {view!r}, expected one of {', '.join(AZIMUTHS)}")
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    extent = max(float(high[1] - low[1]), float(np.hypot(*(high - low)[[0, 2]])) * 0.75)
    distance = extent / (2 * fill * np.tan(np.radians(FIELD_OF_VIEW) / 2)) + float(high[2] - low[2]) / 2
    x, y, z = map(float, middle)
    return Camera((x, y, z + distance), (x, y, z)).orbited(AZIMUTHS[view])
