"""The prepared-data store: one layout for every source of motion.

    DIR/manifest.json                    written last: a folder without it is no store
    DIR/subjects/<subject>.npy           (V, 3) float32 m, that subject's neutral
    DIR/subjects/<subject>.shapes.npy    (M, V, 3) float32 m, only where the truth is given as weights
    DIR/takes/<id>.npy                   (T, V, 3) float16 m, displacement from the neutral; memory-mappable
    DIR/takes/<id>.wav                   16 kHz mono PCM16
    DIR/takes/<id>.phones.json           [[phone, start s, end s], ...]
    DIR/truth/<id>.<name>.npy            (T, M) float32 weights of the subject's shapes, or (T, V, 3) m

Frame k of a take shows the time k / fps. Motion is kept at its native rate and resampled when loaded.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visemo.data.frames import half, resample, worn_frames
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError, Waveform, check_array
from visemo.units import SAMPLE_RATE

SCHEMA = "visemo.store/1"
MANIFEST = "manifest.json"
SPLIT_PARTS = ("train", "val", "test")

KINDS = ("speech", "expression")


class Segment(NamedTuple):
    """One phone of a take: `name` in lower-case CMU letters (`pau` is silence), times in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Take:
    """What the manifest says about one sequence. `label` names an expression, `sentence` a text."""

    id: str
    subject: str
    kind: str
    frames: int
    fps: float
    label: str = ""
    sentence: str = ""
    text: str = ""
    voice: str = ""
    truth: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


class Pair(NamedTuple):
    """Two takes of one subject whose pure parts add up to a face that nobody recorded."""

    speech: str
    expression: str


class Fused(NamedTuple):
    """Truth of a pair: frame `expression_frames[t]` of the expression take is worn at speech frame t."""

    expression_frames: NDArray[np.int64]  # (T,)
    displacements: FloatArray  # (T, V, 3) m


class Store:
    """An opened store. Arrays are read when asked for; motion stays on disk until indexed."""

    OPEN_MAPS = 256  # each memory map holds a file descriptor

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = folder
        self.manifest = manifest
        self.sequences = tuple(_take(row) for row in manifest["sequences"])
        self.subjects: tuple[str, ...] = tuple(manifest["subjects"])
        self.fps: float = manifest["fps"]
        self.pairs = tuple(Pair(*pair) for pair in manifest["pairs"])
        self._maps: OrderedDict[str, np.memmap] = OrderedDict()

    @cached_property
    def _by_id(self) -> dict[str, Take]:
        return {take.id: take for take in self.sequences}

    def sequence(self, id: str) -> Take:
        """The manifest's row for one sequence. Raises VisemoError for an unknown id."""
        if id not in self._by_id:
            raise VisemoError(f"{self.folder}: got sequence {id!r}, expected one of its {len(self._by_id)} takes")
        return self._by_id[id]

    def motion(self, id: str, fps: float | None = None) -> np.ndarray:
        """Displacements (T, V, 3) m from the subject's neutral: the float16 memory map itself at the native
        rate, a float32 array when `fps` asks for another."""
        take = self.sequence(id)
        if id not in self._maps:
            self._maps[id] = np.load(self.folder / "takes" / f"{id}.npy", mmap_mode="r")
            if len(self._maps) > self.OPEN_MAPS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(id)
        return resample(self._maps[id], take.fps, fps or take.fps)

    def truth(self, id: str, name: str) -> FloatArray:
        """Planted truth (T, V, 3) float32 m, `name` one of the take's own (speech_pure, expression_pure).

        Raises VisemoError when the take carries no such truth.
        """
        stored = self.truth_weights(id, name)
        if stored.ndim == 3:
            return stored
        shapes = self.shapes(self.sequence(id).subject)
        return (stored @ shapes.reshape(len(shapes), -1)).reshape(len(stored), -1, 3)

    def truth_weights(self, id: str, name: str) -> FloatArray:
        """The truth as it is stored: (T, M) float32 weights of the subject's shapes, or (T, V, 3) float32 m."""
        take = self.sequence(id)
        if name not in take.truth:
            known = ", ".join(take.truth) or "none (no planted store)"
            raise VisemoError(f"{self.folder}: got truth {name!r} of {id}, expected one of: {known}")
        return np.load(self.folder / "truth" / f"{id}.{name}.npy").astype(np.float32, copy=False)

    def fused(self, pair: Pair) -> Fused:
        """Truth of a pair: speech_pure of one take plus expression_pure of the other, over the speech's frames."""
        speech, expression = (self.sequence(id) for id in pair)
        worn = worn_frames(speech.frames, expression.frames)
        emotion = self.truth(expression.id, "expression_pure")[worn]
        return Fused(worn, self.truth(speech.id, "speech_pure") + emotion)

    def audio(self, id: str, start: float = 0.0, seconds: float | None = None) -> Waveform:
        """The take's sound at 16 kHz, or `seconds` of it from `start`. Raises VisemoError for a silent take."""
        import soundfile

        path = self.folder / "takes" / f"{self.sequence(id).id}.wav"
        if not path.exists():
            raise VisemoError(f"{self.folder}: got no sound with {id}, expected a speech take")
        count = -1 if seconds is None else round(seconds * SAMPLE_RATE)
        samples, rate = soundfile.read(path, start=round(start * SAMPLE_RATE), frames=count, dtype="float32")
        return Waveform(np.asarray(samples, np.float32), rate)

    def phones(self, id: str) -> tuple[Segment, ...]:
        """Phone segments of a speech take, in order; empty when the source has none."""
        path = self.folder / "takes" / f"{self.sequence(id).id}.phones.json"
        return tuple(Segment(*row) for row in json.loads(path.read_text())) if path.exists() else ()

    def neutral(self, subject: str) -> FloatArray:
        """(V, 3) float32 m: the subject's face at rest. Raises VisemoError with the list of subjects."""
        self._check_subject(subject)
        return np.load(self.folder / "subjects" / f"{subject}.npy")

    def shapes(self, subject: str) -> FloatArray:
        """(M, V, 3) float32 m: the subject's own planted shapes; VisemoError when the source has none."""
        self._check_subject(subject)
        path = self.folder / "subjects" / f"{subject}.shapes.npy"
        if not path.exists():
            raise VisemoError(f"{self.folder}: got no shapes of {subject}, expected a planted store")
        return np.load(path)

    def _check_subject(self, subject: str) -> None:
        if subject not in self.subjects:
            raise VisemoError(f"{self.folder}: got subject {subject!r}, expected one of {', '.join(self.subjects)}")

    def split(self, name: str) -> dict[str, tuple[str, ...]]:
        """Sequence ids of "train", "val" and "test". Raises VisemoError with the list of splits."""
        splits = self.manifest["splits"]
        if name not in splits:
            raise VisemoError(f"{self.folder}: got split {name!r}, expected one of {', '.join(splits) or 'none'}")
        return {part: tuple(splits[name][part]) for part in SPLIT_PARTS}

    def check_face(self, face: Face) -> None:
        """Refuse a face of another topology: its vertices would be moved by another face's motion."""
        own = self.manifest["face"]
        if face.topology_hash != own["topology"]:
            raise VisemoError(
                f"{self.folder}: got face {face.name} ({len(face.template)} vertices, topology {face.topology_hash}), "
                f"expected {own['name']} ({own['vertices']}, {own['topology']}); prepare the data anew"
            )


def open_store(folder: Path | str) -> Store:
    """Open a finished store for reading.

    Raises VisemoError for a missing folder, a half-written store, another schema, a damaged manifest
    or missing files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VisemoError(f"{folder}: got no such folder, expected a store; make one with `visemo prepare`")
    if not (folder / MANIFEST).exists():
        half = (folder / "takes").is_dir()
        got = "a half-written store" if half else "no manifest.json"
        raise VisemoError(f"{folder}: got {got}, expected a finished store; delete it and prepare it again")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        schema = manifest["schema"]
        if schema != SCHEMA:
            raise VisemoError(f"{folder}: got schema {schema}, expected {SCHEMA}; prepare the data again")
        store = Store(folder, manifest)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise VisemoError(f"{folder}: got a damaged manifest.json ({error}); prepare the data again") from error
    needed = [folder / "takes" / f"{take.id}.npy" for take in store.sequences]
    needed += [folder / "subjects" / f"{subject}.npy" for subject in store.subjects]
    for path in needed:
        if not path.exists():
            raise VisemoError(f"{folder}: got no {path.relative_to(folder)}, expected it; prepare the data again")
    return store


def _take(row: dict[str, Any]) -> Take:
    return Take(**{**row, "truth": tuple(row["truth"])})


class StoreWriter:
    """Writes a store; a context manager. The manifest appears only when everything else is in place, and
    what was written is removed again if the block fails.

    Parameters
    ----------
    folder : where the store goes: absent, or an empty folder.
    face : the face whose topology every take has.
    source : where the data come from, e.g. "planted".
    fps : native frames per second.
    licence : what the data may be used for.
    generator : anything that identifies how the data were made (versions, seed, hash).
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
    ):
        self.folder = Path(folder)
        self._face = face
        self._manifest: dict[str, Any] = {
            "schema": SCHEMA,
            "source": source,
            "unit": "m",
            "fps": fps,
            "licence": licence,
            "face": {"name": face.name, "topology": face.topology_hash, "vertices": len(face.template)},
            "generator": dict(generator or {}),
            "subjects": {},
            "sequences": [],
            "splits": {},
            "pairs": [],
        }
        self._takes: dict[str, Take] = {}

    def __enter__(self) -> StoreWriter:
        _claim(self.folder)
        for name in ("subjects", "takes", "truth"):
            (self.folder / name).mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._remove()
            return
        from visemo.assets import atomic

        self._manifest["sequences"] = [asdict(take) for take in self._takes.values()]
        with atomic(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self._manifest, indent=1))

    def _remove(self) -> None:
        import shutil

        for name in ("subjects", "takes", "truth"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

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
        motion: np.ndarray,
        audio: Waveform | None = None,
        phones: tuple[Segment, ...] = (),
        truth: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Add one sequence: `motion` (T, V, 3) m from the subject's neutral, stored as float16; its truth by name.

        Raises VisemoError for an unknown subject or kind, a repeated id, or arrays that do not fit the take.
        """
        self._check(take, motion, audio)
        np.save(self.folder / "takes" / f"{take.id}.npy", half(motion))
        if audio is not None:
            import soundfile

            path = self.folder / "takes" / f"{take.id}.wav"
            soundfile.write(path, audio.samples, audio.sample_rate, subtype="PCM_16")
        if phones:
            rows = [[segment.name, round(segment.start, 5), round(segment.end, 5)] for segment in phones]
            (self.folder / "takes" / f"{take.id}.phones.json").write_text(json.dumps(rows))
        for name, array in (truth or {}).items():
            np.save(self.folder / "truth" / f"{take.id}.{name}.npy", array)
        row = {f.name: getattr(take, f.name) for f in fields(take)}
        self._takes[take.id] = Take(**{**row, "truth": tuple(truth or ())})

    def _check(self, take: Take, motion: np.ndarray, audio: Waveform | None) -> None:
        want = (take.frames, len(self._face.template), 3)
        if take.subject not in self._manifest["subjects"] or take.kind not in KINDS or take.id in self._takes:
            raise VisemoError(
                f"take {take.id}: got subject {take.subject!r} and kind {take.kind!r}, "
                f"expected an added subject, a kind of {KINDS} and an id used once"
            )
        if motion.shape != want or not np.isfinite(motion).all():
            raise VisemoError(f"take {take.id}: got motion of shape {motion.shape}, expected finite metres of {want}")
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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VisemoError(f"{folder}: got something that is not an empty folder, expected one; choose another name")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise VisemoError(f"{folder}: cannot make this folder ({error.strerror}); choose another place") from error
