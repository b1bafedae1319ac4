"""A face of two hundred vertices with every feature that renderers and writers look at, and takes on it."""

import numpy as np

from visemo.face.face import Face, Part
from visemo.types import Animation, FloatArray, IntArray, Waveform

SHAPES = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookOutLeft")
COLUMNS, ROWS = 13, 7


def sheet(low: float, high: float) -> tuple[FloatArray, IntArray]:
    """Bulging patch over x in -6..6 cm and y in low..high, counter-clockwise seen from +z."""
    x, y = np.meshgrid(np.linspace(-0.06, 0.06, COLUMNS), np.linspace(low, high, ROWS))
    z = 0.05 - 6 * x**2 - 4 * y**2
    corner = np.arange(COLUMNS * ROWS).reshape(ROWS, COLUMNS)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32), triangles.astype(np.int32)


def ball(centre: tuple[float, float, float], radius: float, rings: int = 10) -> tuple[FloatArray, IntArray]:
    lat, lon = np.meshgrid(np.linspace(0.05, 3.09, rings), np.linspace(0, 2 * np.pi, 2 * rings), indexing="ij")
    points = np.stack([np.sin(lat) * np.cos(lon), np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    corner = np.arange(2 * rings * rings).reshape(rings, -1)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    return (np.asarray(centre) + radius * points.reshape(-1, 3)).astype(np.float32), triangles


def toy_face() -> Face:
    """Upper and lower half with lips that touch along y = 0; an eyeball, teeth, and a forehead sewn on above."""
    (upper, top_faces), (lower, low_faces) = sheet(0.0, 0.07), sheet(-0.07, 0.0)
    template = np.concatenate([upper, lower])
    triangles = np.concatenate([top_faces, low_faces + len(upper)]).astype(np.int32)
    mirror = np.arange(len(template)).reshape(2 * ROWS, COLUMNS)[:, ::-1].reshape(-1).astype(np.int32)
    rim = np.arange(1, COLUMNS - 1)
    pairs = np.stack([rim, rim + len(upper) + (ROWS - 1) * COLUMNS], axis=1).astype(np.int32)
    colors = np.tile(np.float32([0.55, 0.32, 0.24]), (len(template), 1))
    colors[pairs.ravel()] = [0.45, 0.15, 0.13]
    regions = {"lips": pairs.ravel(), "upper_lip": pairs[:, 0].copy(), "lower_lip": pairs[:, 1].copy()}
    return Face(
        "toy", template, triangles, regions, pairs, mirror, colors, SHAPES, toy_shapes(template, len(upper)),
        parts=toy_parts(),
    )  # fmt: skip


def toy_shapes(template: FloatArray, lower: int) -> FloatArray:
    shapes = np.zeros((len(SHAPES), *template.shape), np.float32)
    x, y = template[:, 0], template[:, 1]
    shapes[0, lower:, 1] = -0.02 * (1 - (x[lower:] / 0.07) ** 2)
    near = np.exp(-((y / 0.03) ** 2))
    shapes[1, :, 0] = 0.01 * near * np.clip(x / 0.06, 0, 1)
    shapes[2, :, 0] = -0.01 * near * np.clip(-x / 0.06, 0, 1)
    lid = np.exp(-(((y - 0.04) / 0.01) ** 2))
    shapes[3, :, 1], shapes[4, :, 1] = -0.005 * lid * (x > 0.01), -0.005 * lid * (x < -0.01)
    return shapes


def toy_parts() -> tuple[Part, ...]:
    eye, eye_faces = ball((0.03, 0.04, 0.04), 0.012)
    look = np.zeros((len(SHAPES), *eye.shape), np.float32)
    look[SHAPES.index("eyeLookOutLeft"), :, 0] = 0.3 * (eye[:, 2] - 0.04)
    teeth, teeth_faces = sheet(-0.012, 0.0)
    jaw = np.zeros((len(SHAPES), *teeth.shape), np.float32)
    jaw[0, :, 1] = -0.02
    crown, crown_faces = sheet(0.07, 0.09)
    still = np.zeros((len(SHAPES), *crown.shape), np.float32)
    white, skin = np.ones_like(eye), np.tile(np.float32([0.55, 0.32, 0.24]), (len(crown), 1))
    return (
        Part("eye_left", eye, eye_faces, white * np.float32(0.7), look, 1.0),
        Part("teeth", (teeth - np.float32([0, 0, 0.01])), teeth_faces, np.full_like(teeth, 0.6), jaw, 0.5),
        Part("crown", crown, crown_faces, skin, still),
    )


def toy_clip(
    frames: int = 45, *, fps: float = 30.0, sound: bool = True, life: bool = False, seed: int = 0
) -> Animation:
    """Two speech and one expression blendshapes (mixtures of the toy's shapes), smooth random weights."""
    face = toy_face()
    assert face.shapes is not None
    rng = np.random.default_rng(seed)
    mixing = np.float32([[1, 0, 0, 0, 0, 0], [0.3, 0.5, 0.5, 0, 0, 0], [0, 0.8, 0.8, 0.2, 0.2, 0]])
    basis = np.tensordot(mixing, face.shapes, axes=1)
    t = np.arange(frames) / fps
    weights = 0.5 + 0.5 * np.sin(2 * np.pi * (t[:, None] * [2.1, 1.3, 0.4] + rng.random(3)))
    lively, pose = None, None
    if life:
        lively = np.abs(np.sin(3 * t))[:, None].astype(np.float32).repeat(2, axis=1)
        angle = 0.1 * np.sin(2 * t)
        pose = np.zeros((frames, 7), np.float32)
        pose[:, 0], pose[:, 3], pose[:, 5] = 0.01 * t, np.cos(angle / 2), np.sin(angle / 2)
    samples = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(frames / fps * 16000)) / 16000)
    return Animation(
        speech_weights=weights[:, :2].astype(np.float32),
        expression_weights=weights[:, 2:].astype(np.float32),
        speech_leak=rng.normal(0, 0.01, (frames, 1)).astype(np.float32),
        expression_leak=rng.normal(0, 0.01, (frames, 2)).astype(np.float32),
        basis=np.ascontiguousarray(basis, np.float32),
        template=face.template,
        triangles=face.triangles,
        lip_pairs=face.lip_pairs,
        face=face.name,
        fps=fps,
        audio=Waveform(samples.astype(np.float32)) if sound else None,
        lively_weights=lively,
        lively_names=("eyeBlinkLeft", "eyeLookOutLeft") if life else (),
        head_pose=pose,
        meta={"model": "toy", "model_hash": "0123", "expression": "happy", "mode": "fused"},
    )
