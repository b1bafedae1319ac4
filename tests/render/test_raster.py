"""The rasteriser against closed forms, against its slow twin, and against itself."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo import compiled
from visemo.render.camera import Camera, portrait
from visemo.render.coverage import cover, cover_slowly
from visemo.render.raster import SHADOW, Light, Rasteriser, Studio, render
from visemo.types import FloatArray, IntArray, VisemoError


def ball(radius: float, rings: int = 40) -> tuple[FloatArray, IntArray]:
    """Sphere around the origin, counter-clockwise seen from outside."""
    lat, lon = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij")
    points = np.stack([np.sin(lat) * np.sin(lon), np.cos(lat), np.sin(lat) * np.cos(lon)], axis=-1)
    corner = np.arange((rings + 1) * (2 * rings + 1)).reshape(rings + 1, -1)
    a, b, c, d = (part.reshape(-1) for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    return (radius * points.reshape(-1, 3)).astype(np.float32), triangles


def camera_at(distance: float) -> Camera:
    return Camera((0.0, 0.0, distance), field_of_view=30.0)


def test_a_ball_covers_its_silhouette() -> None:
    """A ball of radius r at distance d is seen as a disc of angular radius asin(r / d)."""
    radius, distance, size = 0.1, 0.6, 400
    vertices, triangles = ball(radius, rings=90)
    points = camera_at(distance).project(vertices, size, size)
    winners, inverse = cover(points, triangles, size, size)
    focal = 0.5 * size / np.tan(np.radians(15))
    disc = np.pi * (focal * np.tan(np.arcsin(radius / distance))) ** 2
    assert (winners >= 0).sum() == pytest.approx(disc, rel=2e-3)
    assert inverse.max() == pytest.approx(1 / (distance - radius), rel=1e-3)
    rows, columns = np.nonzero(winners >= 0)
    assert abs(rows.mean() + 0.5 - size / 2) < 0.3 and abs(columns.mean() + 0.5 - size / 2) < 0.3


def test_normals_of_a_ball_point_outwards() -> None:
    """Lit from one side only, a ball's bright side is the lamp's: left, above."""
    vertices, triangles = ball(0.1)
    picture = render(vertices, triangles, np.full_like(vertices, 0.5), camera_at(0.6), size=(128, 128)).astype(float)
    x, y = np.meshgrid(np.arange(128) - 63.5, np.arange(128) - 63.5)
    disc = np.hypot(x, y) < 35
    assert picture[disc & (x < -15) & (y < -15)].mean() > picture[disc & (x > 15) & (y > 15)].mean() + 30


def test_depth_and_weights_of_one_triangle() -> None:
    points = np.array([[1.0, 1.0, 1.0], [21.0, 1.0, 2.0], [1.0, 21.0, 4.0]])
    winners, inverse = cover(points, np.array([[0, 1, 2]], np.int32), 24, 24)
    row, column = 5, 7
    x, y = column + 0.5, row + 0.5
    v, w = (x - 1) / 20, (y - 1) / 20
    assert winners[row, column] == 0
    assert inverse[row, column] == pytest.approx((1 - v - w) * 1 + v * 2 + w * 4, rel=1e-6)
    assert (winners == 0).sum() == 19 * 20 / 2 + 20  # half a square of 20, its diagonal included
    assert winners[0].max() == winners[:, 0].max() == winners[22, 22] == -1


def test_colours_are_interpolated_in_perspective() -> None:
    """A floor running away: the colour at a pixel is that of the point the ray meets."""
    vertices = np.array([[-2, -0.2, 0.5], [2, -0.2, 0.5], [2, -0.2, -3], [-2, -0.2, -3]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    ramp = (0.5 - vertices[:, 2:]) / 3.5
    camera = Camera((0.0, 0.0, 1.0), field_of_view=60.0)
    flat = Studio(lights=(), sky=(1.0, 1.0, 1.0), ground=(1.0, 1.0, 1.0))
    picture = Rasteriser(triangles, np.repeat(ramp, 3, 1).astype("f4"), camera, size=(64, 64), studio=flat).draw(
        vertices
    )
    focal = 32 / np.tan(np.radians(30))
    for row in range(37, 53):
        depth = 0.2 * focal / (row + 0.5 - 32)
        linear = (0.5 - (1.0 - depth)) / 3.5
        srgb = 1.055 * linear ** (1 / 2.4) - 0.055
        assert picture[row, 32, 0] == pytest.approx(255 * srgb, abs=4)


def test_the_nearest_wins() -> None:
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    two = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    near, far = np.c_[10 + 5 * square, np.full(4, 2.0)], np.c_[10 + 8 * square, np.full(4, 1.0)]
    for first, second, inner in ((near, far, 0), (far, near, 1)):
        winners, _ = cover(np.concatenate([first, second]), np.concatenate([two, two + 4]), 20, 20)
        assert np.all(winners[6:14, 6:14] // 2 == inner)
        assert np.all(winners[3, 3:17] // 2 == 1 - inner)
    same, _ = cover(np.concatenate([near, near]), np.concatenate([two, two + 4]), 20, 20)
    assert same.max() == 1  # of equally near ones the first


def test_behind_the_camera_is_left_out() -> None:
    points = np.array([[1.0, 1, 1], [21, 1, 1], [1, 21, -1]])
    for draw in (cover, cover_slowly):
        assert draw(points, np.array([[0, 1, 2]], np.int32), 24, 24)[0].max() == -1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
def test_fast_cover_equals_the_slow_twin(seed: int, count: int, on_grid: bool) -> None:
    """Also with corners exactly on sample centres and edges, slivers, and points off the picture."""
    rng = np.random.default_rng(seed)
    points = np.c_[rng.uniform(-20, 60, (count + 2, 2)), rng.uniform(0.5, 2, count + 2)]
    if on_grid:
        points = np.round(points * 2) / 2
    points[rng.random(count + 2) < 0.05, 2] = -1
    triangles = rng.integers(0, count + 2, (count, 3)).astype(np.int32)
    fast, slow = cover(points, triangles, 45, 37), cover_slowly(points, triangles, 45, 37)
    assert np.array_equal(fast[0], slow[0]) and np.array_equal(fast[1], slow[1])


def test_the_same_picture_for_any_number_of_threads() -> None:
    vertices, triangles = ball(0.1, rings=60)
    colors = np.random.default_rng(0).uniform(0, 1, vertices.shape).astype(np.float32)
    drawing = Rasteriser(
        triangles, colors, camera_at(0.6), size=(200, 152), gloss=np.full(len(vertices), 0.7, np.float32)
    )
    pictures = [drawing.draw(vertices)]
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        pictures += [drawing.draw(vertices) for _ in range(2)]
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(pictures[0], other) for other in pictures[1:])
    assert pictures[0].shape == (152, 200, 3)


def test_edges_are_smooth() -> None:
    """An edge pixel takes as much of the surface as samples it covers: a slanted edge has steps between."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1.3, 0]], np.float32)
    white = np.ones((3, 3), np.float32)
    black = Studio(top=(0.0, 0.0, 0.0), bottom=(0.0, 0.0, 0.0))
    picture = Rasteriser(np.array([[0, 1, 2]], np.int32), white, camera_at(6.0), size=(64, 64), studio=black).draw(
        vertices
    )
    levels = np.unique(picture[..., 1])
    assert levels[0] == 0 and np.any((levels > 60) & (levels < levels[-1] - 40))


def test_welds_hide_a_seam() -> None:
    """Two halves of a ball with rims of their own look like one ball when the rims share normals."""
    vertices, triangles = ball(0.1, rings=30)
    upper = vertices[triangles].mean(axis=1)[:, 1] > 1e-6
    split = np.concatenate([triangles[upper], triangles[~upper] + len(vertices)])
    double, colors = np.concatenate([vertices, vertices]), np.full((2 * len(vertices), 3), 0.5, np.float32)
    rim = np.flatnonzero(np.abs(vertices[:, 1]) < 1e-6)
    welds = np.stack([rim, rim + len(vertices)], axis=1).astype(np.int32)
    camera = camera_at(0.6)
    whole = render(vertices, triangles, colors[: len(vertices)], camera, size=(96, 96)).astype(int)
    seam = Rasteriser(split, colors, camera, size=(96, 96)).draw(double).astype(int)
    welded = Rasteriser(split, colors, camera, size=(96, 96), welds=welds).draw(double).astype(int)
    assert np.abs(welded - whole).max() <= 1 < np.abs(seam - whole).max()


def plates(gap: float) -> tuple[FloatArray, IntArray]:
    """A finely divided wall at z = 0 and a small plate in front of it, both facing the viewer."""
    wall_x, wall_y = np.meshgrid(np.linspace(-0.1, 0.1, 41), np.linspace(-0.1, 0.1, 41))
    wall = np.stack([wall_x, wall_y, 0 * wall_x], axis=-1).reshape(-1, 3)
    corner = np.arange(41 * 41).reshape(41, 41)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    small = np.array([[-0.03, -0.03, gap], [0.03, -0.03, gap], [0.03, 0.03, gap], [-0.03, 0.03, gap]])
    four = np.array([[0, 1, 2], [0, 2, 3]]) + len(wall)
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1), four])
    return np.concatenate([wall, small]).astype(np.float32), triangles.astype(np.int32)


def test_the_first_lamp_casts_a_shadow_where_it_should() -> None:
    """A plate 4 cm before a wall: its shadow is the plate moved along the light, with a soft rim."""
    lamp = Light((-1.0, 1.0, 2.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    vertices, triangles = plates(gap=0.04)
    drawing = Rasteriser(
        triangles, np.ones_like(vertices), camera_at(0.6), size=(64, 64), studio=Studio(lights=(lamp,))
    )
    inside = drawing.camera.to_camera(vertices)
    seen = drawing._lamp_reach(inside, np.tile([0.0, 0.0, 1.0], (len(vertices), 1)))
    x, y = vertices[: 41 * 41, 0] - 0.02, vertices[: 41 * 41, 1] + 0.02  # 4 cm towards z are 2 cm right and down
    inner, outer = (np.abs(x) < 0.02) & (np.abs(y) < 0.02), (np.abs(x) > 0.04) | (np.abs(y) > 0.04)
    assert np.allclose(seen[: 41 * 41][inner], 1 - SHADOW) and np.allclose(seen[: 41 * 41][outer], 1)
    assert np.all(seen[41 * 41 :] == 1)
    edge = seen[: 41 * 41][(np.abs(x - 0.03) < 0.003) & (np.abs(y) < 0.02)]
    assert 1 - 0.8 * SHADOW < edge.mean() < 1 - 0.2 * SHADOW


def test_without_lamps_nothing_casts_a_shadow() -> None:
    vertices, triangles = plates(gap=0.04)
    drawing = Rasteriser(triangles, np.ones_like(vertices), camera_at(0.6), size=(64, 64), studio=Studio(lights=()))
    assert not np.ptp(drawing.draw(vertices)[20:44, 20:44], axis=(0, 1)).any()


def test_a_ball_does_not_shade_itself() -> None:
    vertices, triangles = ball(0.1, rings=60)
    drawing = Rasteriser(triangles, np.ones_like(vertices), camera_at(0.6), size=(64, 64))
    inside = drawing.camera.to_camera(vertices)
    facing = (vertices / 0.1) @ drawing.camera.rotation.T @ drawing.lamps[0, :3]
    assert np.all(drawing._lamp_reach(inside, (inside - [0, 0, -0.6]) / 0.1)[facing > 0.35] == 1)


def test_refusals() -> None:
    vertices, triangles = ball(0.1, rings=4)
    colors = np.ones_like(vertices)
    with pytest.raises(VisemoError, match="one for each of"):
        render(vertices, triangles, colors[:10], camera_at(0.6))
    with pytest.raises(VisemoError, match="expected at least 8 x 8"):
        render(vertices, triangles, colors, camera_at(0.6), size=(4, 64))
    with pytest.raises(VisemoError, match="gloss: got shape"):
        render(vertices, triangles, colors, camera_at(0.6), size=(64, 64), gloss=colors[:3, 0])
    with pytest.raises(VisemoError, match="vertices: got shape"):
        render(vertices[1:], triangles, colors, camera_at(0.6), size=(64, 64))
    with pytest.raises(VisemoError, match="expected one of front, three_quarter, side"):
        portrait(vertices, "back")  # type: ignore[arg-type]
    with pytest.raises(VisemoError, match="straight above"):
        Camera((0.0, 1.0, 0.0))
    with pytest.raises(VisemoError, match="field of view"):
        Camera((0.0, 0.0, 1.0), field_of_view=180.0)


def test_views_look_from_where_they_say() -> None:
    vertices, _ = ball(0.1, rings=8)
    nose = np.array([[0.0, 0.0, 0.12]], np.float32)
    left_ear = np.array([[0.1, 0.0, 0.0]], np.float32)
    front, turned, side = (portrait(vertices, view) for view in ("front", "three_quarter", "side"))
    assert front.project(nose, 200, 200)[0, 0] == pytest.approx(100, abs=0.1)
    assert front.project(left_ear, 200, 200)[0, 0] > 150  # the face's own left is the picture's right
    assert turned.project(nose, 200, 200)[0, 0] < 80 and side.project(nose, 200, 200)[0, 0] < 30
    up = np.array([[0.0, 0.05, 0.0]], np.float32)
    assert front.project(up, 200, 200)[0, 1] < 100
    for camera in (front, turned, side):
        points = camera.project(vertices, 200, 200)
        assert points[:, :2].min() > 5 and points[:, :2].max() < 195
        assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation) == pytest.approx(1)


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locator(**options: bool):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", no_locator)
    assert compiled.compiled(parallel=True)(len) is len
