"""The verb that lays a face on scans: register."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from tyro.conf import Positional, arg

from visemo.assets import atomic
from visemo.cli.verb import MESH_SUFFIXES, Verb, make_folder, say
from visemo.types import FloatArray, Mesh, VisemoError
from visemo.units import MM_PER_M

if TYPE_CHECKING:
    from visemo.face.face import Face
    from visemo.geometry.register import Registration

PANEL = 480  # pixels, each of the three pictures
HOT = 1.0  # mm at which the heat is full
GREY, AMBER, RED = np.array([0.5, 0.5, 0.5]), np.array([0.8, 0.55, 0.04]), np.array([0.7, 0.02, 0.02])
OUTSIDE = (0.13, 0.18, 0.42)  # not in the face region
NEARER = 1.35  # than the whole scan: the face fills the panel


@dataclass(frozen=True)
class Register(Verb):
    """Lay a face on a scan: its vertices on the scan's surface, a report and a picture."""

    scan: Annotated[Positional[Path], arg(metavar="SCAN")]
    """a head or face scan (.ply or .obj), or a folder of them, each registered by itself; any unit"""
    out: Annotated[str, arg(aliases=("-o",), metavar="OUT.ply|OUT/")] = ""
    """the registered mesh, in the scan's frame and unit; a folder ending in / for several; report and picture
    stand beside it; default: SCAN_registered.ply here"""
    face: Annotated[str, arg(metavar="builtin|ict|DIR")] = "builtin"
    """the face whose topology the scan is put in"""
    landmarks: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """landmarks of the scan: {iBUG number: [x, y, z] or a vertex of the scan}; found when absent"""
    truth: Annotated[Path | None, arg(metavar="MESH")] = None
    """a mesh in the face's topology on the same scan: the correspondence error is measured against it"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo register head.ply --face builtin -o head_builtin.ply",
        "visemo register scans/ --face ict --landmarks points.json -o registered/",
    )

    def run(self) -> int:
        from visemo.face.library import load_face

        planned = _planned(self.scan, self.out)
        face = load_face(self.face)
        for scan, out in planned:
            self._one(scan, out, face)
        return 0

    def _one(self, path: Path, out: Path, face: Face) -> None:
        from visemo.face.registering import register_mesh
        from visemo.geometry.mesh import read_mesh, write_mesh

        mesh = read_mesh(path)
        points = None if self.landmarks is None else read_landmarks(self.landmarks, mesh)
        truth = None if self.truth is None else _truth(self.truth, face)
        laid = register_mesh(mesh, face, points)
        report = _report(path, face, laid, truth)
        write_mesh(out, Mesh(laid.vertices, face.triangles), face.colors)
        with atomic(out.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n")
        picture(out.with_suffix(".png"), mesh, face, laid)
        known = f", correspondence {report['correspondence_mean_mm']:.2f} mm" if truth is not None else ""
        say(
            f"{out}: surface {laid.distance_mean:.3f} mm mean, {laid.distance_max:.2f} max over {len(laid.inside)} "
            f"vertices{known}, {laid.flips} triangles upside down, {laid.seconds:.1f} s"
        )


def _planned(scan: Path, out: str) -> list[tuple[Path, Path]]:
    """Each scan and the file it becomes. Raises VisemoError where there is nothing to read or nowhere to write."""
    if not scan.is_dir():
        if out.endswith("/"):
            return [(scan, make_folder(Path(out)) / f"{scan.stem}.ply")]
        target = Path(out) if out else Path(f"{scan.stem}_registered.ply")
        if target.suffix.lower() not in MESH_SUFFIXES:
            raise VisemoError(f"-o: got {out}, expected a name ending in .ply or .obj, or a folder ending in /")
        if target.resolve() == scan.resolve():
            raise VisemoError(f"-o: got {out}, which is the scan itself, expected another name")
        return [(scan, target)]
    scans = sorted(path for path in scan.iterdir() if path.suffix.lower() in MESH_SUFFIXES)
    if not scans:
        raise VisemoError(f"{scan}: got a folder without meshes, expected .ply or .obj files")
    if not out.endswith("/"):
        raise VisemoError(f"-o: got {out!r} for a folder of scans, expected a folder ending in /")
    folder = make_folder(Path(out))
    if folder.resolve() == scan.resolve():
        raise VisemoError(f"-o: got {out}, which holds the scans, expected another folder")
    return [(path, folder / f"{path.stem}.ply") for path in scans]


def read_landmarks(path: Path, mesh: Mesh) -> dict[int, tuple[float, float, float]]:
    """Landmarks of a scan from a JSON file: {number: [x, y, z]} or {number: vertex of the scan}.

    Raises VisemoError, naming the file, when it is missing or holds anything else.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise VisemoError(f"{path}: got no readable JSON, expected landmarks {{number: [x, y, z]}}") from error
    if not isinstance(entries, dict):
        raise VisemoError(f"{path}: got {type(entries).__name__}, expected landmarks {{number: [x, y, z]}}")
    return dict(_landmark(path, key, place, mesh) for key, place in entries.items())


def _landmark(path: Path, key: str, place: Any, mesh: Mesh) -> tuple[int, tuple[float, float, float]]:
    try:
        number = int(key)
        at_vertex = isinstance(place, int) and not isinstance(place, bool) and 0 <= place < len(mesh.vertices)
        x, y, z = map(float, mesh.vertices[place] if at_vertex else place)  # type: ignore[arg-type]
        if not 0 <= number < 68 or not np.isfinite([x, y, z]).all():
            raise ValueError(key)
    except (TypeError, ValueError) as error:
        raise VisemoError(
            f"{path}: got {key}: {str(place)[:40]}, expected a number from 0 to 67 and [x, y, z] or a vertex below "
            f"{len(mesh.vertices)}"
        ) from error
    return number, (x, y, z)


def _truth(path: Path, face: Face) -> FloatArray:
    from visemo.geometry.mesh import read_mesh

    truth = read_mesh(path).vertices
    if truth.shape != face.template.shape:
        raise VisemoError(
            f"{path}: got {len(truth)} vertices, expected the {len(face.template)} of face {face.name} where they "
            "belong on the scan"
        )
    return truth


def _report(path: Path, face: Face, laid: Registration, truth: FloatArray | None) -> dict[str, Any]:
    report: dict[str, Any] = {
        "scan": path.name,
        "face": face.name,
        "topology": face.topology_hash,
        "region_vertices": len(laid.inside),
        "surface_mean_mm": laid.distance_mean,
        "surface_max_mm": laid.distance_max,
        "flips": laid.flips,
        "seconds": round(laid.seconds, 2),
        "scale": laid.pose.scale,
    }
    if truth is not None:
        error = MM_PER_M * np.linalg.norm(laid.vertices - truth, axis=1)[laid.inside] / laid.pose.scale
        report["correspondence_mean_mm"] = float(error.mean())
        report["correspondence_p95_mm"] = float(np.percentile(error, 95))
        report["correspondence_max_mm"] = float(error.max())
    return report


def picture(path: Path, scan: Mesh, face: Face, laid: Registration) -> None:
    """Scan, registered mesh in the face's colours, and its distance from the scan as heat, side by side, as PNG.

    Grey lies on the scan, red HOT or more from it; blue is outside the face region.
    """
    from PIL import Image

    from visemo.geometry.register import similarity
    from visemo.render.camera import Camera, portrait
    from visemo.render.raster import render

    pose = similarity(face.template, laid.vertices.astype(np.float64))
    ours, theirs = (pose.back(points).astype(np.float32) for points in (laid.vertices, scan.vertices))
    whole = portrait(face.template)
    near = np.add(whole.target, np.subtract(whole.position, whole.target) / NEARER)
    camera = Camera((float(near[0]), float(near[1]), float(near[2])), whole.target)
    panels = (
        (theirs, scan.triangles, np.full_like(theirs, GREY[0])),
        (ours, face.triangles, face.colors),
        (ours, face.triangles, _heat(laid)),
    )
    drawn = [render(*panel, camera, size=(PANEL, PANEL)) for panel in panels]
    with atomic(path) as temporary:
        Image.fromarray(np.concatenate(drawn, axis=1)).save(temporary, "PNG")


def _heat(laid: Registration) -> FloatArray:
    share = np.clip(laid.distances / HOT, 0.0, 1.0)[:, None]
    colors = np.where(share < 0.5, GREY + 2 * share * (AMBER - GREY), AMBER + (2 * share - 1) * (RED - AMBER))
    outside = np.ones(len(colors), bool)
    outside[laid.inside] = False
    colors[outside] = OUTSIDE
    return colors.astype(np.float32)
