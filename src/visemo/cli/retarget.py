"""The verb that fits a model to a rig: retarget."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tyro.conf import arg

from visemo.assets import ASSETS, atomic
from visemo.cli.verb import Verb, say
from visemo.types import VisemoError

if TYPE_CHECKING:
    from visemo.animation.retarget.rig_map import RigMap

MEASURED_ON = ("neutral", "happy", "sad", "angry", "disgust", "surprise")  # that the bundled sentence is said with


@dataclass(frozen=True)
class Retarget(Verb):
    """Fit one matrix from a model's weights to any rig with named shapes, and say in mm what the rig cannot show."""

    rig: Annotated[str, arg(metavar="NAME|DIR|FILE")]
    """arkit, vrm or oculus: what those names usually mean; builtin or ict; a face folder; a folder of meshes,
    neutral.obj and one per shape; a mesh with a folder NAME_shapes beside it; or a .glb, .gltf or .vrm file"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="MAP.npz")]
    """the map, for --rig-map of animate and edit; its report stands beside it as .md and .json"""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "default"
    """an embedded model by name, or a model folder"""
    habit: Literal["natural", "exact"] = "natural"
    """natural: few curves, no opposites at once; exact: a little closer, by any play of shapes against each other"""
    limits: Annotated[tuple[float, float], arg(metavar="LOW HIGH")] = (0.0, 1.0)
    """of every curve, in every frame"""
    landmarks: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """where the rig's face is, if that is not found: {iBUG number: [x, y, z]} in the rig's unit"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo retarget --rig avatar.vrm -o avatar_map.npz",
        "visemo retarget --rig oculus -o oculus_map.npz",
    )

    def run(self) -> int:
        if self.out.suffix != ".npz":
            raise VisemoError(f"-o: got {self.out}, expected a name ending in .npz for the map")
        from dataclasses import replace

        from visemo.animation.animator import Animator
        from visemo.animation.retarget.habit import EXACT, NATURAL
        from visemo.animation.retarget.report import markdown, report_of, table
        from visemo.animation.retarget.rig_map import RigMap
        from visemo.cli.register import read_landmarks
        from visemo.face.rigs.library import load_rig
        from visemo.face.rigs.named import on_face
        from visemo.models.checkpoint import load_model

        animator = Animator(load_model(self.model))
        rig = load_rig(self.rig, animator.face)
        if self.landmarks is not None:
            rig = replace(rig, landmarks=read_landmarks(self.landmarks, rig.mesh))
        carried, how = on_face(rig, animator.face)
        carried = replace(carried, notes=(how, *rig.notes))
        rig_map = RigMap.of(
            animator.model.name,
            animator.model.hash,
            animator.basis,
            animator.face,
            carried,
            habit=EXACT if self.habit == "exact" else NATURAL,
            limits=self.limits,
            driven=animator.fusion.config.speech_shapes if rig.visemes_only else None,
        )
        known = [name for name in MEASURED_ON if name in animator.model.expressions.names]
        clips = {name: animator.animate(ASSETS / "speech.flac", name) for name in known}
        report = report_of(rig_map, carried.shapes, animator.face, clips)
        rig_map.save(self.out)
        pages = {".md": markdown(report), ".json": json.dumps(asdict(report), indent=1) + "\n"}
        for suffix, text in pages.items():
            with atomic(self.out.with_suffix(suffix)) as temporary:
                temporary.write_text(text, encoding="utf-8")
        say("\n".join([*carried.notes, table(report.takes), f"{self.out}: {len(rig_map.names)} curves of {rig.name}"]))
        return 0


def rig_map_named(path: Path | None) -> RigMap | None:
    """The map that `--rig-map` names, if any."""
    from visemo.animation.retarget.rig_map import RigMap

    return None if path is None else RigMap.load(path)
