"""The verbs that make takes: animate, demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from visemo.assets import ASSETS
from visemo.cli.flame import FlameMapRun, flame_map_named, is_flame
from visemo.cli.retarget import rig_map_named
from visemo.cli.verb import (
    Verb,
    expression_meshes,
    make_folder,
    outputs_of,
    parse_expression,
    person_of,
    say,
    write,
)
from visemo.types import VisemoError
from visemo.units import FPS

if TYPE_CHECKING:
    from visemo.animation.animator import Animator
    from visemo.face.face import Face
    from visemo.types import Animation

Out = Annotated[UseAppendAction[tuple[str, ...]], arg(aliases=("-o",), metavar="OUT")]
ExpressionText = Annotated[str, arg(metavar="NAME[:INTENSITY]")]
TimelineFile = Annotated[Path | None, arg(metavar="FILE.json")]
ModelName = Annotated[str, arg(metavar="NAME|DIR")]
FaceName = Annotated[str | None, arg(metavar="builtin|ict|DIR|FILE")]
MapFile = Annotated[Path | None, arg(metavar="MAP.npz")]
Device = Literal["auto", "cpu", "cuda"]
Shapes = Literal["native", "arkit"]
Switch = FlagCreatePairsOff[bool]

BUNDLED_SPEECH = ASSETS / "speech.flac"
DEMO_EXPRESSIONS = ("neutral", "happy", "sad", "angry")
DEMO_MOMENTS = 6  # columns of the demo's contact sheet


def open_animator(model: str, face: str | None, device: Device) -> tuple[Animator, Face | None]:
    """Load a model once, on the face and device that were asked for; and the rig to carry takes to, if it is one."""
    from visemo.animation.animator import Animator
    from visemo.models.checkpoint import load_model
    from visemo.training.loop import choose_device

    where = str(choose_device(device))
    loaded = load_model(model)
    template, rig = person_of(face, loaded.face)
    return Animator(loaded, template, where), rig


def carried_over(clip: Animation, source: Face, rig: Face) -> Animation:
    """The take on a rig of another topology; says what that costs."""
    from visemo.animation.retarget.another_head import onto_rig

    taken = onto_rig(clip, source, rig)
    told = taken.meta["retarget"]
    before, after = told["gap_mm"]
    say(
        f"carried over to {rig.name}: {told['residual_mm']:.2f} mm of the motion is beyond ARKit's curves (rms); "
        f"where the lips are shut ({told['shut_frames']} frames) they stand {after:.2f} mm apart ({before:.2f} before "
        "they were brought together)"
    )
    return taken


def asked_expression(animator: Animator, text: str, timeline: Path | None) -> dict[str, Any]:
    """The expression part of `animate` and `re_emote`, checked: keyword arguments for either."""
    if timeline is not None:
        if text != "neutral":
            raise VisemoError(f"--expression: got {text!r} beside --timeline, expected only one of them")
        from visemo.animation.timeline import Timeline

        return {"timeline": Timeline.read(timeline)}
    name, intensity = parse_expression(text)
    found = expression_meshes(name, animator.template, animator.face)
    meshes = not isinstance(found, str)
    return {"expression": animator.expression_from(found) if meshes else found, "intensity": intensity}


@dataclass(frozen=True)
class Animate(Verb):
    """Animate a face to speech: sound and an expression in; takes, films, GLB or curves out."""

    audio: Annotated[Positional[tuple[Path, ...]], arg(metavar="AUDIO", help_behavior_hint="")]
    """speech in any container: wav, flac, mp3, m4a, ogg, mp4"""
    out: Out
    """a file whose suffix picks the format: .mp4 .glb .npz .csv .flame.npz .png .wav, or a folder ending in / for an
    OBJ per frame; {name} stands for the clip's name. With several AUDIO: a folder, which gets a file set per clip"""
    expression: ExpressionText = "neutral"
    """a name with a strength of 0 to 1.5; or meshes in the face's topology: APEX.obj, NEUTRAL.obj,APEX.obj, a folder"""
    timeline: TimelineFile = None
    """expressions over time instead of one:
    {"keys": [{"t": 0, "expression": "happy", "intensity": 0.8, "fade": 0.3}]}"""
    model: ModelName = "default"
    """an embedded model by name, or a model folder"""
    face: FaceName = None
    """another person in the model's topology: a face folder or a mesh; or any head with ARKit's shapes, such as ict: a
    face folder, or a mesh with a folder NAME_shapes beside it; default the model's own"""
    subject: Annotated[str | None, arg(metavar="ID")] = None
    """whose speaking style; default the mean of the training subjects"""
    mode: Literal["fused", "speech", "expression", "naive"] = "fused"
    """fused is the product; the others show its parts and the plain sum"""
    guard: float = 1.0
    """how far the expression yields where the speech shuts the lips, 0 to 1"""
    lively: Switch = False
    """add blinks, glances and head motion as a third track"""
    fps: float = FPS
    """frames per second of the take"""
    seed: int = 0
    """chooses the expression's take and the life"""
    shapes: Shapes = "native"
    """morph targets of a .glb: the model's own, or the 52 of ARKit"""
    rig_map: MapFile = None
    """write a .csv or .curves.npz in the curves of the rig that this map of `visemo retarget` is for"""
    vertices: bool = True
    """write decoded vertices into a .npz"""
    flame_map: FlameMapRun = None
    """for .flame.npz: the run of visemo train flame-map, which says how the model's blendshapes become FLAME's"""
    device: Device = "auto"
    """where the networks run"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo animate speech.wav --expression happy:0.8 -o take.npz -o take.glb -o take.mp4 -o take.csv",
        "visemo animate one.wav two.mp3 --expression sad --lively -o takes/",
    )

    def run(self) -> int:
        if not self.audio:
            raise VisemoError("animate: got no AUDIO, expected at least one sound file; see visemo animate --help")
        planned = outputs_of(self.out, self.audio)
        flame_map = flame_map_named(self.flame_map, self.out)
        if len(self.audio) == 1 and not self.audio[0].is_file():
            self.load(self.audio[0])  # says what is wrong before a model is loaded
        rig_map = rig_map_named(self.rig_map)
        animator, rig = open_animator(self.model, self.face, self.device)
        if rig_map is not None:
            rig_map.check_model(animator.model.hash)
            if rig is not None:
                raise VisemoError(f"--rig-map: got it beside --face {self.face}, a rig itself, expected one of them")
        asked = asked_expression(animator, self.expression, self.timeline)
        options = {"rig": rig, "flame_map": flame_map, "rig_map": rig_map}
        if len(self.audio) == 1:
            self.animate(animator, asked, self.audio[0], planned[0], options)
            return 0
        return self.animate_many(animator, asked, planned, options)

    def animate_many(
        self,
        animator: Animator,
        asked: dict[str, Any],
        planned: list[list[str]],
        options: dict[str, Any],
    ) -> int:
        """Each clip by itself: one that cannot be read is named and left out."""
        for out in self.out:
            if out.endswith("/") and "{name}" not in out:
                make_folder(Path(out))
        failed = []
        for audio, outs in zip(self.audio, planned):
            try:
                self.load(audio)
            except VisemoError as error:
                failed.append(str(error))
                continue
            self.animate(animator, asked, audio, outs, options)
        say(f"{len(self.audio) - len(failed)} of {len(self.audio)} clips done" + "".join(f"\n  {e}" for e in failed))
        return 1 if failed else 0

    def animate(
        self,
        animator: Animator,
        asked: dict[str, Any],
        audio: Path,
        outs: list[str],
        options: dict[str, Any],
    ) -> None:
        from visemo.render.progress import progress_bar

        with progress_bar(f"animating {audio.name}") as done:
            clip = animator.animate(
                self.load(audio),
                **asked,
                subject=self.subject,
                mode=self.mode,
                guard=self.guard,
                lively=self.lively,
                fps=self.fps,
                seed=self.seed,
                progress=done,
            )
        rig = options["rig"]
        shown = clip if rig is None else carried_over(clip, animator.face, rig)
        told = {"shapes": self.shapes, "include_vertices": self.vertices, "face": rig or animator.face}
        for out in outs:  # FLAME follows the model's own blendshapes
            write(clip if is_flame(out) else shown, out, **told, **options)

    def load(self, audio: Path):
        from visemo.media import load_audio

        return load_audio(audio)


@dataclass(frozen=True)
class Demo(Verb):
    """The built-in head speaks a bundled sentence with several expressions: films, GLB, takes, a contact sheet."""

    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR")] = Path("demo")
    """folder for the results, made if need be"""
    model: ModelName = "default"
    """an embedded model by name, or a model folder"""

    examples: ClassVar[tuple[str, ...]] = ("visemo demo -o demo",)

    def run(self) -> int:
        folder = make_folder(self.out, parents=True)
        animator, _ = open_animator(self.model, None, "auto")
        clips = {}
        known = set(animator.model.expressions.names)
        for name in (name for name in DEMO_EXPRESSIONS if name in known):
            clip = animator.animate(BUNDLED_SPEECH, name, lively=True)
            for suffix in (".mp4", ".glb", ".npz"):
                write(clip, str(folder / f"{name}{suffix}"), face=animator.face)
            clips[name] = clip
        draw_sheet(animator, clips, folder / "sheet.png")
        say(f"{folder / 'sheet.png'}\nwatch {folder / 'happy.mp4'} first")
        return 0


def draw_sheet(animator: Animator, clips: dict[str, Animation], path: Path) -> None:
    """A row per take, its columns the same moments of the sentence."""
    from visemo.render.video import FaceRenderer, contact_sheet

    renderer = FaceRenderer(animator.face, animator.basis, 256)
    length = min(clip.frames for clip in clips.values())
    moments = np.linspace(0.12, 0.88, DEMO_MOMENTS) * (length - 1)
    rows = [[renderer.frame(clip, round(t)) for t in moments] for clip in clips.values()]
    contact_sheet(rows, list(clips), [f"{round(t) / FPS:.1f} s" for t in moments], path)
