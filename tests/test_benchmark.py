import json
import time

import numpy as np
import pytest

from tiny import make_tiny_model
from visemo import benchmark
from visemo.animation.animator import Animator
from visemo.benchmark import (
    PRESETS,
    STAGES,
    Pace,
    benchmark_preset,
    grid_face,
    noise,
    random_flame,
    random_model,
    resident_mb,
    run_benchmark,
    stage_runs,
    table,
    watch_memory,
)
from visemo.face.flame_layer import FlameLayer
from visemo.types import VisemoError


def test_the_grid_has_the_paper_s_vertices_and_is_a_face():
    face, uv = grid_face()
    assert len(face.template) == 10857 and uv.shape == (10857, 2) and uv.min() == 0 and uv.max() == 1
    assert np.allclose(face.template[face.mirror] * [-1, 1, 1], face.template, atol=1e-6)
    edge = np.cross(*(face.template[face.triangles[:, k]] - face.template[face.triangles[:, 0]] for k in (1, 2)))
    assert (edge[:, 2] > 0).all()  # counter-clockwise from the front


def test_both_presets_can_be_made_at_their_own_size():
    paper = random_model("paper").fusion
    assert paper.config.vertices == 10857 and paper.config.map_size == 128
    megabytes = sum(p.numel() for p in paper.parameters()) * 4 / 1e6
    assert megabytes == pytest.approx(17.89, abs=0.02)
    assert random_model("default").face.name == "builtin"
    with pytest.raises(VisemoError, match="preset: got 'huge', expected one of paper, default"):
        random_model("huge")


def test_memory_is_seen_while_it_is_held():
    with watch_memory() as peak:
        before = resident_mb()
        block = np.ones(50_000_000)  # 400 MB, more than any allocator keeps back
        time.sleep(0.2)
        del block
    assert peak.mb > before + 350


def test_every_stage_runs_what_animate_runs(tiny_face):
    animator = Animator(make_tiny_model(tiny_face))
    runs = stage_runs(animator, noise(1.0), FlameLayer(random_flame()))
    assert tuple(runs) == STAGES
    assert [run() for run in runs.values()] == [*[30] * 6, benchmark.EXPRESSION_FRAMES]


def test_a_pace_is_the_best_of_its_runs():
    pace, waits = Pace(), iter([0.01, 0.2])
    for _ in range(2):
        pace.measure(lambda: time.sleep(next(waits)) or 3)
    assert 100 < pace.rate < 300 and pace.mb > 10


def test_the_report(monkeypatch, tiny_face):
    monkeypatch.setattr(benchmark, "random_model", lambda preset: make_tiny_model(tiny_face))
    lines: list[str] = []
    report = run_benchmark(("default",), (0.5, 1.0), lines.append)
    assert [row["stage"] for row in report["rows"]] == [*STAGES, *STAGES] and len(lines) == 2 * len(STAGES)
    assert {"preset", "stage", "audio_s", "frames", "fps", "peak_mb"} <= set(report["rows"][0])
    assert [row["frames"] for row in report["rows"] if row["stage"] == "fusion"] == [15, 30]
    assert all(row["fps"] > 0 and row["peak_mb"] > 0 for row in report["rows"])
    first = next(benchmark_preset("default", (0.5,)))
    assert first["stage"] == "encoder" and first["of_encoder"] == first["of_before"] == 1
    assert json.loads(json.dumps(report)) == report and "cores" in report["machine"]
    assert table(report).count("\n") == 2 * len(STAGES) + 1


def test_lengths_that_cannot_be_are_refused():
    for wrong in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(VisemoError, match="--seconds: got"):
            run_benchmark(PRESETS, (wrong,))
