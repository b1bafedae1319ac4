"""Identity shapes of the built-in head: one standard deviation of face shape each, symmetric."""

from __future__ import annotations

import numpy as np

from visemo.face.builtin.shapes import Frame, brush

# name -> strokes: place (u, v) and radius in the layout (mm), push (mm)
STROKES: dict[str, tuple[tuple[tuple, tuple, tuple], ...]] = {
    "face_wide": (((62, -22), (38, 58), (4.2, 0, 0)),),
    "face_long": (((0, -85), (66, 44), (0, -4.7, 0)), ((0, -14), (22, 18), (0, -1.7, 0.4))),
    "jaw_angle": (((66, -62), (26, 26), (3.8, -2.6, 0)),),
    "chin_forward": (((0, -76), (26, 18), (0, 0, 3.8)),),
    "chin_wide": (((22, -78), (22, 20), (3.4, 0, 0.6)),),
    "chin_cleft": (((0, -74), (5, 9), (0, 0, -1.8)),),
    "cheeks_full": (((50, -24), (28, 30), (2.7, 0, 2.7)), ((30, -70), (30, 14), (1.0, -0.7, 1.0))),
    "cheekbones_high": (((54, 4), (28, 18), (2.1, 1.0, 2.0)), ((52, -28), (24, 20), (-1.3, 0, -1.6))),
    "round": (
        ((46, -22), (26, 26), (1.7, 0, 1.7)), ((0, -84), (40, 22), (0, 2.7, -0.3)), ((0, 80), (50, 24), (0, 0, 1.4)),
        ((0, -8), (11, 12), (0, 1.4, -1.2)), ((20, -80), (18, 18), (-1.3, 0, 0)),
    ),
    "nose_long": (((0, -10), (14, 14), (0, -2.9, 1.0)),),
    "nose_forward": (((0, -6), (13, 18), (0, 0, 4.0)),),
    "nose_wide": (((12, -11), (9, 11), (3.8, 0, 0)),),
    "nose_bridge_high": (((0, 20), (11, 18), (0, 0, 3.2)),),
    "nose_hump": (((0, 10), (8, 9), (0, 0, 2.6)),),
    "nose_tip_up": (((0, -7), (10, 10), (0, 3.1, 0.7)),),
    "brow_heavy": (((27, 50), (32, 13), (0, -1.0, 2.3)),),
    "brow_high": (((28, 54), (30, 16), (0, 3.7, 0)),),
    "forehead_high": (((0, 82), (60, 28), (0, 1.5, 3.4)),),
    "masculine": (
        ((27, 49), (30, 10), (0, -1.0, 1.7)), ((60, -64), (24, 24), (2.3, -1.4, 0)),
        ((18, -80), (20, 16), (1.8, -0.8, 1.3)),
        ((0, -2), (14, 20), (0, -0.7, 1.6)), ((50, -26), (22, 20), (-1.0, 0, -1.3)),
        ((0, -34), (20, 5), (0, -0.6, -0.3)),
    ),
    "age": (
        ((44, -66), (17, 14), (1.3, -1.9, 1.2)), ((54, -24), (22, 20), (-1.4, 0, -1.8)),
        ((24, 11), (15, 6), (0, -0.6, -1.1)),
        ((30, -20), (5, 15), (-0.3, 0, -1.1)), ((46, 53), (18, 10), (0, -1.6, 0)),
        ((0, -9), (11, 10), (0, -1.3, 0.5)),
        ((72, 48), (18, 20), (-1.3, 0, -0.8)),
    ),
    "lips_full": (((0, -33.5), (22, 5), (0, 1.3, 1.4)), ((0, -49), (20, 6), (0, -1.4, 1.4))),
    "mouth_wide": (((26, -41), (15, 15), (3.4, 0, -1.0)),),
    "philtrum_long": (((0, -41), (36, 24), (0, -2.7, 0)),),
    "eyes_deep": (((32, 47), (26, 9), (0, 0, 1.9)), ((34, 7), (26, 12), (0, 0, 1.4))),
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
