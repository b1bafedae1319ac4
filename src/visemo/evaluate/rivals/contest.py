"""Rivals on the same data: everyone learns from the training takes, searches on validation pairs, and is measured once
on the test pairs.

    OUT/contest.json                what competes and on what; a folder of another contest is refused
    OUT/search.json                 every setting that was tried, and the error (mm) it had on the validation pairs
    OUT/marks/<method>/<pair>.npz   measures of one method on one test pair
    OUT/standings.json              one number per method and measure
    OUT/frames.npz, frames.json     some frames of one test pair as every method fuses them, for pictures

Whatever lies there already is not computed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from visemo.assets import atomic
from visemo.data.store import Pair, Store
from visemo.evaluate.rivals.blends import NAIVE
from visemo.evaluate.rivals.lessons import FRAMES, Lessons
from visemo.evaluate.rivals.marks import Marker, Marks, Standing, standings
from visemo.evaluate.rivals.rival import TRIALS, Rival, School, Setting
from visemo.evaluate.rivals.scene import Scene, named_pairs, read_scene, some, validation_pairs
from visemo.evaluate.rivals.showcase import Showcase, choose_frames, choose_pair
from visemo.face.face import Face
from visemo.training.corpus import Corpus
from visemo.types import FloatArray, VisemoError
from visemo.units import MM_PER_M

TRUTH = "truth"
Progress = Callable[[str], None]  # told what was done last


@dataclass(frozen=True)
class ContestConfig:
    """How much is looked at.

    split : the division into train, val and test
    frames : of the training takes of each kind, at most
    validation : pairs that settings are compared on
    pairs : test pairs, at most; 0 for all
    """

    split: str = "faceformer"
    frames: int = FRAMES
    validation: int = 8
    pairs: int = 0
    seed: int = 0


class Contest:
    """Schools on the planted stores `data` of one face, with everything found out kept in `out`; they learn from the
    stores `more` too, whose pairs are left alone.

    Raises
    ------
    VisemoError
        for stores of another face, without pairs, or without takes to learn from; for schools of one name,
        without the naive sum, or with more than `TRIALS` settings; for a folder that cannot be made or holds another
        contest
    """

    def __init__(
        self, schools: Sequence[School], data: Sequence[Path | str], face: Face, out: Path | str, *,
        more: Sequence[Path | str] = (), config: ContestConfig | None = None, progress: Progress | None = None,
    ) -> None:  # fmt: skip
        names = [school.name for school in schools]
        if len(set(names)) != len(names) or NAIVE not in names or TRUTH in names:
            raise VisemoError(f"contest: got methods {', '.join(names)}, expected each once, {NAIVE} among them")
        greedy = next((school for school in schools if not 1 <= len(school.settings) <= TRIALS), None)
        if greedy:
            raise VisemoError(f"{greedy.name}: got {len(greedy.settings)} settings, expected 1 to {TRIALS}, as for all")
        self.schools, self.config, self.tell = schools, config or ContestConfig(), progress or (lambda text: None)
        self.corpus = Corpus(data, face, self.config.split)
        self.learned = Corpus([*data, *more], face, self.config.split)
        self.marker, self.out = Marker(face), Path(out)
        self.pairs = some(named_pairs(self.corpus), self.config.pairs)
        self._open({"config": asdict(self.config), "data": self.learned.facts, "face": face.hash})

    def _open(self, facts: dict[str, Any]) -> None:
        """Make the folder, or make sure that it holds what the same schools found out about the same data."""
        try:
            (self.out / "marks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VisemoError(
                f"{self.out}: cannot make this folder ({error.strerror}); choose another place"
            ) from error
        methods = {school.name: {"steps": school.steps, "is": repr(school)} for school in self.schools}
        known = _read(self.out / "contest.json", facts)
        older = known.pop("methods", {})
        if known != json.loads(json.dumps(facts)) or any(older.get(n, own) != own for n, own in methods.items()):
            raise VisemoError(f"{self.out}: got the folder of another contest, expected this one's; choose a new one")
        _write(self.out / "contest.json", {**facts, "methods": older | methods})

    def run(self) -> list[Standing]:
        """Fit, search and measure whatever is missing."""
        missing = [school for school in self.schools if not self._finished(school)]
        fitted = {school.name: self._search(school) for school in missing}
        for k, (store, pair) in enumerate(self.pairs if missing else ()):
            self._measure(store, pair, fitted)
            self.tell(f"pair {k + 1} of {len(self.pairs)}")
        self._show(fitted)
        rows = self.standings()
        _write(self.out / "standings.json", [asdict(row) for row in rows])
        return rows

    # --- learning -------------------------------------------------------------------------------------

    @cached_property
    def lessons(self) -> Lessons:
        return Lessons(self.learned, self.config.frames, seed=self.config.seed)

    @cached_property
    def trials(self) -> list[Scene]:
        """Validation pairs, kept in memory: every setting looks at them."""
        pairs = some(validation_pairs(self.corpus, self.config.seed), self.config.validation)
        return [read_scene(store, pair) for store, pair in pairs]

    def _search(self, school: School) -> Rival:
        """The best rival of a school; of the settings tried before only the error is known, so it is fitted again."""
        if len(school.settings) == 1:
            return school.fit(self.lessons, school.settings[0])
        path = self.out / "search.json"
        search = _read(path, {})
        found: dict[int, Rival] = {}
        errors: list[float] = search.get(school.name, {}).get("errors", [])
        for k in range(len(errors), len(school.settings)):
            found[k] = school.fit(self.lessons, school.settings[k])
            errors.append(float(np.mean([_error(scene, found[k]) for scene in self.trials])))
            search[school.name] = {"settings": list(school.settings), "errors": errors, "steps": school.steps}
            _write(path, search)
            self.tell(f"{school.name}, {_words(school.settings[k])}: {errors[k]:.4f} mm")
        best = int(np.argmin(errors))
        return found[best] if best in found else school.fit(self.lessons, school.settings[best])

    # --- measuring ------------------------------------------------------------------------------------

    def _path(self, method: str, store: Store, pair: Pair) -> Path:
        return self.out / "marks" / slug(method) / f"{store.folder.name}-{pair.speech}-{pair.expression}.npz"

    def _finished(self, school: School) -> bool:
        marked = all(self._path(school.name, *pair).exists() for pair in self.pairs)
        return marked and school.name in Showcase.methods(self.out)

    def _measure(self, store: Store, pair: Pair, fitted: dict[str, Rival]) -> None:
        paths = {name: self._path(name, store, pair) for name in (TRUTH, *fitted)}
        missing = {name: path for name, path in paths.items() if not path.exists()}
        if not missing:
            return
        scene = read_scene(store, pair)
        for name, path in missing.items():
            path.parent.mkdir(exist_ok=True)
            fused = scene.truth if name == TRUTH else fitted[name].fuse(scene.talk, scene.face, scene.label)
            self.marker.marks(scene, fused).save(path)

    def _show(self, fitted: dict[str, Rival]) -> None:
        """Frames of one pair, for pictures."""
        if not fitted:
            return
        scene = read_scene(*choose_pair(self.pairs))
        shown = Showcase.load(self.out) or Showcase.begin(scene, choose_frames(scene), self.corpus.face)
        frames = {TRUTH: scene.truth} | {
            name: rival.fuse(scene.talk, scene.face, scene.label) for name, rival in fitted.items()
        }
        shown.add(frames).save(self.out)

    def standings(self) -> list[Standing]:
        """From the saved marks: one row per method and measure, the truth's own first."""
        marks = {name: self._marks(name) for name in (TRUTH, *(school.name for school in self.schools))}
        lips = self.marker.lips
        return [row for name, own in marks.items() for row in standings(name, own, marks[NAIVE], lips)]

    def _marks(self, method: str) -> list[Marks]:
        return [Marks.load(self._path(method, *pair)) for pair in self.pairs]


def chosen_settings(out: Path) -> dict[str, str]:
    """In words, the setting that validation chose for every school that searched."""
    search = _read(out / "search.json", {})
    return {name: _words(found["settings"][int(np.argmin(found["errors"]))]) for name, found in search.items()}


def slug(method: str) -> str:
    """A method's name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")


def _error(scene: Scene, rival: Rival) -> float:
    """Mean over frames and vertices, mm."""
    off: FloatArray = rival.fuse(scene.talk, scene.face, scene.label) - scene.truth
    return MM_PER_M * float(np.sqrt(np.einsum("tvc,tvc->tv", off, off)).mean())


def _words(setting: Setting) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in setting.items())


def _read(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def _write(path: Path, content: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
