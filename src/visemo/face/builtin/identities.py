"""Identity shapes of the built-in head: one standard deviation of face shape each, symmetric."""

from __future__ import annotations

import numpy as np

from visemo.face.builtin.shapes import Frame, brush

# name -> strokes: place (u, v) and radius in the layout (mm), push (mm)
STROKES: dict[str, tuple[tuple[tuple, tuple, tuple], ...]] = {
    "jaw_wide": (((75, -50), (30, 30), (5, 0, 0)),),
    "jaw_long": (((0, -85), (45, 22), (0, -5, 0)),),
    "jaw_angle": (((74, -58), (22, 22), (4, -3, 0)),),
    "chin_forward": (((0, -75), (18, 14), (0, 0, 4)),),
    "chin_wide": (((20, -78), (20, 17), (3.2, 0, 0.8)),),
    "chin_cleft": (((0, -74), (4, 8), (0, 0, -1.6)),),
    "cheeks_full": (((58, -25), (24, 28), (3, 0, 3)),),
    "cheekbones_high": (((56, 6), (26, 17), (2.6, 1.5, 2.4)),),
    "cheeks_hollow": (((58, -22), (16, 18), (-3, 0, -3)),),
    "nose_long": (((0, -10), (14, 12), (0, -3.5, 1)),),
    "nose_forward": (((0, -6), (12, 16), (0, 0, 4)),),
    "nose_wide": (((12, -11), (8, 9), (3, 0, 0)),),
    "nose_bridge_high": (((0, 20), (9, 16), (0, 0, 3)),),
    "nose_hump": (((0, 10), (8, 8), (0, 0, 2.5)),),
    "nose_tip_up": (((0, -6), (10, 9), (0, 3, 1)),),
    "brow_heavy": (((27, 50), (30, 12), (0, -1.0, 2.8)),),
    "brow_high": (((28, 52), (26, 14), (0, 3.5, 0)),),
    "forehead_high": (((0, 85), (60, 26), (0, 2, 4)),),
    "forehead_slope": (((0, 80), (60, 24), (0, 0, -5)),),
    "temples_wide": (((80, 50), (26, 30), (4, 0, 0)),),
    "lips_forward": (((0, -41), (26, 14), (0, 0, 2.2)),),
    "mouth_wide": (((26, -41), (14, 14), (3, 0, -1)),),
    "philtrum_long": (((0, -41), (34, 22), (0, -2.5, 0)),),
    "eyes_deep": (((32, 46), (20, 8), (0, 0, 2.0)), ((32, 8), (18, 7), (0, 0, 1.6))),
}  # fmt: skip


def identity_shapes(frame: Frame) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and (I, V, 3) mm."""
    rows = []
    for strokes in STROKES.values():
        move = np.zeros_like(frame.points)
        for centre, radius, push in strokes:
            there = brush(frame, centre, radius, push)
            there = there + there[frame.mirror] * np.array([-1.0, 1.0, 1.0])
            move += there * (0.5 if centre[0] == 0 else 1.0)
        rows.append(0.5 * (move + move[frame.mirror] * np.array([-1.0, 1.0, 1.0])))
    return tuple(STROKES), np.stack(rows)
