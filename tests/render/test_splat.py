"""Splats on the picture: against the analytic Gaussian, exact compositing, and a slow twin that skips nothing."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import sph_harm_y

from toy_avatar import cloud
from visemo.avatar.rig import Splats
from visemo.geometry.rotation import axis_angle_to_matrix, matrix_to_quaternion, quaternion_to_matrix
from visemo.render import splat
from visemo.render.camera import Camera
from visemo.render.splat import draw_splats, harmonics
from visemo.types import VisemoError

CAMERA = Camera((0.0, 0.0, 1.0), field_of_view=30.0)
BLACK = np.zeros(3)


def flat_color(*colors: tuple[float, float, float]) -> np.ndarray:
    sh = np.zeros((len(colors), 16, 3), np.float32)
    sh[:, 0] = (np.array(colors) - 0.5) / 0.28209479177387814
    return sh


def draw_slowly(splats: Splats, camera: Camera, size: tuple[int, int], background: np.ndarray) -> np.ndarray:
    """Every Gaussian on every pixel, from near to far, with nothing sorted, cut off or stopped: (H, W, 3) 0..255."""
    width, height = size
    focal = 0.5 * height / np.tan(np.radians(camera.field_of_view) / 2)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    points, place = camera.to_camera(splats.centres), camera.project(splats.centres, width, height)
    toward = splats.centres - np.array(camera.position)
    shares = harmonics(toward / np.linalg.norm(toward, axis=1, keepdims=True))
    colors = np.maximum(0.5 + np.einsum("nj,njk->nk", shares, splats.sh), 0)
    limit = 1.3 * 0.5 * np.array([width, height]) / focal
    light, through = np.zeros((height, width, 3)), np.ones((height, width))
    for i in np.argsort(-points[:, 2], kind="stable"):
        far = -points[i, 2]
        if far <= splat.NEAR:
            continue
        turn = camera.rotation @ quaternion_to_matrix(splats.rotations[i])
        covariance = turn @ np.diag(splats.scales[i].astype(float) ** 2) @ turn.T
        slope = np.clip(points[i, :2] / far, -limit, limit)
        derivative = focal / far * np.array([[1, 0, slope[0]], [0, -1, -slope[1]]])
        inverse = np.linalg.inv(derivative @ covariance @ derivative.T + 0.3 * np.eye(2))
        off = np.stack([x - place[i, 0], y - place[i, 1]], axis=-1)
        hidden = np.minimum(0.99, splats.opacity[i] * np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", off, inverse, off)))
        hidden[hidden < 1 / 255] = 0
        light += (hidden * through)[..., None] * colors[i]
        through *= 1 - hidden
    return 255 * np.minimum(light + through[..., None] * background, 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_picture_is_the_slow_twin_s(seed: int) -> None:
    size = (75, 59)  # neither is a whole number of tiles
    camera = Camera((0.3, 0.2, 1.0 + seed), (0.02, 0.0, 0.0), 25.0)
    behind = np.random.default_rng(seed).random((size[1], size[0], 3))
    splats = cloud(400, seed)
    wanted = draw_slowly(splats, camera, size, behind)
    got = draw_splats(splats, camera, size, behind)
    assert np.abs(got - np.round(wanted)).max() <= 1
    assert np.ptp(wanted) > 100


def test_needles_are_the_slow_twin_s_at_every_place_in_a_tile() -> None:
    """The steepest slopes that there are, from everywhere in a tile to its other end."""
    count = 48
    place = np.stack([np.linspace(-0.26, 0.26, count), np.zeros(count), np.zeros(count)], axis=1)
    needles = Splats(
        place.astype(np.float32), np.float32([[1e-5, 0.2, 1e-5]] * count), np.float32([[1, 0, 0, 0.02]] * count),
        np.ones(count, np.float32), flat_color(*[(1.0, 0.2, 0.1)] * count),
    )  # fmt: skip
    wanted = draw_slowly(needles, CAMERA, (64, 64), BLACK)
    assert np.abs(draw_splats(needles, CAMERA, (64, 64), BLACK) - np.round(wanted)).max() <= 1


def test_one_round_gaussian_is_the_analytic_one() -> None:
    sigma, focal = 0.01, 0.5 * 65 / np.tan(np.radians(15))
    one = Splats(
        np.zeros((1, 3), np.float32), np.full((1, 3), sigma, np.float32), np.float32([[1, 0, 0, 0]]),
        np.float32([0.8]), flat_color((1.0, 0.5, 0.25)),
    )  # fmt: skip
    got = draw_splats(one, CAMERA, (65, 65), BLACK)
    x, y = np.meshgrid(np.arange(65) - 32, np.arange(65) - 32)
    wanted = 0.8 * np.exp(-(x**2 + y**2) / (2 * ((sigma * focal) ** 2 + 0.3)))
    wanted[wanted < 1 / 255] = 0
    assert np.abs(got / 255 - wanted[..., None] * [1, 0.5, 0.25]).max() < 1 / 255


def test_two_gaussians_lie_over_each_other_in_their_order() -> None:
    centres = np.float32([[0, 0, -0.1], [0, 0, 0.1]])  # the second is nearer
    two = Splats(
        centres, np.full((2, 3), 0.3, np.float32), np.float32([[1, 0, 0, 0]] * 2), np.float32([0.6, 0.5]),
        flat_color((1, 0, 0), (0, 1, 0)),
    )  # fmt: skip
    middle = draw_splats(two, CAMERA, (17, 17), np.array([0, 0, 1.0]))[8, 8] / 255
    assert np.abs(middle - [0.5 * 0.6, 0.5, 0.5 * 0.4]).max() < 1 / 255
    behind = replace(two, centres=np.float32([[0, 0, 0.1], [0, 0, 3.0]]))  # one before the other, one behind the camera
    middle = draw_splats(behind, CAMERA, (17, 17), np.array([0, 0, 1.0]))[8, 8] / 255
    assert np.abs(middle - [0.6, 0, 0.4]).max() < 1 / 255


def test_a_long_gaussian_turns_with_its_rotation() -> None:
    long = Splats(
        np.zeros((1, 3), np.float32), np.float32([[0.05, 0.003, 0.003]]), np.float32([[1, 0, 0, 0]]),
        np.ones(1, np.float32), flat_color((1, 1, 1)),
    )  # fmt: skip
    quarter = matrix_to_quaternion(axis_angle_to_matrix(np.array([0, 0, np.pi / 2])))
    turned = replace(long, rotations=quarter[None].astype(np.float32))
    flat, upright = (draw_splats(one, CAMERA, (65, 65), BLACK) for one in (long, turned))
    assert np.abs(np.rot90(flat).astype(int) - upright).max() <= 1
    assert flat[32].sum() > 8 * flat[:, 32].sum()


def test_colours_change_with_the_view_as_spherical_harmonics_do() -> None:
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    got = harmonics(directions)
    polar, around = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    for degree in range(4):
        for order in range(-degree, degree + 1):
            wave = sph_harm_y(degree, abs(order), polar, around)
            wanted = wave.real if order == 0 else np.sqrt(2) * (wave.real if order > 0 else wave.imag)
            assert np.abs(got[:, degree * degree + degree + order] - wanted).max() < 1e-9, (degree, order)


def test_far_off_and_transparent_gaussians_leave_the_background() -> None:
    splats = cloud(50)
    away = replace(splats, centres=splats.centres + np.float32([50, 0, 0]), scales=splats.scales * np.float32(0.1))
    clear = replace(splats, opacity=np.full(50, 0.003, np.float32))
    for nothing in (away, clear):
        assert (draw_splats(nothing, CAMERA, (32, 32)) == 255).all()


def test_shares_are_the_transpose_of_drawing() -> None:
    """<draw(c), p> = <c, shares(p)>: one Gaussian white and all others black is its shares."""
    splats = replace(cloud(30), sh=flat_color(*[(0.0, 0.0, 0.0)] * 30))
    picture = np.random.default_rng(1).random((40, 48, 3))
    got = splat.shares(splats, CAMERA, picture)
    for i in range(30):
        lone = splats.sh.copy()
        lone[i, 0] = 0.5 / 0.28209479177387814
        drawn = draw_splats(replace(splats, sh=lone), CAMERA, (48, 40), BLACK) / 255
        assert abs(got[i, 3] - drawn[..., 0].sum()) < 48 * 40 * 0.5 / 255
        assert np.abs(got[i, :3] - (drawn * picture).sum(axis=(0, 1))).max() < 48 * 40 * 0.5 / 255


def test_refusals() -> None:
    with pytest.raises(VisemoError, match="at least 8 x 8"):
        draw_splats(cloud(1), CAMERA, (7, 32))
    with pytest.raises(VisemoError, match="background"):
        draw_splats(cloud(1), CAMERA, (32, 32), np.zeros((32, 3)))


@pytest.mark.slow
def test_a_head_of_twenty_thousand_is_drawn_five_times_a_second(record_property) -> None:
    """20018 Gaussians, as many as LAM's heads have, over four fifths of 512 x 512 pixels."""
    rng, count = np.random.default_rng(0), 20018
    turns = rng.normal(size=(count, 4))
    place = rng.uniform(-0.235, 0.235, (count, 3)) * [1, 1, 0.3]
    head = Splats(
        place.astype(np.float32), np.exp(rng.uniform(np.log(1e-3), np.log(5e-3), (count, 3))).astype(np.float32),
        (turns / np.linalg.norm(turns, axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(0.1, 1, count).astype(np.float32), rng.normal(0, 0.2, (count, 16, 3)).astype(np.float32),
    )  # fmt: skip
    assert (draw_splats(head, CAMERA).min(axis=2) < 250).mean() > 0.75
    times = []
    for _ in range(20):
        began = time.perf_counter()
        draw_splats(head, CAMERA)
        times.append(time.perf_counter() - began)
    rate = 1 / np.median(times)
    record_property("frames_per_second", rate)
    assert rate >= 5, f"{rate:.1f} frames per second"
