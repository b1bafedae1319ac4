"""The verbs that start from something finished: edit, render."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from tyro.conf import Positional, arg

from visemo.cli.animate import (
    Device,
    ExpressionText,
    FaceName,
    MapFile,
    ModelName,
    Out,
    Shapes,
    TimelineFile,
    asked_expression,
    open_animator,
)
from visemo.cli.flame import FlameFile, FlameMapRun, FlameShapes, adopted, drawn_on_flame, flame_map_named, flame_named
from visemo.cli.retarget import rig_map_named
from visemo.cli.verb import Verb, outputs_of, say, write
from visemo.types import VisemoError

if TYPE_CHECKING:
    from visemo.animation.animator import Animator
    from visemo.face.face import Face
    from visemo.types import Animation

SEVERAL = 6  # names that are listed before the rest is counted


@dataclass(frozen=True)
class Edit(Verb):
    """Re-emote or convert a finished take, play ARKit curves on a head, or take up what another program animated on
    FLAME: no audio needed."""

    take: Annotated[Positional[Path], arg(metavar="TAKE.npz|CURVES.csv|MOTION")]
    """a take that `visemo animate` wrote; ARKit curves: .csv of the Live Link Face app or with `time` and names, or
    .curves.npz; with --flame a motion: .flame.npz, or FLAME parameters of DiffPoseTalk, EMOTE, VOCA, ARTalk or VHAP"""
    out: Out
    """as for animate"""
    expression: ExpressionText = ""
    """the new expression, as for animate; without it the take is only converted"""
    timeline: TimelineFile = None
    """the new expressions over time"""
    guard: Annotated[float | None, arg(metavar="0..1")] = None
    """how far the new expression yields where the speech shuts the lips; default 1"""
    seed: Annotated[int | None, arg(metavar="INT")] = None
    """chooses the expression's take; default the one it was made with"""
    model: ModelName = "default"
    """the model that made the take"""
    face: FaceName = None
    """the face that the take was made on, where it is not a built-in one: its folder; for curves, any head with ARKit's
    shapes"""
    sound: Annotated[Path | None, arg(metavar="AUDIO")] = None
    """the sound that belongs to curves or a motion"""
    flame: FlameFile = None
    """the FLAME model that a motion belongs to; the motion is carried over to the model's face"""
    part: Annotated[Literal["speech", "expression"] | None, arg(name="as")] = None
    """what a motion holds: speech, whose own emotion is left out for that of --expression; or an expression"""
    expressions: FlameShapes = None
    """shapes in FLAME's topology in place of its expression components, as for visemo train flame-map"""
    rig_map: MapFile = None
    """write a .csv or .curves.npz in the curves of the rig that this map of `visemo retarget` is for"""
    flame_map: FlameMapRun = None
    """for .flame.npz: the run of visemo train flame-map, which says how the model's blendshapes become FLAME's"""
    shapes: Shapes = "native"
    """morph targets of a .glb: the model's own, or the 52 of ARKit"""
    vertices: bool = True
    """write decoded vertices into a .npz"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo edit take.npz --expression sad:0.6 -o sad.mp4 -o sad.glb",
        "visemo edit take.npz --rig-map avatar_map.npz -o avatar.csv",
        "visemo edit curves.csv --face ict -o curves.mp4",
        "visemo edit emote.pkl --flame generic_model.pkl --as speech --expression happy -o happy.mp4",
    )

    def run(self) -> int:
        (outs,) = outputs_of(self.out, [self.take])
        rig_map, flame_map = rig_map_named(self.rig_map), flame_map_named(self.flame_map, self.out)
        clip, face = self.opened()
        if self.part is None and (self.expression or self.timeline):
            animator, _ = open_animator(self.model, None, "cpu")
            face = face or animator.face
            clip = animator.re_emote(clip, **self.asked(animator))
        elif self.part is None and (self.guard is not None or self.seed is not None):
            raise VisemoError("edit: got --guard or --seed alone, expected them with --expression or --timeline")
        options = {"shapes": self.shapes, "include_vertices": self.vertices, "face": face}
        for out in outs:
            write(clip, out, **options, rig_map=rig_map, flame_map=flame_map)
        return 0

    def asked(self, animator: Animator) -> dict[str, Any]:
        """The expression and what goes with it, as `re_emote` and `adopt` take them."""
        asked = asked_expression(animator, self.expression or "neutral", self.timeline)
        return {**asked, "guard": 1.0 if self.guard is None else self.guard, "seed": self.seed}

    def opened(self) -> tuple[Animation, Face | None]:
        """The take, or the curves or the motion as one, and its face."""
        from visemo.export.tracks import read_take
        from visemo.face.flame_motion import holds_motion
        from visemo.media import load_audio

        given = (self.flame, self.part, self.expressions)
        if holds_motion(self.take) or any(option is not None for option in given):
            if self.flame is None or self.part is None:
                lacks = "--flame" if self.flame is None else "--as"
                raise VisemoError(f"edit: got no {lacks}, expected both --flame FILE and --as speech or expression")
            if self.face is not None:
                raise VisemoError("edit: got --face, expected none with --flame; a motion goes to the model's own face")
            animator, _ = open_animator(self.model, None, "cpu")
            asked, flame = self.asked(animator), flame_named(self.flame, self.expressions)
            if self.sound is not None:
                asked["sound"] = load_audio(self.sound)
            return adopted(animator, self.take, flame, self.part, asked)
        if self.take.suffix.lower() == ".csv" or self.take.name.lower().endswith(".curves.npz"):
            if self.expression or self.timeline:
                raise VisemoError(f"{self.take}: got curves, expected a take of a model to give another expression")
            return played(self.take, self.face or "builtin", self.sound)
        if self.sound is not None:
            raise VisemoError(
                f"--sound: got it for {self.take}, expected it with curves or a motion; a take has its own"
            )
        return read_take(self.take), face_named(self.face)


@dataclass(frozen=True)
class Render(Verb):
    """Draw a finished take: a film with its sound, or a contact sheet."""

    take: Annotated[Positional[Path], arg(metavar="TAKE.npz|MOTION")]
    """a take that `visemo animate` wrote; with --flame also a motion, .flame.npz or another FLAME parameter file"""
    out: Annotated[str, arg(aliases=("-o",), metavar="OUT.mp4|.png")]
    """a film, or a contact sheet"""
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    """width and height of a picture; default 512 for a film, 256 for each picture of a sheet"""
    face: FaceName = None
    """the face that the take was made on, where it is not a built-in one: its folder"""

    avatar: Annotated[Path | None, arg(metavar="point_cloud.ply")] = None
    """draw this Gaussian avatar in place of the mesh: one that `visemo avatar from-face` made, or, with --flame, one on
    FLAME as GaussianAvatars makes them"""
    flame: FlameFile = None
    """the FLAME model that the avatar was made with"""
    flame_map: FlameMapRun = None
    """for a take: the run of visemo train flame-map, which says how the model's blendshapes become FLAME's"""
    expressions: FlameShapes = None
    """shapes in FLAME's topology in place of its expression components, as for visemo train flame-map"""
    orbit: Annotated[float, arg(metavar="DEGREES")] = 0.0
    """how far the camera walks around the head over a film, towards the face's own left"""
    background: Annotated[str, arg(metavar="studio|COLOUR")] = "studio"
    """a colour by name or as #rrggbb"""
    device: Device = "auto"
    """where an avatar is drawn: cuda takes a GPU and gsplat, auto takes them where they are; a mesh is for the CPU"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo render take.npz -o take.mp4 --size 720",
        "visemo render take.npz --avatar head/point_cloud.ply -o avatar.mp4 --orbit 360 --background white",
        "visemo render take.flame.npz --avatar media/306/point_cloud.ply --flame flame2023.pkl -o avatar.mp4",
    )

    def run(self) -> int:
        from visemo.export.tracks import read_take
        from visemo.face.flame_motion import holds_motion

        if Path(self.out).suffix.lower() not in (".mp4", ".png"):
            raise VisemoError(f"{self.out}: got suffix {Path(self.out).suffix!r}, expected .mp4 or .png")
        if self.size is not None and (self.size % 2 or not 16 <= self.size <= 4096):
            raise VisemoError(f"--size: got {self.size}, expected an even number from 16 to 4096")
        if self.orbit and not self.out.lower().endswith(".mp4"):
            raise VisemoError(f"--orbit: got {self.out}, expected a film to walk in; name an .mp4")
        outputs_of([self.out], [self.take])
        options: dict[str, Any] = {} if self.size is None else {"size": self.size}
        if self.avatar is None and self.device == "cuda":
            raise VisemoError("--device: got cuda without --avatar, expected both; a mesh is drawn on the CPU")
        options |= {"avatar": self.avatar, "background": self.background, "device": self.device}
        if self.orbit:
            options["orbit"] = self.orbit
        given = (self.flame, self.flame_map, self.expressions)
        if holds_motion(self.take) or any(option is not None for option in given):
            if self.face is not None:
                raise VisemoError("render: got --face, expected none with --flame; the avatar has a head of its own")
            drawn_on_flame(self.take, self.out, *given, **options)
        else:
            write(read_take(self.take), self.out, face=face_named(self.face), **options)
        return 0


def face_named(name: str | None):
    """The face that `--face` names, or None for the take's own."""
    from visemo.face.library import load_face

    return None if name is None else load_face(name)


def played(path: Path, name: str, sound: Path | None) -> tuple[Animation, Face]:
    """ARKit curves as a take on the head that `name` means, and that head; says what they lack."""
    from visemo.animation.retarget.another_head import performed
    from visemo.data.captures import read_capture
    from visemo.face.arkit import ARKIT_NAMES
    from visemo.face.library import load_face
    from visemo.media import load_audio

    capture = read_capture(path)
    rig = load_face(name)
    clip = performed(capture.weights, capture.fps, rig, None if sound is None else load_audio(sound))
    lacking = [
        f"{what} {_some(names)}"
        for what, names in (
            ("without", capture.missing),
            ("left out, not ARKit's:", capture.unknown),
            (f"not on {rig.name}:", [n for n in ARKIT_NAMES if n not in rig.shape_names and n not in capture.missing]),
        )
        if names
    ]
    say(f"{path}: {clip.frames} frames at {clip.fps:g} a second" + "".join(f"; {line}" for line in lacking))
    return clip, rig


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SEVERAL} more" if len(names) > SEVERAL else ""
    return ", ".join(names[:SEVERAL]) + more
