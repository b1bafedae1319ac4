"""The verbs that make takes and pictures: demo, animate, edit, render."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from visemo.assets import ASSETS
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
    from visemo.face.flame import FlameModel
    from visemo.face.flame_motion import FlameMotion
    from visemo.models.flame_map import FlameMap
    from visemo.types import Animation

Out = Annotated[UseAppendAction[tuple[str, ...]], arg(aliases=("-o",), metavar="OUT")]
ExpressionText = Annotated[str, arg(metavar="NAME[:INTENSITY]")]
TimelineFile = Annotated[Path | None, arg(metavar="FILE.json")]
ModelName = Annotated[str, arg(metavar="NAME|DIR")]
FaceName = Annotated[str | None, arg(metavar="builtin|ict|DIR|FILE")]
FlameMapRun = Annotated[Path | None, arg(metavar="RUN")]
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
    from visemo.animation.retarget import onto_rig

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
        animator, rig = open_animator(self.model, self.face, self.device)
        asked = asked_expression(animator, self.expression, self.timeline)
        options = {"rig": rig, "flame_map": flame_map}
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
            write(clip if is_flame(out) else shown, out, **told, flame_map=options["flame_map"])

    def load(self, audio: Path):
        from visemo.media import load_audio

        return load_audio(audio)


@dataclass(frozen=True)
class Edit(Verb):
    """Re-emote or convert a finished take, or what another program animated on FLAME: no audio needed."""

    take: Annotated[Positional[Path], arg(metavar="TAKE.npz")]
    """a take that `visemo animate` wrote; with --flame a motion: .flame.npz, or FLAME parameters of DiffPoseTalk,
    EMOTE, VOCA, ARTalk or VHAP"""
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
    """the face that the take was made on, where it is not a built-in one: its folder"""
    flame: Annotated[Path | None, arg(metavar="FILE")] = None
    """the FLAME model that a motion belongs to; the motion is carried over to the model's face"""
    part: Annotated[Literal["speech", "expression"] | None, arg(name="as")] = None
    """what a motion holds: speech, whose own emotion is left out for that of --expression; or an expression"""
    expressions: Annotated[Path | None, arg(metavar="FILE|DIR")] = None
    """shapes in FLAME's topology in place of its expression components, as for visemo train flame-map"""
    shapes: Shapes = "native"
    """morph targets of a .glb: the model's own, or the 52 of ARKit"""
    vertices: bool = True
    """write decoded vertices into a .npz"""
    flame_map: FlameMapRun = None
    """for .flame.npz: the run of visemo train flame-map, which says how the model's blendshapes become FLAME's"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo edit take.npz --expression sad:0.6 -o sad.mp4 -o sad.glb",
        "visemo edit take.npz -o take.csv",
        "visemo edit emote.pkl --flame generic_model.pkl --as speech --expression happy -o happy.mp4",
    )

    def run(self) -> int:
        from visemo.export.tracks import read_take

        (outs,) = outputs_of(self.out, [self.take])
        flame_map = flame_map_named(self.flame_map, self.out)
        if self.flame is not None or self.part is not None or self.expressions is not None:
            clip, face = self._adopted()
        else:
            clip, face = read_take(self.take), face_named(self.face)
        if self.part is None and (self.expression or self.timeline):
            animator, _ = open_animator(self.model, None, "cpu")
            face = face or animator.face
            asked = asked_expression(animator, self.expression or "neutral", self.timeline)
            guard = 1.0 if self.guard is None else self.guard
            clip = animator.re_emote(clip, **asked, guard=guard, seed=self.seed)
        elif self.part is None and (self.guard is not None or self.seed is not None):
            raise VisemoError("edit: got --guard or --seed alone, expected them with --expression or --timeline")
        options = {"shapes": self.shapes, "include_vertices": self.vertices, "face": face, "flame_map": flame_map}
        for out in outs:
            write(clip, out, **options)
        return 0

    def _adopted(self) -> tuple[Animation, Face]:
        """The motion as a take on the model's face."""
        from visemo.data.peers import Bodies, find_clips
        from visemo.face.flame_on_face import FlameOnFace
        from visemo.types import Motion

        if self.flame is None or self.part is None:
            lacks = "--flame" if self.flame is None else "--as"
            raise VisemoError(f"edit: got no {lacks}, expected both --flame FILE and --as speech or expression")
        flame = flame_named(self.flame, self.expressions)
        found = find_clips(self.take, Bodies(flame=flame))
        if len(found) != 1:
            raise VisemoError(f"{self.take}: got {len(found)} clips, expected one; name its file")
        clip = found[0].read()
        if clip.template is None or clip.vertices.shape[1] != len(flame.v_template):
            raise VisemoError(f"{self.take}: got {clip.format}, expected FLAME's parameters or a .flame.npz")
        animator, _ = open_animator(self.model, None, "cpu")
        ground = FlameOnFace.of(flame, animator.face)
        motion = Motion(ground.carry(clip.vertices - clip.template), clip.fps)
        say(f"{clip.format}: {len(clip.vertices)} frames, {clip.fps:g} a second; {', '.join(clip.notes)}")
        asked = asked_expression(animator, self.expression or "neutral", self.timeline)
        guard = 1.0 if self.guard is None else self.guard
        taken = animator.adopt(motion, self.part, **asked, guard=guard, seed=self.seed or 0, sound=clip.sound)
        return taken, animator.face


@dataclass(frozen=True)
class Render(Verb):
    """Draw a finished take: a film with its sound, or a contact sheet."""

    take: Annotated[Positional[Path], arg(metavar="TAKE.npz")]
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
    flame: Annotated[Path | None, arg(metavar="FILE")] = None
    """the FLAME model that the avatar was made with"""
    flame_map: FlameMapRun = None
    """for a take: the run of visemo train flame-map, which says how the model's blendshapes become FLAME's"""
    expressions: Annotated[Path | None, arg(metavar="FILE|DIR")] = None
    """shapes in FLAME's topology in place of its expression components, as for visemo train flame-map"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo render take.npz -o take.mp4 --size 720",
        "visemo render take.npz --avatar head/point_cloud.ply -o avatar.mp4",
        "visemo render take.flame.npz --avatar media/306/point_cloud.ply --flame flame2023.pkl -o avatar.mp4",
    )

    def run(self) -> int:
        from visemo.export.tracks import read_take
        from visemo.face.flame_motion import holds_motion

        if Path(self.out).suffix.lower() not in (".mp4", ".png"):
            raise VisemoError(f"{self.out}: got suffix {Path(self.out).suffix!r}, expected .mp4 or .png")
        if self.size is not None and (self.size % 2 or not 16 <= self.size <= 4096):
            raise VisemoError(f"--size: got {self.size}, expected an even number from 16 to 4096")
        outputs_of([self.out], [self.take])
        options = {} if self.size is None else {"size": self.size}
        given = (self.flame, self.flame_map, self.expressions)
        if holds_motion(self.take) or any(option is not None for option in given):
            return self._on_flame(**options)
        write(read_take(self.take), self.out, face=face_named(self.face), avatar=self.avatar, **options)
        return 0

    def _on_flame(self, **options: int) -> int:
        from visemo.render.flame_avatar import write_flame_film, write_flame_sheet

        if self.flame is None or self.avatar is None:
            lacks = "--flame" if self.flame is None else "--avatar"
            raise VisemoError(f"render: got no {lacks}, expected both --flame FILE and --avatar point_cloud.ply")
        flame = flame_named(self.flame, self.expressions)
        draw = write_flame_film if self.out.lower().endswith(".mp4") else write_flame_sheet
        for note in draw(self._motion(flame), Path(self.out), flame, avatar=self.avatar, **options):
            say(note)
        say(self.out)
        return 0

    def _motion(self, flame: FlameModel) -> FlameMotion:
        """The motion that the file holds, or the take that it holds through the map."""
        from visemo.animation.flame import flame_motion_of
        from visemo.export.tracks import read_take
        from visemo.face.flame_motion import holds_motion, read_flame_motion
        from visemo.models.flame_map import FlameMap

        if holds_motion(self.take):
            return read_flame_motion(self.take)
        clip = read_take(self.take)
        if self.flame_map is None:
            raise VisemoError(
                f"{self.take}: got a take and no --flame-map, expected the run of a map from blendshapes to FLAME; "
                "make one with visemo train flame-map --model MODEL --flame FILE -o RUN"
            )
        flame_map = FlameMap.load(self.flame_map)
        flame_map.check_flame(flame)
        return flame_motion_of(clip, flame_map)


def flame_named(path: Path, expressions: Path | None) -> FlameModel:
    """FLAME of a file, with other expression components where they are given."""
    from visemo.face.flame import read_flame
    from visemo.face.flame_expressions import with_expressions

    flame = read_flame(path)
    return flame if expressions is None else with_expressions(flame, expressions)


def is_flame(out: str) -> bool:
    return out.lower().endswith(".flame.npz")


def flame_map_named(run: Path | None, outs: tuple[str, ...]) -> FlameMap | None:
    """The map that `--flame-map` names. Raises VisemoError where an OUT needs one and there is none."""
    from visemo.models.flame_map import FlameMap

    if run is not None:
        return FlameMap.load(run)
    for out in outs:
        if is_flame(out):
            raise VisemoError(
                f"{out}: got no --flame-map, expected the run of a map from blendshapes to FLAME; make one with visemo "
                "train flame-map --model MODEL --flame FILE -o RUN"
            )
    return None


def face_named(name: str | None):
    """The face that `--face` names, or None for the take's own."""
    from visemo.face.library import load_face

    return None if name is None else load_face(name)


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
