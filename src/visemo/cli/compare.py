"""The verb that holds anybody's predictions against a truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import Positional, arg

from visemo.cli.verb import Verb, make_folder, say
from visemo.types import VisemoError

if TYPE_CHECKING:
    from visemo.evaluate.comparison import Comparison, Prediction
    from visemo.evaluate.ground import Choices


@dataclass(frozen=True)
class Compare(Verb):
    """Hold predictions of any program against a truth: one table, a film side by side, pictures of the errors.

    Reads what VOCA, FaceFormer, CodeTalker, EmoTalk, EMOTE, EmoVOCA, DiffPoseTalk, UniTalker, ARTalk, Audio2Face-3D
    and visemo write, as it is. TRUTH and PREDICTION are a clip, or a folder of clips (or a store) that are matched by
    name. `NAME=` before one says how it is called in the table, `@FPS` after it its frames a second.
    """

    truth: Annotated[Positional[str], arg(metavar="TRUTH")]
    """what was recorded: a clip or a folder of clips"""
    prediction: Annotated[Positional[tuple[str, ...]], arg(metavar="PREDICTION")]
    """what is compared: clips, or folders of them"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR")]
    """folder for the results, made if need be"""
    face: Annotated[str | None, arg(metavar="NAME|DIR|FILE")] = None
    """the face that is compared; default the truth's own. A FLAME file compares its frontal face"""
    flame: Annotated[Path | None, arg(metavar="FILE")] = None
    """the FLAME model that parameters are put on; its whole head is compared"""
    masks: Annotated[Path | None, arg(metavar="FILE")] = None
    """FLAME_masks.pkl: its lips; its forehead and eye region"""
    lips: Annotated[Path | None, arg(metavar="FILE")] = None
    """a text file with the vertices of the lips, such as lve.txt"""
    upper_face: Annotated[Path | None, arg(metavar="FILE")] = None
    """a text file with the vertices of the upper face, such as fdd.txt"""
    video: bool = True
    """draw compare.mp4"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo compare truth.npz take.npz -o compared",
        "visemo compare vocaset/vertices_npy faceformer=result codetalker=demo/npy --masks FLAME_masks.pkl -o compared",
        "visemo compare truth/ voca=out/meshes diffposetalk=out.npz --flame generic_model.pkl -o compared",
    )

    def run(self) -> int:
        from visemo.evaluate.comparison import compare
        from visemo.render.progress import progress_bar

        if not self.prediction:
            raise VisemoError("compare: got no PREDICTION, expected at least one beside TRUTH")
        truth, *predictions = _labelled([self.truth, *self.prediction])
        folder = make_folder(self.out, parents=True)
        with progress_bar("comparing") as done:
            comparison = compare(truth, predictions, self._choices(), done)
        comparison.write(folder)
        say(comparison.text())
        say(f"{folder / 'compare.md'}\n{folder / 'compare.json'}")
        self._draw(comparison, folder)
        return 0

    def _choices(self) -> Choices:
        from visemo.evaluate.ground import Choices
        from visemo.face.flame import read_flame
        from visemo.face.library import load_face

        face = None if self.face is None else load_face(self.face)
        flame = None if self.flame is None else read_flame(self.flame)
        return Choices(face, flame, self.masks, self.lips, self.upper_face)

    def _draw(self, comparison: Comparison, folder: Path) -> None:
        from visemo.evaluate.side_by_side import write_errors, write_film
        from visemo.render.progress import progress_bar

        if comparison.triangles is None:
            say("no pictures: none of the files says how the vertices hang together; add --face or --flame")
            return
        write_errors(comparison, folder / "errors.png")
        say(str(folder / "errors.png"))
        if self.video:
            with progress_bar("film") as done:
                write_film(comparison, folder / "compare.mp4", progress=done)
            say(str(folder / "compare.mp4"))


def _labelled(words: list[str]) -> list[Prediction]:
    """[NAME=]PATH[@FPS] for each word; labels that nobody gave are the paths' own names, made different.

    Raises VisemoError for frames a second that are no positive number, and a name given twice.
    """
    from visemo.evaluate.comparison import Prediction

    found: list[Prediction] = []
    for word in words:
        label, path, fps = "", word, None
        if not Path(word).exists():
            label, _, path = word.rpartition("=")
            if not Path(path).exists() and "@" in path:
                path, _, rate = path.rpartition("@")
                fps = _rate(word, rate)
        labels = {other.label for other in found}
        if label in labels:
            raise VisemoError(f"{word}: got the name {label} twice, expected another for each")
        own = Path(path).resolve()
        taken = own.stem if own.suffix and own.is_file() else own.name
        fallback = taken if taken not in labels else f"{own.parent.name}/{taken}"
        found.append(Prediction(label or fallback, Path(path), fps))
    return found


def _rate(word: str, rate: str) -> float:
    try:
        fps = float(rate)
    except ValueError:
        fps = 0.0
    if not 0 < fps < float("inf"):
        raise VisemoError(f"{word}: got {rate!r} frames a second, expected a positive number, as in meshes@25")
    return fps
