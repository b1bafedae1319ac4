"""The recipe `flame-map`: L_G, one matrix from a model's weights to FLAME's parameters (Eq. 14, 15)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visemo.assets import atomic
from visemo.face.face import Face
from visemo.face.flame import FlameModel
from visemo.face.flame_on_face import FlameOnFace
from visemo.models.checkpoint import Model
from visemo.models.flame_map import FlameMap
from visemo.training.corpus import Corpus
from visemo.training.flame_fit import Cost, FlameFit
from visemo.training.flame_frames import Frames, frames_of_model, frames_of_stores
from visemo.training.loop import choose_device, open_run
from visemo.types import FloatArray, VisemoError

REPORT, TABLE = "report.json", "report.md"
WORST = 5  # frames that a report names
LIDS = ("eyeBlinkLeft", "eyeBlinkRight")  # what a lively track moves on the skin; looks turn FLAME's eyes
REGIONS = ("lips", "mouth", "eyes and brows", "rest")


@dataclass(frozen=True)
class FlameMapRecipe:
    """How L_G is fitted; `paper()` and `default()` are the two presets.

    steps : of L-BFGS, for the matrix and for FLAME's own best fit to each held-out frame
    frames : fitted to, a third each of speech, expression, and both; a quarter as many are held out
    cost : what a frame costs: `cost.prior` mm^2 for a coefficient's square, `cost.lips` in omega, `cost.gap` of the
        differences between lips, beside the lips themselves; without it lips that meet stay apart
    split, seed : division of the stores, and of everything random
    """

    steps: int = 10
    frames: int = 1200
    cost: Cost = field(default_factory=Cost)
    split: str = "faceformer"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.frames) < 1:
            raise VisemoError(f"flame map: got {self.steps} steps and {self.frames} frames, expected 1 or more of each")

    @classmethod
    def paper(cls) -> FlameMapRecipe:
        """Displacements alone, as published."""
        return cls(cost=Cost(gap=0.0))

    @classmethod
    def default(cls) -> FlameMapRecipe:
        """With the lips' meeting."""
        return cls()


def train_flame_map(
    recipe: FlameMapRecipe,
    model: Model,
    flame: FlameModel,
    run: Path | str,
    *,
    data: Sequence[Path | str] = (),
    device: str = "auto",
    ground: FlameOnFace | None = None,
) -> dict[str, Any]:
    """Fit L_G and leave it in `run`, with report.json and report.md on frames held out of the fit.

    FLAME's motion is seen on the model's face, through one registration, and compared there as displacement from
    rest, in mm at the model's size.

    Parameters
    ----------
    flame : with expression components; its jaw is fitted through FLAME's own layer.
    data : stores on the model's face to take frames from; without any, the bundled sentence and the model's own
        expression library.
    ground : FLAME under the model's face, where it is known already.

    Returns
    -------
    The report. Per region the mean and the largest distance over held-out frames, of the map and of FLAME's own best
    fit to each frame; per blendshape alone at weight 1; per blink; and the worst frames.

    Raises
    ------
    VisemoError
        for a FLAME without expression components, a `run` that is not empty, and as `Corpus`, `FlameOnFace.of`
    """
    flame.expressions()
    chosen = choose_device(device)
    corpus = Corpus(data, model.face, recipe.split) if data else None
    facts = {
        "model": {"name": model.name, "hash": model.hash},
        "flame": {"edition": flame.edition, "basis": flame.basis, "hash": flame.hash, "licence": flame.licence},
    }
    sources = corpus.facts if corpus else "the bundled sentence and the model's own expressions"
    run = open_run(run, {"kind": "flame-map", "recipe": asdict(recipe), "data": sources, **facts}, resume=False)
    ground = ground or FlameOnFace.of(flame, model.face)
    model.fusion.to(chosen)
    model.speech.to(chosen)
    if corpus is None:
        fitted, held = frames_of_model(model, recipe.frames, recipe.seed)
    else:
        fitted, held = frames_of_stores(model, corpus, recipe.frames, recipe.seed)
    basis = model.fusion.basis.detach().cpu().numpy()
    fit = FlameFit(flame, ground, model.face, basis, cost=recipe.cost, device=chosen)
    matrix = fit.fit_map(torch.from_numpy(fitted.weights).to(chosen), recipe.steps)
    report = {**facts, "registration_mm": ground.distance_mm, "data": sources, "frames": len(fitted.weights)}
    report |= _measured(fit, model, matrix, held, recipe.steps)
    report["lively"], lively = _blinks(flame, ground, model.face, recipe, chosen)
    whole = report["regions"]["all"]
    FlameMap(
        matrix.cpu().numpy(), model.hash, flame.hash, flame.edition, flame.basis, model.name, flame.licence,
        whole["map_mean"], whole["floor_mean"], tuple(row["name"] for row in report["lively"]), lively,
    ).save(run)  # fmt: skip
    for name, text in ((REPORT, json.dumps(report, indent=1) + "\n"), (TABLE, report_table(report))):
        with atomic(run / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return report


def _measured(fit: FlameFit, model: Model, matrix: torch.Tensor, held: Frames, steps: int) -> dict[str, Any]:
    """Errors of the map, and of FLAME's best, on held-out frames and on each blendshape alone, mm."""
    weights = torch.from_numpy(held.weights).to(matrix)
    alone = torch.eye(weights.shape[1]).to(matrix)
    errors = {}  # (frames, vertices), (frames, pairs)
    for name, asked in (("frames", weights), ("blendshapes", alone)):
        for kind, params in (("map", asked @ matrix.T), ("floor", fit.fit_frames(asked, steps))):
            blocks = list(fit.errors(params, asked))
            errors[name, kind] = tuple(torch.cat(parts).cpu().numpy() for parts in zip(*blocks))
        moved = fit.wanted(asked).norm(dim=2)[:, : len(fit.vertices)]
        errors[name, "motion"] = (moved.cpu().numpy(),)
    regions = {}
    for region, members in _regions(model.face, fit.vertices).items():
        row: dict[str, float] = {"vertices": len(members)}
        for kind in ("motion", "map", "floor"):
            off = errors["frames", kind][0][:, members]
            row |= {f"{kind}_mean": float(off.mean()), f"{kind}_max": float(off.max())} if off.size else {}
        regions[region] = row
    order = np.argsort(-errors["frames", "map"][0].mean(axis=1))[:WORST]
    kinds = ("motion", "map", "floor")
    return {
        "held_out": len(held.names),
        "regions": regions,
        "lip_pairs": {kind: float(errors["frames", kind][1].mean()) for kind in ("map", "floor")},
        "blendshapes": [
            {
                "name": _name(k, model.fusion.config.speech_shapes),
                **{kind: float(errors["blendshapes", kind][0][k].mean()) for kind in kinds},
            }
            for k in range(len(alone))
        ],
        "worst": [
            {"frame": held.names[t], **{kind: float(errors["frames", kind][0][t].mean()) for kind in kinds}}
            for t in order.tolist()
        ],
    }


def _blinks(
    flame: FlameModel, ground: FlameOnFace, face: Face, recipe: FlameMapRecipe, device: torch.device
) -> tuple[list[dict[str, Any]], FloatArray | None]:
    """FLAME's best fit to each blink that the face has: its errors, mm, and the fits as columns (n + 3, L)."""
    names = [name for name in LIDS if name in face.shape_names]
    if not names:
        return [], None
    shapes = np.stack([face.shape(name) for name in names])
    fit = FlameFit(flame, ground, face, shapes, cost=recipe.cost, device=device)
    alone = torch.eye(len(names), device=device)
    params = fit.fit_frames(alone, recipe.steps)
    (off, _), *_ = fit.errors(params, alone)
    moved = fit.wanted(alone).norm(dim=2)[:, : len(fit.vertices)]
    rows = [
        {"name": name, "motion_mean": float(m.mean()), "map_mean": float(o.mean()),
         "motion_max": float(m.max()), "map_max": float(o.max())}
        for name, m, o in zip(names, moved, off)
    ]  # fmt: skip
    return rows, np.ascontiguousarray(params.T.cpu().numpy())


def _regions(face: Face, vertices: np.ndarray) -> dict[str, np.ndarray]:
    """Places in `vertices` of what a report tells apart; `rest` is none of the others, the mouth has the lips."""
    named = {name: np.isin(vertices, face.regions.get(name, ())) for name in ("lips", "mouth", "eyes", "brows")}
    lips, upper = named["lips"], named["eyes"] | named["brows"]
    mouth = named["mouth"] | lips
    masks = (lips, mouth, upper, ~(mouth | upper))
    every = {"all": np.arange(len(vertices))}
    return every | {name: np.flatnonzero(mask) for name, mask in zip(REGIONS, masks)}


def _name(k: int, speech_shapes: int) -> str:
    return f"speech {k}" if k < speech_shapes else f"expression {k - speech_shapes}"


def report_table(report: dict[str, Any]) -> str:
    """The report for people, Markdown."""
    flame, pairs = report["flame"], report["lip_pairs"]
    lines = [
        f"# {report['model']['name']} to FLAME {flame['edition']}, {flame['basis']} expressions\n",
        f"{report['held_out']} held-out frames, distances in mm on the model's face; floor: FLAME's own best fit to",
        f"each frame. Between lip pairs: map {pairs['map']:.3f}, floor {pairs['floor']:.3f}.\n",
        "| region | vertices | motion, mean | map, mean | floor, mean | map, max | floor, max |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = ("motion_mean", "map_mean", "floor_mean", "map_max", "floor_max")
    for name, row in report["regions"].items():
        cells = " | ".join(f"{row[column]:.3f}" if column in row else "" for column in columns)
        lines.append(f"| {name} | {row['vertices']} | {cells} |")
    for title, key, rows in (
        ("worst frame", "frame", report["worst"]),
        ("blendshape, alone at 1", "name", report["blendshapes"]),
    ):
        lines += [f"\n| {title} | motion | map | floor |", "|---|---|---|---|"]
        lines += [f"| {row[key]} | {row['motion']:.3f} | {row['map']:.3f} | {row['floor']:.3f} |" for row in rows]
    lines += ["\n| blink, alone at 1 | motion, mean | map, mean | motion, max | map, max |", "|---|---|---|---|---|"]
    columns = ("motion_mean", "map_mean", "motion_max", "map_max")
    lines += [f"| {row['name']} | {' | '.join(f'{row[c]:.3f}' for c in columns)} |" for row in report["lively"]]
    return "\n".join(lines) + "\n"
