"""The derivative of a picture of splats, against pictures of splats that lie a little elsewhere or are larger."""

from dataclasses import replace

import numpy as np

from toy_avatar import cloud
from visemo.avatar.rig import Splats
from visemo.render.camera import Camera
from visemo.render.splat import OPAQUE, SOLID, listed
from visemo.render.splat_slopes import slopes

CAMERA = Camera((0.05, 0.02, 1.0), (0.0, 0.0, 0.0), 30.0)
SIZE = (24, 20)
BEHIND = np.array([0.2, 0.5, 0.9], np.float32)


def light(splats: Splats) -> np.ndarray:
    """(H, W, 3) what the pixels show, not rounded: every pixel and every Gaussian, one after the other."""
    ellipses, starts, members = listed(splats, CAMERA, SIZE)
    columns = -(-SIZE[0] // 16)
    picture = np.zeros((SIZE[1], SIZE[0], 3))
    for row in range(SIZE[1]):
        for column in range(SIZE[0]):
            tile = row // 16 * columns + column // 16
            through = 1.0
            for s in members[starts[tile] : starts[tile + 1]]:
                x, y, a, b, c, end, opacity, *color = ellipses[s].astype(np.float64)
                dx, dy = column + 0.5 - x, row + 0.5 - y
                power = a * dx * dx + 2 * b * dx * dy + c * dy * dy
                if power < end:
                    share = through * min(opacity * np.exp(-0.5 * power), SOLID)
                    picture[row, column] += share * np.array(color)
                    through -= share
                    if through < OPAQUE:
                        break
            picture[row, column] += through * BEHIND
    return picture


def test_slopes_are_what_a_small_step_changes() -> None:
    splats = cloud(14, seed=2)
    sh = splats.sh * (np.arange(16) == 0)[:, None].astype(np.float32)  # colours that do not turn with the place
    scales = np.clip(splats.scales, 4e-3, 12e-3)
    splats = replace(splats, centres=splats.centres * np.float32([0.5, 0.5, 0.1]), scales=scales, sh=sh)
    wanted = np.random.default_rng(0).normal(size=(SIZE[1], SIZE[0], 3))
    found = slopes(splats, CAMERA, wanted, BEHIND)
    compared = 0
    for name, slope in (("centres", found.centres), ("scales", found.log_scales)):
        for i in range(len(splats.centres)):
            for k in range(3):
                steps = []
                for size in (2e-3, 1e-3) if name == "scales" else (2e-5, 1e-5):
                    sides = []
                    for sign in (1, -1):
                        moved = getattr(splats, name).copy()
                        if name == "scales":
                            moved[i, k] *= np.exp(sign * size)
                        else:
                            moved[i, k] += sign * size
                        sides.append((light(replace(splats, **{name: moved})) * wanted).sum())
                    steps.append((sides[0] - sides[1]) / (2 * size))
                unit = np.abs(slope).max()
                if abs(steps[0] - steps[1]) < 2e-3 * unit:  # no pixel crossed the place where a Gaussian ends
                    assert abs(steps[1] - slope[i, k]) < 0.02 * unit, (name, i, k)
                    compared += abs(slope[i, k]) > 0.01 * unit
    assert compared > 20


def test_nothing_changes_what_nobody_sees() -> None:
    splats = cloud(3)
    behind = replace(splats, centres=splats.centres + np.float32([0, 0, 5]))
    found = slopes(behind, CAMERA, np.ones((SIZE[1], SIZE[0], 3)), BEHIND)
    assert not found.centres.any() and not found.log_scales.any()
