"""Writing a store: whole or not at all, or take by take so that it can be gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from visemo.assets import atomic
from visemo.data.frames import half, single
from visemo.data.journal import JOURNAL, Journal
from visemo.data.takes import KINDS, MANIFEST, SCHEMA, SPLIT_PARTS, TRANSFER, Pair, Precision, Segment, Take, take_of
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError, Waveform, check_array
from visemo.units import SAMPLE_RATE

_FOLDERS = ("subjects", "takes", "truth")
_ENCODE = {"float16": half, "float32": single}


class StoreWriter:
    """Writes a store; a context manager. The manifest appears only when everything else is in place.

    What was written is removed again if the block fails, unless `resume` is asked for: then every take is finished
    on its own, and the same writer on the same folder goes on with those that are missing.

    Parameters
    ----------
    folder : where the store goes: absent, or an empty folder, or with `resume` a half-written store.
    face : the face whose topology every take has.
    source : where the data come from, e.g. "planted".
    fps : native frames per second.
    licence : what the data may be used for.
    generator : anything that identifies how the data were made (versions, seed, hash).
    precision : of the displacements on disk.
    resume : go on with a half-written store of the same data, and leave one behind after a failure.

    Raises VisemoError for a folder in use, and for a half-written store of other data.
    """

    def __init__(
        self,
        folder: Path | str,
        face: Face,
        *,
        source: str,
        fps: float,
        licence: str,
        generator: Mapping[str, Any] | None = None,
        precision: Precision = "float16",
        resume: bool = False,
    ):
        self.folder = Path(folder)
        self._face = face
        self._resume = resume
        self._journal: Journal | None = None
        self._precision: Precision = precision
        self._manifest: dict[str, Any] = {
            "schema": SCHEMA,
            "source": source,
            "unit": "m",
            "precision": precision,
            "fps": fps,
            "licence": licence,
            "face": {
                "name": face.name, "topology": face.topology_hash, "vertices": len(face.template), "hash": face.hash,
            },
            "generator": dict(generator or {}),
            "subjects": {},
            "sequences": [],
            "splits": {},
            "pairs": [],
        }  # fmt: skip
        self._takes: dict[str, Take] = {}

    def __enter__(self) -> StoreWriter:
        going_on = self._resume and (self.folder / JOURNAL).is_file() and not (self.folder / MANIFEST).exists()
        if not going_on:
            _claim(self.folder)
        for name in _FOLDERS:
            (self.folder / name).mkdir(exist_ok=True)
        if self._resume:
            job = ("source", "precision", "fps", "face", "generator")
            self._journal = Journal(self.folder, {key: self._manifest[key] for key in job})
            for name in _FOLDERS:
                for cut_off in (self.folder / name).glob(".*"):
                    cut_off.unlink()
            finished = [take_of(row) for row in self._journal.rows]
            self._takes = {t.id: t for t in finished if (self.folder / "takes" / f"{t.id}.npy").is_file()}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            if not self._takes or not self._resume:
                self._remove()
            return
        self._manifest["sequences"] = [asdict(take) for take in self._takes.values()]
        with atomic(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self._manifest, indent=1))
        (self.folder / JOURNAL).unlink(missing_ok=True)

    def _remove(self) -> None:
        for name in _FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in (JOURNAL, TRANSFER):
            (self.folder / name).unlink(missing_ok=True)

    def __contains__(self, id: str) -> bool:
        """Whether a take is finished already, now or by a writer that was cut off."""
        return id in self._takes

    def add_facts(self, **facts: Any) -> None:
        """Say more about the data in the manifest. Raises VisemoError for a key that the layout itself uses."""
        taken = sorted(set(facts) & set(self._manifest))
        if taken:
            raise VisemoError(f"{self.folder}: got facts {', '.join(taken)}, expected names that no store uses")
        self._manifest |= facts

    def add_subject(self, name: str, neutral: FloatArray, shapes: FloatArray | None = None, **notes: Any) -> None:
        """Add a subject: its neutral (V, 3) float32 m and, for planted truth, its shapes (M, V, 3)."""
        check_array(f"neutral of {name}", neutral, self._face.template.shape, np.float32)
        if shapes is not None:
            check_array(f"shapes of {name}", shapes, (None, *neutral.shape), np.float32)
        np.save(self.folder / "subjects" / f"{name}.npy", neutral)
        if shapes is not None:
            np.save(self.folder / "subjects" / f"{name}.shapes.npy", shapes)
        self._manifest["subjects"][name] = notes

    def add_take(
        self,
        take: Take,
        motion: np.ndarray | Iterable[np.ndarray],
        audio: Waveform | None = None,
        phones: tuple[Segment, ...] = (),
        truth: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Add one sequence: `motion` (T, V, 3) m from the subject's neutral, whole or in blocks of frames; its truth
        by name. What the blocks' maker puts into the take's notes meanwhile is kept too.

        Raises VisemoError for an unknown subject or kind, a repeated id, or arrays that do not fit the take.
        """
        self._check(take, audio)
        with atomic(self.folder / "takes" / f"{take.id}.npy") as path:
            self._write_motion(path, take, (motion,) if isinstance(motion, np.ndarray) else motion)
        if audio is not None:
            import soundfile

            with atomic(self.folder / "takes" / f"{take.id}.wav") as path:
                soundfile.write(path, audio.samples, audio.sample_rate, subtype="PCM_16")
        if phones:
            rows = [[segment.name, round(segment.start, 5), round(segment.end, 5)] for segment in phones]
            (self.folder / "takes" / f"{take.id}.phones.json").write_text(json.dumps(rows))
        for name, array in (truth or {}).items():
            np.save(self.folder / "truth" / f"{take.id}.{name}.npy", array)
        row = {f.name: getattr(take, f.name) for f in fields(take)}
        self._takes[take.id] = Take(**{**row, "truth": tuple(truth or ())})
        if self._journal is not None:
            self._journal.add(asdict(self._takes[take.id]))

    def _write_motion(self, path: Path, take: Take, blocks: Iterable[np.ndarray]) -> None:
        vertices, encode = self._face.template.shape, _ENCODE[self._precision]
        file, done = np.lib.format.open_memmap(path, "w+", self._precision, (take.frames, *vertices)), 0
        for block in blocks:
            fits = block.shape[1:] == vertices and done + len(block) <= take.frames
            if not fits or not np.isfinite(block).all():
                self._refuse_motion(take, (done + len(block), *block.shape[1:]))
            file[done : done + len(block)] = encode(block)
            done += len(block)
        if done < take.frames:
            self._refuse_motion(take, (done, *vertices))
        file.flush()

    def _refuse_motion(self, take: Take, shape: tuple[int, ...]) -> NoReturn:
        want = (take.frames, *self._face.template.shape)
        raise VisemoError(f"take {take.id}: got motion of shape {shape}, expected finite metres of {want}")

    def _check(self, take: Take, audio: Waveform | None) -> None:
        if take.subject not in self._manifest["subjects"] or take.kind not in KINDS or take.id in self._takes:
            raise VisemoError(
                f"take {take.id}: got subject {take.subject!r} and kind {take.kind!r}, "
                f"expected an added subject, a kind of {KINDS} and an id used once"
            )
        if audio is not None and audio.sample_rate != SAMPLE_RATE:
            raise VisemoError(f"take {take.id}: got sound at {audio.sample_rate} Hz, expected {SAMPLE_RATE}")

    @property
    def takes(self) -> tuple[Take, ...]:
        """The rows added so far, in order."""
        return tuple(self._takes.values())

    def add_split(self, name: str, parts: Mapping[str, tuple[str, ...]]) -> None:
        """Name a division of the takes added so far. Raises VisemoError when parts overlap or name strangers."""
        listed = [id for part in SPLIT_PARTS for id in parts[part]]
        strangers = sorted(set(listed) - set(self._takes))
        if strangers or len(listed) != len(set(listed)):
            problem = f"unknown takes {strangers[:3]}" if strangers else "takes in two parts"
            raise VisemoError(f"split {name}: got {problem}, expected disjoint parts of the takes added")
        self._manifest["splits"][name] = {part: list(parts[part]) for part in SPLIT_PARTS}

    def add_pairs(self, pairs: tuple[Pair, ...]) -> None:
        """Name the (speech, expression) pairs whose sum is known. Raises VisemoError unless one subject's."""
        for pair in pairs:
            subjects = {self._takes[id].subject if id in self._takes else None for id in pair}
            if len(subjects) != 1 or None in subjects:
                raise VisemoError(f"pair {tuple(pair)}: got takes of {subjects}, expected two takes of one subject")
        self._manifest["pairs"] = [list(pair) for pair in pairs]


def _claim(folder: Path) -> None:
    """Make the folder, refusing one that holds anything already."""
    if (folder / MANIFEST).exists():
        raise VisemoError(f"{folder}: got a folder with a finished store, expected a new one; choose another name")
    if (folder / "takes").is_dir():
        raise VisemoError(f"{folder}: got a half-written store, expected a new folder; delete it first")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VisemoError(f"{folder}: got something that is not an empty folder, expected one; choose another name")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{folder}: cannot make this folder ({error.strerror}); choose another place") from error
