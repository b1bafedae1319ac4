"""Where the landmarks of the iBUG scheme are on the built-in head."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from visemo.face.builtin.layout import EYE_SEGMENTS, MOUTH_INNER, MOUTH_RED, MOUTH_SEGMENTS, Layout

LID_RING = 2  # where the lashes stand
LID_SEGMENTS = {45: 0, 44: 9, 43: 17, 42: EYE_SEGMENTS // 2, 47: 35, 46: 43}  # of the left eye, from its outer corner
OUTER_LIP = {51: 0, 52: 5, 53: 12, 54: MOUTH_SEGMENTS // 2, 55: 23, 56: 28, 57: MOUTH_SEGMENTS}
INNER_LIP = {62: 0, 63: 8, 64: MOUTH_SEGMENTS // 2, 65: 28, 66: MOUTH_SEGMENTS}
# the rest by place, mm, on the left half: brow from its inner end, ridge and base of the nose, chin
PLACES = {
    22: (13.0, 49.0, 98.0), 23: (23.0, 52.0, 96.5), 24: (33.5, 53.5, 93.0), 25: (43.5, 53.0, 87.0),
    26: (55.0, 47.5, 74.5),
    27: (0.0, 31.5, 98.3), 28: (0.0, 19.6, 105.2), 29: (0.0, 7.4, 114.3), 30: (0.0, -4.5, 120.7),
    33: (0.0, -22.0, 105.0), 34: (6.5, -20.5, 104.5), 35: (13.5, -18.5, 101.0), 8: (0.0, -76.7, 98.2),
}  # fmt: skip
# number on the left -> its mirror image
OTHER_SIDE = {22: 21, 23: 20, 24: 19, 25: 18, 26: 17, 34: 32, 35: 31, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40,
              52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67}  # fmt: skip


def landmark_vertices(layout: Layout, points: np.ndarray, mirror: np.ndarray) -> dict[int, int]:
    """iBUG number (8 and 17 to 67) -> vertex, for points (V, 3) mm of which the first are the layout's left half."""
    found = {number: layout.eye[LID_RING, segment] for number, segment in LID_SEGMENTS.items()}
    found |= {number: layout.mouth[MOUTH_INNER + MOUTH_RED, at] for number, at in OUTER_LIP.items()}
    found |= {number: layout.mouth[MOUTH_INNER, at] for number, at in INNER_LIP.items()}
    half = points[: len(layout.points)]
    middle = np.flatnonzero(layout.midline)
    for number, place in PLACES.items():
        among = middle if place[0] == 0 else np.arange(len(half))
        found[number] = among[KDTree(half[among]).query(place)[1]]
    found |= {right: mirror[found[left]] for left, right in OTHER_SIDE.items()}
    return {number: int(found[number]) for number in sorted(found)}
