"""How fast `animate` is and how much memory it takes, stage by stage, with random weights.

Stages are cumulative (each includes the ones before it): encoder, speech, fusion, vertices, flame (L_G: weights to
FLAME's parameters) and flame_vertices (FLAME's mesh of every frame). The expression of a clip comes from the library,
so E_e does not run in them; it is measured alone.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visemo.animation.animator import Animator
from visemo.face.face import Face
from visemo.face.flame import JOINTS, POSE_FEATURES, FlameModel
from visemo.face.flame_layer import FlameLayer
from visemo.face.flame_topology import TRIANGLES, VERTICES
from visemo.geometry.geomap import GeometryMap
from visemo.models.checkpoint import Model, versions
from visemo.models.expressions import ExpressionLibrary, ExpressionTake
from visemo.models.flame_map import JAW, FlameMap
from visemo.models.fusion import Fusion, FusionConfig
from visemo.models.speech_motion import SpeechMotion, default_config, paper_config
from visemo.types import Animation, FlameParams, VisemoError, Waveform
from visemo.units import FPS, SAMPLE_RATE, frame_count

PRESETS = ("paper", "default")
SECONDS = (10.0, 60.0, 600.0)
PAPER_VERTICES = (77, 141)  # columns x rows = the 10857 vertices of the paper's template
STAGES = ("encoder", "speech", "fusion", "vertices", "flame", "flame_vertices", "expression")
SUBJECTS = tuple(f"subject_{n}" for n in range(8))  # as many as FaceFormer was trained on
EXPRESSION_FRAMES = 300  # E_e has no memory of time: more frames tell nothing new
REPEATS = 3  # of short clips; the best counts, since everything else on the machine only slows
ADDED = ("vertices", "flame", "flame_vertices")  # timed alone, on top of the stage before: noise does not hide them
FLAME_COMPONENTS = (300, 100)  # of identity and of expression, in every edition
FLAME_BLOCK = 64  # frames that FLAME's layer poses at a time


def grid_face(columns: int = PAPER_VERTICES[0], rows: int = PAPER_VERTICES[1]) -> tuple[Face, np.ndarray]:
    """A flat sheet of columns x rows vertices with a face's bookkeeping, and its own uv (V, 2).

    `columns` is odd, so that the middle one is the midline.
    """
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows), indexing="ij")
    at = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    uv = np.stack([u.ravel(), v.ravel()], axis=1)
    template = np.stack([0.16 * (uv[:, 0] - 0.5), 0.2 * (uv[:, 1] - 0.5), np.zeros(len(uv))], 1).astype(np.float32)
    lips = at[1:-1:3]  # 25 pairs, as many as a face has
    pairs = np.stack([lips[:, rows // 3 + 1], lips[:, rows // 3]], axis=1).astype(np.int32)
    colors = np.full_like(template, 0.5)
    face = Face("grid", template, triangles, {}, pairs, at[::-1].ravel().astype(np.int32), colors)
    return face, uv


def random_model(preset: str) -> Model:
    """A model of a preset's size with random weights: `paper` on a grid of 10857 vertices, `default`
    on the built-in head.

    Raises
    ------
    VisemoError
        For an unknown preset, with the list.
    """
    if preset not in PRESETS:
        raise VisemoError(f"preset: got {preset!r}, expected one of {', '.join(PRESETS)}")
    torch.manual_seed(0)
    if preset == "paper":
        face, uv = grid_face()
        config = FusionConfig.paper(len(face.template))
        geomap = GeometryMap(uv, face.triangles, config.map_size)
        speech = SpeechMotion(paper_config(len(face.template), SUBJECTS))
    else:
        from visemo.face.library import load_face
        from visemo.face.maps import geometry_map

        face = load_face("builtin")
        config = FusionConfig.default(len(face.template))
        geomap = geometry_map(face, config.map_size)
        speech = SpeechMotion(default_config(len(face.template), SUBJECTS))
    take = ExpressionTake(
        np.ones((60, config.expression_shapes), np.float32), np.zeros((60, config.speech_shapes), np.float32)
    )
    library = ExpressionLibrary.from_takes({"happy": [take]})
    return Model(preset, face, speech.eval(), Fusion(config, geomap).eval(), library, {}, preset)


def random_flame() -> FlameModel:
    """A FLAME of the published size with random numbers: nothing of FLAME itself is needed to time it."""
    random = np.random.default_rng(0)
    weights = random.random((VERTICES, JOINTS), np.float32)
    regressor = random.random((JOINTS, VERTICES), np.float32)
    shapedirs = random.standard_normal((VERTICES, 3, sum(FLAME_COMPONENTS)), np.float32)
    return FlameModel(
        0.1 * random.standard_normal((VERTICES, 3), np.float32),
        random.integers(0, VERTICES, (TRIANGLES, 3), np.int32),
        1e-3 * shapedirs,
        *FLAME_COMPONENTS,
        1e-3 * random.standard_normal((VERTICES, 3, POSE_FEATURES), np.float32),
        weights / weights.sum(axis=1, keepdims=True),
        regressor / regressor.sum(axis=1, keepdims=True),
        np.array([-1, 0, 1, 1, 1], np.int32),
    )


def random_flame_map(shapes: int) -> FlameMap:
    """L_G for K weights, random."""
    matrix = np.random.default_rng(0).standard_normal((FLAME_COMPONENTS[1] + JAW, shapes), np.float32)
    return FlameMap(0.01 * matrix, "", "", "random", "random")


# --- memory ------------------------------------------------------------------------------------------


def resident_mb() -> float:
    """Memory that this process holds now, MB; where that cannot be known, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1e6 if sys.platform == "darwin" else 1e3)
    return pages * resource.getpagesize() / 1e6


@dataclass
class Peak:
    """The most memory seen, MB."""

    mb: float = 0.0


@contextmanager
def watch_memory(interval: float = 0.005) -> Iterator[Peak]:
    """Look at the process's memory every `interval` s from a thread of its own."""
    peak, over = Peak(resident_mb()), threading.Event()

    def look() -> None:
        while not over.wait(interval):
            peak.mb = max(peak.mb, resident_mb())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak.mb = max(peak.mb, resident_mb())


# --- stages ------------------------------------------------------------------------------------------


def stage_runs(animator: Animator, sound: Waveform, layer: FlameLayer) -> dict[str, Callable[[], int]]:
    """What each stage runs on `sound`: a function that returns how many frames it made. Those of `ADDED` go on with
    what the one before has made, and are to be run in order."""
    known = random_flame_map(len(animator.basis))
    frames = frame_count(sound.seconds)
    samples = torch.from_numpy(sound.samples)
    style = animator.style(None)
    motion = torch.randn(EXPRESSION_FRAMES, len(animator.template), 3, generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def encoder() -> int:
        animator.speech.audio_encoder(samples[None], frames)
        return frames

    def speech() -> int:
        return len(animator.latents(sound, style))

    made: list[Animation] = []  # what `fusion` made last, which the stages after it go on with
    driven: list[FlameParams] = []

    def fusion() -> int:
        made[:] = [animator.animate(sound, "happy")]
        return made[0].frames

    def vertices() -> int:
        return sum(len(block) for block in made[0].blocks())

    def flame() -> int:
        driven[:] = [known.params(made[0].weights, made[0].fps)]
        return len(driven[0].expression)

    @torch.inference_mode()
    def flame_vertices() -> int:
        both = (torch.from_numpy(part).split(FLAME_BLOCK) for part in (driven[0].expression, driven[0].jaw_pose))
        return sum(len(layer(expression=expression, jaw=jaw)) for expression, jaw in zip(*both))

    @torch.inference_mode()
    def expression() -> int:
        return len(animator.fusion.encode_expression(motion * 1e-3)[0])

    return dict(zip(STAGES, (encoder, speech, fusion, vertices, flame, flame_vertices, expression)))


@dataclass
class Pace:
    """Best frames per second of a stage, and most memory in MB."""

    rate: float = 0.0
    mb: float = 0.0

    def measure(self, run: Callable[[], int], before: float = 0.0) -> float:
        """Run it once more; returns its seconds, with those that went `before`."""
        with watch_memory() as peak:
            began = time.perf_counter()
            frames = run()
            seconds = before + time.perf_counter() - began
        self.rate, self.mb = max(self.rate, frames / seconds), max(self.mb, peak.mb)
        return seconds


def noise(seconds: float) -> Waveform:
    """Sound that is never silent: a second of noise, over and over."""
    second = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32) * 0.1
    return Waveform(np.resize(second, round(seconds * SAMPLE_RATE)))


def benchmark_preset(preset: str, seconds: Sequence[float]) -> Iterator[dict[str, Any]]:
    """One row per length and stage of a preset; everything is warmed up first, stages take turns."""
    animator, layer = Animator(random_model(preset)), FlameLayer(random_flame())
    for run in stage_runs(animator, noise(1.0), layer).values():
        run()
    for length in seconds:
        runs = stage_runs(animator, noise(length), layer)
        paces = {stage: Pace() for stage in runs}
        for _ in range(REPEATS if length <= 60 else 1):
            seconds_before = 0.0
            for stage, run in runs.items():
                seconds_before = paces[stage].measure(run, seconds_before if stage in ADDED else 0.0)
        before = alone = paces["encoder"].rate
        for stage, pace in paces.items():
            frames = EXPRESSION_FRAMES if stage == "expression" else frame_count(length)
            yield {
                "preset": preset,
                "stage": stage,
                "audio_s": length,
                "frames": frames,
                "fps": round(pace.rate, 1),
                "peak_mb": round(pace.mb, 1),
                "of_encoder": round(pace.rate / alone, 3),
                "of_before": round(pace.rate / before, 3),
            }
            before = pace.rate


def machine() -> str:
    """What it ran on, in words."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [row.split(":", 1)[1].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.system()}"


def run_benchmark(
    presets: Sequence[str] = PRESETS,
    seconds: Sequence[float] = SECONDS,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Frames per second and peak memory of every preset, length and stage.

    `of_encoder` is a row's rate as a share of its audio encoder's alone, `of_before` of the stage's before it; `fps` of
    expression is E_e per frame. Memory is the whole process's.

    Raises
    ------
    VisemoError
        For an unknown preset or a length that is not at least one frame.
    """
    if wrong := [length for length in seconds if not 1 / FPS <= length <= 36_000]:
        raise VisemoError(f"--seconds: got {wrong[0]}, expected a length from {1 / FPS:.3f} to 36000")
    rows = []
    for preset in presets:
        for row in benchmark_preset(preset, seconds):
            rows.append(row)
            if tell is not None:
                tell(_line(row))
    return {"machine": machine(), "versions": versions(), "rows": rows}


COLUMNS = ("preset", "stage", "audio_s", "frames", "fps", "peak_mb", "of_encoder", "of_before")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{row[name]:<14}" if isinstance(row[name], str) else f"{row[name]:>10g}" for name in COLUMNS)


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    head = "  ".join(f"{name:<14}" if name in ("preset", "stage") else f"{name:>10}" for name in COLUMNS)
    return "\n".join([report["machine"], head, *map(_line, report["rows"])])
