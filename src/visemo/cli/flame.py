"""What the verbs share of FLAME: its files, maps and motions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from visemo.cli.verb import say
from visemo.types import VisemoError

if TYPE_CHECKING:
    from visemo.animation.animator import Animator
    from visemo.face.face import Face
    from visemo.face.flame import FlameModel
    from visemo.face.flame_motion import FlameMotion
    from visemo.models.flame_map import FlameMap
    from visemo.types import Animation

FlameFile = Annotated[Path | None, arg(metavar="FILE")]
FlameMapRun = Annotated[Path | None, arg(metavar="RUN")]
FlameShapes = Annotated[Path | None, arg(metavar="FILE|DIR")]


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
            raise VisemoError(f"{out}: got no --flame-map, {_EXPECTED_MAP}")
    return None


_EXPECTED_MAP = (
    "expected the run of a map from blendshapes to FLAME; make one with visemo train flame-map --model MODEL --flame "
    "FILE -o RUN"
)


def adopted(
    animator: Animator,
    path: Path,
    flame: FlameModel,
    part: Literal["speech", "expression"],
    asked: dict[str, Any],
) -> tuple[Animation, Face]:
    """A motion on FLAME as a take on the model's face, and that face; `asked` goes to `Animator.adopt`, with the
    file's sound where it names none.

    Raises VisemoError for a path with several clips, or one that holds none of FLAME.
    """
    from visemo.data.peers import Bodies, find_clips
    from visemo.face.flame_on_face import FlameOnFace
    from visemo.types import Motion

    found = find_clips(path, Bodies(flame=flame))
    if len(found) != 1:
        raise VisemoError(f"{path}: got {len(found)} clips, expected one; name its file")
    clip = found[0].read()
    if clip.template is None or clip.vertices.shape[1] != len(flame.v_template):
        raise VisemoError(f"{path}: got {clip.format}, expected FLAME's parameters or a .flame.npz")
    ground = FlameOnFace.of(flame, animator.face)
    motion = Motion(ground.carry(clip.vertices - clip.template), clip.fps)
    say(f"{clip.format}: {len(clip.vertices)} frames, {clip.fps:g} a second; {', '.join(clip.notes)}")
    taken = animator.adopt(motion, part, **{"sound": clip.sound, **asked, "seed": asked["seed"] or 0})
    return taken, animator.face


def drawn_on_flame(
    path: Path, out: str, flame_file: Path | None, run: Path | None, expressions: Path | None, **options: Any
) -> None:
    """Draw a motion, or a take through its map, on an avatar that is bound to FLAME; options as for the writers.

    Raises VisemoError where FLAME, the avatar or a take's map is not given.
    """
    from visemo.render.flame_avatar import write_flame_film, write_flame_sheet

    if flame_file is None or options["avatar"] is None:
        lacks = "--flame" if flame_file is None else "--avatar"
        raise VisemoError(f"render: got no {lacks}, expected both --flame FILE and --avatar point_cloud.ply")
    flame = flame_named(flame_file, expressions)
    draw = write_flame_film if out.lower().endswith(".mp4") else write_flame_sheet
    for note in draw(_motion(path, run, flame), Path(out), flame, **options):
        say(note)
    say(out)


def _motion(path: Path, run: Path | None, flame: FlameModel) -> FlameMotion:
    """The motion that the file holds, or the take that it holds through the map. Raises VisemoError where either
    belongs to another FLAME."""
    from visemo.animation.flame import flame_motion_of
    from visemo.export.tracks import read_take
    from visemo.face.flame_motion import holds_motion, read_flame_motion
    from visemo.models.flame_map import FlameMap

    if holds_motion(path):
        motion = read_flame_motion(path)
        if motion.flame is not None:
            motion.flame.check(flame, str(path))
        return motion
    clip = read_take(path)
    if run is None:
        raise VisemoError(f"{path}: got a take and no --flame-map, {_EXPECTED_MAP}")
    flame_map = FlameMap.load(run)
    flame_map.check_flame(flame)
    return flame_motion_of(clip, flame_map)
