"""Dense registration and transfer, measured: python runs/registration.py DATA [-o FOLDER]

DATA is the folder of real data (ict, flame_open, emovoca_expressions, multiface_templates). Prints a row per pair:
surface distance inside the face region and its size, correspondence error where the truth is planted, triangles
upside down (/ those of the truth itself), seconds (wall and processor); then smile and jawOpen from ICT to FLAME's
topology and back. FOLDER gets the laid meshes as PLY and pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import numpy as np

from visemo.cli.register import picture
from visemo.face.face import Face
from visemo.face.ict import ict_face
from visemo.face.library import load_face
from visemo.face.registering import register_mesh
from visemo.geometry.mesh import edges, write_mesh
from visemo.geometry.register import Registration, flipped
from visemo.geometry.transfer import Transfer
from visemo.types import FloatArray, IntArray, Mesh
from visemo.units import MM_PER_M

PLANTED = (
    (0, {}),
    (1, {"jawOpen": 0.6, "mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}),
    (2, {"browInnerUp": 0.7, "mouthFunnel": 0.6}),
    (4, {"jawOpen": 0.3, "eyeWideLeft": 0.8, "eyeWideRight": 0.8, "mouthStretchLeft": 0.6}),
    (5, {"mouthPucker": 0.6, "cheekPuff": 0.5}),
    (3, {"mouthFrownLeft": 0.8, "mouthFrownRight": 0.8, "browDownLeft": 0.8, "browDownRight": 0.8}),
)  # seed of the identity, expression
SHAPES = (("smile", ("mouthSmileLeft", "mouthSmileRight")), ("jawOpen", ("jawOpen",)))
HEADER = (
    f"{'scan':<12} {'face':<8} {'landm.':<10} {'region':>6}  {'surface mean':>12} {'max mm':>6} {'>1.5':>4}  "
    f"{'corresp. mean':>13} {'p95':>5} {'max mm':>6}  {'flips':>5}  {'s':>5} {'cpu s':>5}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    builtin, ict = load_face("builtin"), ict_face(options.data / "ict")
    print(HEADER)
    for seed, expression in PLANTED:
        truth = plant(ict, seed, expression)
        scan = subdivided(truth, ict.triangles)
        exact = {number: tuple(map(float, truth[vertex])) for number, vertex in ict.landmarks.items()}
        row(f"ict-{seed}", scan, ict, kind=f"exact {len(exact)}", landmarks=exact, truth=truth)
        row(f"ict-{seed}", scan, ict, truth=truth)
    flame = flame_mesh(options.data)
    laid = row("flame", flame, ict, out=options.out)
    row("flame", flame, builtin, out=options.out)
    for name, mesh in expressive(options.data):
        row(name, mesh, builtin, out=options.out)
        row(name, mesh, ict, out=options.out)
    for name, mesh in captured(options.data):
        row(name, mesh, builtin, out=options.out)
    there_and_back(ict, flame, laid)


def row(
    name: str,
    mesh: Mesh,
    face: Face,
    *,
    kind: str = "found",
    landmarks: dict | None = None,
    truth: FloatArray | None = None,
    out: Path | None = None,
) -> Registration:
    begin = process_time()
    laid = register_mesh(mesh, face, landmarks)
    inside = laid.distances[laid.inside]
    matched = ""
    flips = str(laid.flips)
    if truth is not None:
        flips += f"/{flipped(face.template, truth, face.triangles).sum()}"
        error = MM_PER_M * np.linalg.norm(laid.vertices - truth, axis=1)[laid.inside]
        matched = f"{error.mean():13.2f} {np.percentile(error, 95):5.2f} {error.max():6.2f}"
    print(
        f"{name:<12} {face.name:<8} {kind:<10} {len(laid.inside):>6}  {laid.distance_mean:12.3f} "
        f"{laid.distance_max:6.2f} {(inside > 1.5).sum():>4}  {matched:<26}  {flips:>5}  "
        f"{laid.seconds:5.1f} {process_time() - begin:5.1f}",
        flush=True,
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_mesh(out / f"{name}_{face.name}.ply", Mesh(laid.vertices, face.triangles), face.colors)
        picture(out / f"{name}_{face.name}.png", mesh, face, laid)
    return laid


# ---------------------------------------------------------------- scans


def plant(face: Face, seed: int, expression: dict[str, float]) -> FloatArray:
    """The face as somebody else, with an expression: vertices whose correspondence is known."""
    assert face.identities is not None
    weights = np.random.default_rng(seed).normal(size=len(face.identities))
    moved = face.template + np.tensordot(weights, face.identities, 1)
    for shape, weight in expression.items():
        moved = moved + weight * face.shape(shape)
    return moved.astype(np.float32)


def subdivided(vertices: FloatArray, triangles: IntArray) -> Mesh:
    """Every triangle in four: the same surface in another topology."""
    sides = edges(triangles)
    key = sides.astype(np.int64) @ (1 << 32, 1)

    def middle(a: IntArray, b: IntArray) -> IntArray:
        pair = np.sort(np.stack([a, b], axis=1), axis=1).astype(np.int64)
        return (len(vertices) + np.searchsorted(key, pair @ (1 << 32, 1))).astype(np.int32)

    a, b, c = triangles.T
    ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
    parts = [np.stack(corners, axis=1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    points = np.concatenate([vertices, vertices[sides].mean(axis=1)])
    return Mesh(points.astype(np.float32), np.concatenate(parts).astype(np.int32))


def flame_mesh(data: Path) -> Mesh:
    with np.load(data / "flame_open" / "flame2023_open_partial.npz") as pack:
        return Mesh(pack["v_template"], pack["faces"].astype(np.int32))


def expressive(data: Path) -> Iterator[tuple[str, Mesh]]:
    """The nine identities: the median over an identity's expressions stands for its neutral."""
    with np.load(data / "emovoca_expressions" / "emovoca_expressions.npz") as pack:
        for name, meshes in zip(pack["identities"], pack["vertices"]):
            yield f"emovoca-{name}", Mesh(np.median(meshes, axis=0).astype(np.float32), pack["faces"].astype(np.int32))


def captured(data: Path) -> Iterator[tuple[str, Mesh]]:
    with np.load(data / "multiface_templates" / "multiface_templates.npz") as pack:
        for name, vertices in zip(pack["ids"], pack["vertices"]):
            yield f"multiface-{name}", Mesh(vertices, pack["faces"].astype(np.int32))


# ---------------------------------------------------------------- transfer


def there_and_back(ict: Face, flame: Mesh, laid: Registration) -> None:
    """Motion of ICT on FLAME's vertices, and from there on ICT's again."""
    on_flame = Mesh(laid.vertices, ict.triangles)
    there = Transfer.of(flame.vertices, on_flame, flame.triangles)
    back = Transfer.of(laid.vertices, flame, ict.triangles)
    print("\nICT -> FLAME topology -> ICT, over the face region, mm")
    for name, shapes in SHAPES:
        motion = np.sum([ict.shape(shape) for shape in shapes], axis=0).astype(np.float32)
        lost = MM_PER_M * np.linalg.norm(back.apply(there.apply(motion)) - motion, axis=1)[laid.inside]
        size = MM_PER_M * np.linalg.norm(motion, axis=1)[laid.inside]
        lips = np.isin(laid.inside, ict.region("lips"))
        print(
            f"{name:<8} comes back within {lost.mean():.3f} mean, {np.percentile(lost, 95):.2f} p95, {lost.max():.2f} "
            f"max; lips {lost[lips].mean():.3f} mean; it moves {size.mean():.2f} mean, {size.max():.1f} max"
        )


if __name__ == "__main__":
    main()
