"""The verbs that look after data: doctor, fetch, prepare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from visemo.cli.verb import Verb, say
from visemo.types import VisemoError

if TYPE_CHECKING:
    from visemo.data.source import Skipped, Source
    from visemo.face.face import Face

NAMED = 3  # of what was passed over is named in a line; the store's manifest has the whole list


@dataclass(frozen=True)
class Prepare(Verb):
    """Make a store of training data from a data set as it was downloaded.

    `vocaset` and `florence4d` read the published folders, `expression-meshes` the apex meshes of EmoVOCA, `captures`
    curves of a real face (NAME.npz or NAME.csv, beside NAME.wav where it talks); `planted` writes a synthetic corpus
    whose truth is known. Broken off, the same command goes on where it stopped (planted aside).
    """

    source: Positional[Literal["planted", "captures", "vocaset", "florence4d", "expression-meshes"]]
    """what to prepare"""
    out: Annotated[Path, arg(aliases=("-o",), metavar="STORE")]
    """folder of the store, which must not exist or be empty, or be a half-written store of the same data"""
    src: Annotated[Positional[Path | None], arg(metavar="SRC")] = None
    """folder of the data; none for planted"""
    face: Annotated[str, arg(metavar="NAME|DIR|FILE")] = "builtin"
    """the face that the data are put on"""
    topology: Annotated[Path | None, arg(metavar="FILE")] = None
    """mesh with the triangles of the data, default FLAME_sample.ply beside them"""
    precision: Literal["float16", "float32"] = "float16"
    """of the displacements on disk"""
    minutes: float = 60.0
    """planted: speech in all"""
    subjects: int = 12
    """planted: speakers, each with shapes and a style of its own"""
    takes: int = 3
    """planted: takes of every expression by every subject"""
    seed: int = 0
    """planted: of everything random; the same seed and voices give the same bytes"""
    manner: Literal["usual", "other"] = "usual"
    """planted: how each kind of take carries the other; `other` for a second corpus that nothing was tuned on"""
    tiny: bool = False
    """planted: a corpus of seconds that needs no speech engine; the numbers above do not count then"""

    examples: ClassVar[tuple[str, ...]] = (
        "visemo prepare planted --minutes 60 -o stores/planted",
        "visemo prepare captures recordings/ -o stores/captured",
        "visemo prepare vocaset VOCASET/trainingdata --face flame2023_Open.pkl -o stores/vocaset",
        "visemo prepare florence4d Florence4D/ --topology FLAME_sample.ply -o stores/florence",
        "visemo prepare expression-meshes EmoVOCA/New_Conditions -o stores/apexes --precision float32",
    )

    def run(self) -> int:
        from visemo.face.library import load_face

        if (self.src is None) != (self.source == "planted"):
            expected = "a folder of captures" if self.source == "captures" else "the folder of the data"
            raise VisemoError(f"prepare {self.source}: got SRC {self.src}, expected {expected}, and none for planted")
        if not self.out.parent.is_dir():
            raise VisemoError(f"{self.out}: got no folder {self.out.parent}, expected an existing one; create it first")
        makers: dict[str, Callable[[Face], list[str]]] = {"planted": self._planted, "captures": self._captures}
        for line in makers.get(self.source, self._published)(load_face(self.face)):
            say(line)
        return 0

    def _planted(self, face: Face) -> list[str]:
        from visemo.data.planted import PlantedConfig, make_planted
        from visemo.render.progress import progress_bar

        config = (
            PlantedConfig.tiny()
            if self.tiny
            else PlantedConfig(self.seed, self.minutes, self.subjects, self.takes, manner=self.manner)
        )
        with progress_bar(f"preparing {self.out.name}") as done:
            store = make_planted(self.out, config, face, lambda made, total: done(made / total))
        return [f"{self.out}: {len(store.sequences)} takes"]

    def _captures(self, face: Face) -> list[str]:
        from visemo.data.recorded import make_recorded
        from visemo.render.progress import progress_bar

        assert self.src is not None
        with progress_bar(f"preparing {self.out.name}") as done:
            made = make_recorded(self.out, self.src, face, lambda made, total: done(made / total))
        kinds = [take.kind for take in made.store.sequences]
        counted = f"{kinds.count('speech')} of talk, {kinds.count('expression')} of expressions"
        return [f"{self.out}: {len(kinds)} takes, {counted}", *passed_over(made.skipped)]

    def _published(self, face: Face) -> list[str]:
        from visemo.data.prepare import PrepareConfig, prepare
        from visemo.render.progress import progress_bar

        source = self._read()
        with progress_bar(f"preparing {self.out.name}") as done:
            made = prepare(
                self.out,
                source,
                face,
                PrepareConfig(precision=self.precision),
                progress=lambda frames, total: done(frames / total),
            )
        store, facts = made.store, made.store.manifest["registration"]
        frames = sum(take.frames for take in store.sequences)
        kinds = f"{len(store.sequences)} takes of {len(store.subjects)} subjects, {frames} frames"
        how = f"laid on it within {facts['mean_mm']} mm on average" if "mean_mm" in facts else "row by row"
        cut = [f"  {made.cut} takes were cut to the common length of mesh and sound"] if made.cut else []
        remarks = [f"  {remark}" for remark in source.remarks]
        return [f"{self.out}: {kinds}, on {face.name} {how}", *cut, *passed_over(made.skipped), *remarks]

    def _read(self) -> Source:
        from visemo.data.expression_meshes import read_expression_meshes
        from visemo.data.florence4d import read_florence4d
        from visemo.data.vocaset import read_vocaset

        assert self.src is not None
        readers = {
            "vocaset": read_vocaset,
            "florence4d": read_florence4d,
            "expression-meshes": read_expression_meshes,
        }
        return readers[self.source](self.src, self.topology)


def passed_over(skipped: tuple[Skipped, ...]) -> list[str]:
    """A line for each reason why something stayed out of a store, with the first names."""
    by_reason: dict[str, list[Skipped]] = {}
    for row in skipped:
        by_reason.setdefault(row.why, []).append(row)
    lines = []
    for why, rows in by_reason.items():
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        lines.append(f"  passed over {len(rows)}, {why}: {', '.join(row.what for row in rows[:NAMED])}{more}")
    return lines


@dataclass(frozen=True)
class Doctor(Verb):
    """Say what a folder of data is or nearly is, what is missing or damaged in it, and where to get that.

    Knows VOCASET in its three layouts, Florence 4D, EmoVOCA's meshes, captures, FLAME's files, ICT-FaceKit, and
    visemo's own stores, models and faces. Exit code 1 when something that is needed is missing or damaged.
    """

    src: Annotated[Positional[Path], arg(metavar="SRC")]
    """folder or file to look at"""

    examples: ClassVar[tuple[str, ...]] = ("visemo doctor VOCASET/trainingdata",)

    def run(self) -> int:
        from visemo.data.doctor import examine

        diagnosis = examine(self.src)
        say("\n".join(diagnosis.lines))
        return 0 if diagnosis.healthy else 1


@dataclass(frozen=True)
class Fetch(Verb):
    """Download what is public and free to use: `ict` clones ICT-FaceKit (MIT), a head with shapes and identities."""

    what: Positional[Literal["ict"]]
    """what to download"""
    out: Annotated[Path | None, arg(aliases=("-o",), metavar="DIR")] = None
    """where to, default visemo's own cache, where --face ict looks for it"""

    examples: ClassVar[tuple[str, ...]] = ("visemo fetch ict", "visemo fetch ict -o ICT-FaceKit")

    def run(self) -> int:
        from visemo.face.fetching import fetch_ict

        say(f"{fetch_ict(self.out)}: the ICT head; use it with --face ict")
        return 0
