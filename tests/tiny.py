"""Small, complete, random: the face and the model that many tests animate."""

import numpy as np
import torch

from visemo.face.face import Face
from visemo.models.audio_encoder import AudioEncoderConfig
from visemo.models.expressions import ExpressionLibrary
from visemo.models.fusion import Fusion, FusionConfig
from visemo.models.speech_motion import SpeechMotion, SpeechMotionConfig
from visemo.types import Waveform

COLUMNS, ROWS, MOUTH_ROW = 21, 25, 7
MOUTH = range(6, 15)  # columns of the slit, its corners included
K_A, K_E = 4, 3

# a wav2vec 2.0 of the published layout, a twentieth as wide
WAV2VEC2 = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def make_tiny_face() -> Face:
    """21 x 25 vertices over 14 x 18 cm, with the mouth slit's inner vertices doubled."""
    column, row = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS), indexing="ij")
    x, y = (column.ravel() / (COLUMNS - 1) - 0.5) * 0.14, (row.ravel() / (ROWS - 1) - 0.4) * 0.18
    at = np.arange(COLUMNS * ROWS).reshape(COLUMNS, ROWS)
    mirror = at[::-1].ravel()
    inner = [at[c, MOUTH_ROW] for c in MOUTH[1:-1]]  # they become the upper lip
    lower = {upper: len(x) + i for i, upper in enumerate(inner)}
    triangles = []
    for c in range(COLUMNS - 1):
        for r in range(ROWS - 1):
            a, b, d, e = at[c, r], at[c + 1, r], at[c + 1, r + 1], at[c, r + 1]
            if r + 1 == MOUTH_ROW:  # the quads below the slit hang on the lower lip
                d, e = lower.get(d, d), lower.get(e, e)
            rising = (c < COLUMNS // 2) == (r < ROWS // 2)  # diagonals run into the corners: no ears there
            triangles += [[a, b, d], [a, d, e]] if rising else [[a, b, e], [b, d, e]]
    x, y = np.append(x, x[inner]), np.append(y, y[inner])
    mirror = np.append(mirror, [lower[mirror[upper]] for upper in inner])
    template = np.stack([x, y, 0.08 - 3 * x**2 - y**2], axis=1).astype(np.float32)
    pairs = np.array(list(lower.items()), np.int32)
    near = {
        "lips": np.abs(y - y[inner[0]]) + np.abs(x) * 0.2 < 0.014,
        "eyes": np.hypot(np.abs(x) - 0.032, y - 0.04) < 0.014,
        "brows": (np.abs(y - 0.065) < 0.006) & (np.abs(x) < 0.05),
    }
    regions = {name: np.flatnonzero(mask).astype(np.int32) for name, mask in near.items()}
    shapes = _shapes(template, np.array(list(lower.values())))
    colors = np.full((len(x), 3), 0.5, np.float32)
    return Face(
        "tiny", template, np.array(triangles, np.int32), regions, pairs, mirror.astype(np.int32), colors,
        tuple(shapes), np.stack(list(shapes.values())), licence="Apache-2.0",
    )  # fmt: skip


def _shapes(template: np.ndarray, lower: np.ndarray) -> dict[str, np.ndarray]:
    mouth = template[lower].mean(axis=0)

    def bump(x: float, y: float, size: float, move: tuple[float, float, float]) -> np.ndarray:
        squared = (template[:, 0] - x) ** 2 + (template[:, 1] - y) ** 2
        return (np.exp(-squared / (2 * size**2))[:, None] * np.array(move)).astype(np.float32)

    below = np.zeros(len(template), bool)
    below[template[:, 1] < mouth[1] - 1e-4] = True
    below[lower] = True
    jaw = bump(0, mouth[1] - 0.01, 0.025, (0, -0.016, -0.003))
    jaw[~below] = 0
    parted = bump(0, mouth[1], 0.02, (0, -0.005, 0))
    parted[~below] = 0
    return {
        "jawOpen": jaw,
        "mouthPucker": bump(0, mouth[1], 0.015, (0, 0, 0.008)),
        "mouthSmileLeft": bump(0.03, mouth[1], 0.012, (0.006, 0.007, -0.002)),
        "mouthSmileRight": bump(-0.03, mouth[1], 0.012, (-0.006, 0.007, -0.002)),
        "mouthLowerDownLeft": parted,
        "browInnerUp": bump(0, 0.065, 0.02, (0, 0.006, 0)),
        "eyeBlinkLeft": bump(0.032, 0.04, 0.008, (0, -0.004, 0)),
        "eyeBlinkRight": bump(-0.032, 0.04, 0.008, (0, -0.004, 0)),
    }


def make_takes(seed: int = 1, names: tuple[str, ...] = ("happy", "sad", "angry", "Afraid")) -> dict[str, list]:
    """Two takes per name, neutral -> apex -> neutral in 60 frames, with a tremor at the apex."""
    chance = np.random.default_rng(seed)
    time = np.linspace(0, np.pi, 60)
    takes: dict[str, list] = {}
    for name in names:
        apex = chance.uniform(0.3, 0.9, K_E), chance.uniform(0, 0.3, K_A)
        tremor = 0.05 * np.sin(9 * time + chance.uniform(0, 6, 2)[:, None])
        course = np.sqrt(np.sin(time).clip(0)) * (1 + tremor)
        takes[name] = [tuple(np.outer(strength, part).astype(np.float32) for part in apex) for strength in course]
    return takes


def make_tiny_model(face: Face, seed: int = 0):
    """A model whose speech opens the jaw and whose expressions smile, part the lips and raise brows."""
    from visemo.face.maps import geometry_map
    from visemo.models.checkpoint import Model

    torch.manual_seed(seed)
    shape = lambda *names: sum(face.shape(name) for name in names)  # noqa: E731
    speech_shapes = [shape("jawOpen"), shape("mouthPucker"), 0.5 * shape("jawOpen"), shape("mouthLowerDownLeft")]
    expression_shapes = [
        shape("mouthSmileLeft", "mouthSmileRight") + 0.5 * shape("mouthLowerDownLeft"),
        shape("browInnerUp"),
        shape("mouthSmileLeft", "mouthSmileRight", "mouthLowerDownLeft"),
    ]
    count = len(face.template)
    fusion = Fusion(
        FusionConfig(count, K_A, K_E, map_size=32, channels=(8, 16), instance_norm=False, linear_pool=8),
        geometry_map(face, 32),
    )
    fusion.set_basis(torch.from_numpy(np.stack(speech_shapes + expression_shapes)))
    with torch.no_grad():
        for encoder in (fusion.speech_encoder, fusion.expression_encoder):
            for layer in encoder.output_layers():
                layer.weight *= 0.02
    audio = AudioEncoderConfig(width=16, bands=20, dilations=(1, 1))
    speech = SpeechMotion(SpeechMotionConfig(count, ("anna", "ben"), audio, feature_dim=16, basis_size=3))
    with torch.no_grad():
        speech.vertice_map_r.weight.normal_(0, 0.1)
        speech.motion_basis.copy_(torch.from_numpy(np.stack(speech_shapes[:3]).reshape(3, -1)))
    library = ExpressionLibrary.from_takes(make_takes())
    return Model("tiny", face, speech.eval(), fusion.eval(), library, {}, "0123456789abcdef")


def tone(seconds: float = 1.0, pitch: float = 160.0) -> Waveform:
    """A hum whose loudness beats four times a second: something to move to."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    buzz = sum(np.sin(2 * np.pi * pitch * n * t) / n for n in range(1, 12))
    return Waveform((0.15 * buzz * (0.55 - 0.45 * np.cos(8 * np.pi * t))).astype(np.float32))
