"""What every verb shares: its shape, its words to the user, and how takes are written."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from visemo.face.shape_files import MESH_SUFFIXES
from visemo.types import VisemoError

if TYPE_CHECKING:
    from visemo.face.face import Face
    from visemo.types import Animation, FloatArray, Mesh

FILE_SET = (".npz", ".glb", ".mp4", ".csv")  # what each of several clips becomes in a folder
LARGE = 200e6  # bytes: a take beyond says its size before it is written


class Verb:
    """A parsed sub-command. Its fields are its options, its docstring the help, `run` does it."""

    examples: ClassVar[tuple[str, ...]] = ()

    def run(self) -> int:
        """Do it; returns the exit code."""
        raise NotImplementedError

    @classmethod
    def notes(cls, words: list[str]) -> str:
        """What `--help` says beyond the options, for the words that stood beside it."""
        return "\nexample:\n" + "\n".join(f"  {line}" for line in cls.examples)

    def with_options(self, words: list[str]) -> Self:
        """Take words that are no options of this verb. Raises VisemoError, since most verbs have no use for them."""
        if words:
            name = type(self).__name__.lower()
            options = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(self)]  # type: ignore[arg-type]
            close = get_close_matches(words[0], options, 1)
            hint = f"did you mean {close[0]}?" if close else f"see visemo {name} --help"
            raise VisemoError(f"{name}: got {' '.join(words)!r}, expected only its options; {hint}")
        return self


def say(text: str, end: str = "\n") -> None:
    """A line to the user, on stdout."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


# --- outputs -----------------------------------------------------------------------------------------


def outputs_of(outs: Sequence[str], clips: Sequence[Path]) -> list[list[str]]:
    """Where each clip is written: one list of files per clip, checked before anything is computed.

    `{name}` in an OUT stands for the clip's own name. Several clips need it, or a folder ending in `/`,
    which then gets a set of files per clip.

    Raises
    ------
    VisemoError
        No OUT, an unknown suffix, a folder that does not exist, or outputs that would overwrite each other
        or a recording.
    """
    from visemo.export.writers import writer_for

    if not outs:
        raise VisemoError("-o: got no OUT, expected a file such as -o take.mp4")
    planned = [[path for out in outs for path in _for_clip(out, clip, len(clips) > 1)] for clip in clips]
    everything = [path for paths in planned for path in paths]
    if twice := sorted({path for path in everything if everything.count(path) > 1}):
        raise VisemoError(f"-o: got {twice[0]} for two outputs, expected different names")
    for out in outs:
        _check_place(out)
    _keep_recordings(everything, clips)
    for path in everything:
        writer_for(path)
    return planned


def _for_clip(out: str, clip: Path, many: bool) -> list[str]:
    if "{name}" in out:
        return [out.replace("{name}", clip.stem)]
    if not many:
        return [out]
    if not out.endswith("/"):
        raise VisemoError(f"-o: got {out} for several clips, expected a folder ending in / or a name with {{name}}")
    return [f"{out}{clip.stem}{suffix}" for suffix in FILE_SET]


def _check_place(out: str) -> None:
    """Refuse an output whose folder does not exist, or that is a folder where a file is meant or the reverse."""
    place = Path(out)
    if not place.parent.is_dir():
        raise VisemoError(f"{out}: got no folder {place.parent}, expected an existing one; create it first")
    if out.endswith("/") and place.exists() and not place.is_dir():
        raise VisemoError(f"{out}: got a file, expected a folder or a new name; choose another")
    if not out.endswith("/") and place.is_dir():
        raise VisemoError(f"{out}: got a folder, expected a file; end it in / for a mesh per frame")


def _keep_recordings(paths: Sequence[str], clips: Sequence[Path]) -> None:
    """Refuse an output that would replace what it is made from: also the sound that a .glb brings along."""
    sources = {clip.resolve() for clip in clips if clip.suffix.lower() != ".npz"}  # a take may be edited in place
    for path in map(Path, paths):
        sound = path.with_suffix(".wav") if path.suffix.lower() == ".glb" else path
        if sound.resolve() in sources:
            raise VisemoError(
                f"{path}: got a name by which {sound.name} would replace the recording, "
                f"expected another such as {path.stem}_take{path.suffix}"
            )


def make_folder(folder: Path, parents: bool = False) -> Path:
    """Create a folder for results unless it is there. Raises VisemoError where that is not possible."""
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{folder}: cannot make that folder ({error.strerror}); choose another") from error
    return folder


def write(clip: Animation, out: str, **options: Any) -> None:
    """Write a take and say so; options go to the writers that have them."""
    from visemo.export.tracks import take_size, write_take
    from visemo.export.writers import writer_for

    writer = writer_for(out)
    fitting = {name: value for name, value in options.items() if name in inspect.signature(writer).parameters}
    if out.lower().endswith(".flame.npz"):
        from visemo.export.flame_track import flame_size

        size = flame_size(clip)
        if size > LARGE:
            say(f"{out}: writing {size_text(size)} for {clip.frames} frames, nearly all zeros, which are packed")
    if writer is write_take:
        size = take_size(clip, **fitting)
        if size > LARGE:
            say(f"{out}: writing {size_text(size)}; --no-vertices leaves the decoded vertices out")
    result = writer(clip, Path(out), **fitting)
    note = f"  (within {result:.2f} mm of the take)" if isinstance(result, float) else ""
    say(f"{out}{note}")


# --- inputs ------------------------------------------------------------------------------------------


def parse_expression(text: str) -> tuple[str, float]:
    """`NAME[:INTENSITY]` as name and intensity. Raises VisemoError when the intensity is not 0..1.5."""
    from visemo.models.expressions import MAX_INTENSITY, check_intensity

    name, colon, strength = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        return name, check_intensity(float(strength))
    except ValueError:
        raise VisemoError(
            f"intensity: got {strength!r}, expected a number from 0 to {MAX_INTENSITY}, as in happy:0.8"
        ) from None


def expression_meshes(name: str, neutral: FloatArray, face: Face) -> str | list[Mesh]:
    """An expression's NAME, or the meshes that it names: FILE, NEUTRAL,APEX, or a folder with a sequence.

    A single mesh is an apex over `neutral` (V, 3) m. Raises VisemoError when a mesh cannot be read.
    """
    from visemo.geometry.mesh import read_mesh
    from visemo.types import Mesh

    if Path(name).is_dir():
        paths = sorted(path for path in Path(name).iterdir() if path.suffix.lower() in MESH_SUFFIXES)
    else:
        paths = [Path(part) for part in name.split(",")]
        if any(path.suffix.lower() not in MESH_SUFFIXES for path in paths):
            return name
    meshes = [read_mesh(path) for path in paths]
    return [Mesh(neutral, face.triangles), *meshes] if len(meshes) == 1 else meshes


def template_of(face: str | None, model_face: Face) -> FloatArray:
    """The neutral (V, 3) m that `--face` names: a face by name or folder, or a mesh in the model's topology.

    Raises
    ------
    VisemoError
        When there is no such face or its topology is not the model's.
    """
    template, rig = person_of(face, model_face)
    if rig is not None:
        raise VisemoError(
            f"face: got {rig.name} in its own topology, expected that of the model's face {model_face.name}"
        )
    return template


def person_of(face: str | None, model_face: Face) -> tuple[FloatArray, Face | None]:
    """Who `--face` names: a neutral (V, 3) m in the model's topology, and a rig of another where it is one.

    A rig is a face with ARKit's shapes, or a mesh with a folder of them beside it; the model's own neutral stands for
    it until the take is carried over.

    Raises
    ------
    VisemoError
        When there is no such face, or it is in another topology and has not enough of ARKit's shapes.
    """
    if face is None:
        return model_face.template, None
    if Path(face).suffix.lower() in MESH_SUFFIXES:
        from visemo.animation.animator import check_topology
        from visemo.face.shape_files import shapes_folder
        from visemo.face.user_mesh import read_user_mesh
        from visemo.geometry.mesh import read_mesh

        if not shapes_folder(Path(face)).is_dir():
            mesh = read_mesh(Path(face))
            check_topology(mesh, model_face)
            return mesh.vertices, None
        found = read_user_mesh(Path(face))
        say("\n".join(found.notes))
        other = found.face
    else:
        from visemo.face.library import load_face

        other = load_face(face)
    from visemo.animation.retarget.another_head import is_rig
    from visemo.face.arkit import ARKIT_NAMES

    if other.topology_hash == model_face.topology_hash:
        return other.template, None
    if not is_rig(other):
        known = len(set(ARKIT_NAMES) & set(other.shape_names))
        raise VisemoError(
            f"face: got {other.name} in its own topology with {known} of ARKit's 52 shapes, expected the topology of "
            f"the model's face {model_face.name}, or a rig with those shapes; register it first"
        )
    return model_face.template, other
