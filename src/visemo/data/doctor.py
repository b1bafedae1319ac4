"""What a folder of data is, or nearly is: what is there, what is missing or damaged, and where to get it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from visemo.data import vocaset
from visemo.data.captures import read_capture, read_translation
from visemo.data.expression_meshes import read_expression_meshes
from visemo.data.florence4d import read_florence4d
from visemo.data.journal import JOURNAL
from visemo.data.ply_sequences import find_plys
from visemo.data.recorded import CAPTURES, find_recordings
from visemo.data.source import Source
from visemo.data.store import MANIFEST, open_store
from visemo.face.fetching import REPOSITORY, missing_files
from visemo.types import VisemoError

State = Literal["fine", "missing", "damaged", "note"]

VOCA_SITE = (
    "voca.is.tue.mpg.de, Download, at the bottom: Training Data, trainingdata.zip (8 GB); "
    "registration, non-commercial research licence of the MPI"
)
VOCA_REPOSITORY = "github.com/TimoBolkart/voca, template/FLAME_sample.ply (under 1 MB, MPI licence)"
FLORENCE_SITE = (
    "micc.unifi.it/resources/datasets/florence-4d-facial-expression, by its form; CC BY 4.0 as the page states, "
    "size not stated"
)
FLAME_SITE = "flame.is.tue.mpg.de, Download (registration)"
ICT_SITE = f"{REPOSITORY.removesuffix('.git')} (MIT, half a GB); visemo fetch ict clones it"
ICT_PACK = "ict_facekit_head.npz"

VOCASET_FILES = {
    vocaset.VERTS: ("the motion of all sentences, 7.4 GB", VOCA_SITE),
    vocaset.INDEX: ("which rows of the motion are whose sentence, a few MB", VOCA_SITE),
    vocaset.AUDIO: ("the sound of all sentences, up to 1 GB", VOCA_SITE),
    vocaset.TEMPLATES: ("every speaker's face at rest, 1.4 MB", VOCA_SITE),
}
# sentences that the release itself lacks
KNOWN_GAPS = ("FaceTalk_170809_00138_TA_sentence32", "FaceTalk_170811_03274_TA_sentence24")
SPEAKERS, SENTENCES = 12, 40

FLAME_FILES = {
    "generic_model.pkl": ("FLAME 2016 to 2020", f"{FLAME_SITE}; non-commercial"),
    "flame2023.pkl": ("FLAME 2023", f"{FLAME_SITE}; non-commercial"),
    "flame2023_no_jaw.pkl": ("FLAME 2023 with the jaw among the expressions", f"{FLAME_SITE}; non-commercial"),
    "flame2023_Open.pkl": ("FLAME 2023 Open", f"{FLAME_SITE}, FLAME2023Open.zip; CC BY 4.0"),
    "FLAME_masks.pkl": ("regions of FLAME", f"{FLAME_SITE}, FLAME_masks.zip; licence not stated"),
    "flame_static_embedding.pkl": ("51 landmarks of FLAME", FLAME_SITE),
}
SHOWN = 5  # names listed of each kind


@dataclass(frozen=True)
class Finding:
    """One line: a file or group of files, its state, and what it is, holds or needs."""

    state: State
    name: str
    says: str


@dataclass(frozen=True)
class Diagnosis:
    """What `path` is, finding by finding, and the command that would use it."""

    path: Path
    kind: str
    findings: tuple[Finding, ...]
    next: str = ""

    @property
    def healthy(self) -> bool:
        """Whether nothing that is needed is missing or damaged."""
        return not any(finding.state in ("missing", "damaged") for finding in self.findings)

    @property
    def lines(self) -> list[str]:
        """For people: what it is, a line for each finding, and what to do."""
        rows = [f"  {finding.state:<8} {finding.name}: {finding.says}" for finding in self.findings]
        do = [f"  next: {self.next}"] if self.next and self.healthy else []
        return [f"{self.path}: {self.kind}", *rows, *do]


def examine(path: Path | str) -> Diagnosis:
    """Tell what a file or folder is and what it lacks.

    Raises VisemoError only where there is nothing at all.
    """
    path = Path(path)
    if not path.exists():
        raise VisemoError(f"{path}: got no such file or folder, expected data to look at")
    for look in (_own, _ict, _vocaset, _florence, _flame, _expression_archive, _captures):
        found = look(path)
        if found is not None:
            return found
    known = "VOCASET, Florence 4D, EmoVOCA's meshes, captures, FLAME, ICT-FaceKit, a store or a model"
    return Diagnosis(path, "nothing known", (Finding("missing", "data", f"expected {known}"),))


# ---------------------------------------------------------------- what visemo writes itself


def _own(path: Path) -> Diagnosis | None:
    if (path / MANIFEST).is_file() or (path / "takes").is_dir():
        return _store(path)
    if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
        says = Finding("fine", "model.safetensors", "a model that animates")
        return Diagnosis(
            path, "a model folder of visemo", (says,), f"visemo animate speech.wav --model {path} -o t.mp4"
        )
    if (path / "face.json").is_file():
        arrays = (path / "face.npz").is_file()
        finding = Finding("fine" if arrays else "missing", "face.npz", "the arrays of the face")
        return Diagnosis(path, "a face of visemo", (finding,), f"visemo info {path}")
    return None


def _store(path: Path) -> Diagnosis:
    journal = path / JOURNAL
    if not (path / MANIFEST).is_file():
        done = max(0, len(journal.read_bytes().splitlines()) - 1) if journal.is_file() else 0
        says = f"half-written, {done} takes finished; run the same visemo prepare again to go on, or delete the folder"
        return Diagnosis(path, "a store of visemo", (Finding("damaged", MANIFEST, says),))
    try:
        store = open_store(path)
    except VisemoError as error:
        return Diagnosis(path, "a store of visemo", (Finding("damaged", MANIFEST, str(error)),))
    kinds = [take.kind for take in store.sequences]
    says = f"{kinds.count('speech')} speech and {kinds.count('expression')} expression takes of {len(store.subjects)}"
    finding = Finding("fine", MANIFEST, f"{says} subjects, from {store.manifest['source']}")
    return Diagnosis(path, "a store of visemo", (finding,), f"visemo train fusion --data {path} -o RUN")


# ---------------------------------------------------------------- VOCASET


def _vocaset(path: Path) -> Diagnosis | None:
    layout = vocaset.layout_of(path) if path.is_dir() else ""
    near = [name for name in VOCASET_FILES if (path / name).is_file()]
    if path.name == "trainingdata.zip" or (path / "trainingdata.zip").is_file():
        return Diagnosis(path, "VOCASET, still packed", (Finding("missing", "trainingdata.zip", "unzip it first"),))
    if not layout and not near and not (path / vocaset.WAVS).is_dir():
        return None
    findings = list(_vocaset_files(path, layout or "distributed"))
    if all(finding.state == "fine" for finding in findings):
        findings += _sequences(lambda: vocaset.read_vocaset(path), _vocaset_gaps)
    kinds = {"faceformer": "as FaceFormer lays it out", "unposed": "as unposed PLY sequences"}
    kind = f"VOCASET {kinds.get(layout, 'as it is distributed')}"
    return Diagnosis(path, kind, tuple(findings), f"visemo prepare vocaset {path} -o STORE")


def _vocaset_files(path: Path, layout: str) -> Iterator[Finding]:
    """The files of a layout, each there, missing or damaged."""
    wanted = [vocaset.VERTS, vocaset.INDEX] if layout == "distributed" else []
    for name in (*wanted, vocaset.TEMPLATES):
        what, where = VOCASET_FILES[name]
        if not (path / name).is_file():
            yield Finding("missing", name, f"{what}; get it from {where}")
        else:
            yield _array_state(path / name, what, where)
    sound = (path / vocaset.WAVS).is_dir() or (path / vocaset.AUDIO).is_file()
    what, where = VOCASET_FILES[vocaset.AUDIO]
    beside = layout == "unposed" and any(path.rglob("*.wav"))
    if sound or beside:
        yield Finding("fine", vocaset.WAVS if (path / vocaset.WAVS).is_dir() else vocaset.AUDIO, what)
    else:
        yield Finding("missing", vocaset.AUDIO, f"{what}, or {vocaset.WAVS}/ with a file for each; from {where}")
    if any((path / place / vocaset.TOPOLOGY).is_file() for place in (".", "templates")):
        yield Finding("fine", vocaset.TOPOLOGY, "the triangles")
    else:
        yield Finding("missing", vocaset.TOPOLOGY, f"the triangles; get it from {VOCA_REPOSITORY}, or use --topology")


def _array_state(path: Path, what: str, where: str) -> Finding:
    if path.suffix == ".npy":
        try:
            shape = vocaset.open_array(path).shape
        except VisemoError as error:
            return Finding("damaged", path.name, f"{error} from {where}")
        return Finding("fine", path.name, f"{what}: {shape[0]} frames")
    return Finding("fine", path.name, what)


def _vocaset_gaps(source: Source) -> Iterator[Finding]:
    there = {sequence.id for sequence in source.sequences}
    lacking = [id for id in KNOWN_GAPS if id not in there and id.rpartition("_")[0] in source.neutrals]
    if lacking:
        yield Finding("note", ", ".join(lacking), "not in the release either")
    whole = SPEAKERS * SENTENCES - len(KNOWN_GAPS)
    if len(there) < whole:
        yield Finding(
            "note", f"{len(there)} of {whole} sentences", f"the release has {SPEAKERS} x {SENTENCES} less two"
        )


# ---------------------------------------------------------------- meshes of expressions


def _florence(path: Path) -> Diagnosis | None:
    """Identities with sequences; identities with single meshes are EmoVOCA's."""
    patterns = ("*/*.ply", "*/*/*.ply", "*.zip", "*/*.zip")
    if not path.is_dir() or not any(any(path.glob(pattern)) for pattern in patterns):
        return None
    try:
        found = find_plys(path)
    except VisemoError as error:
        return Diagnosis(path, "PLY sequences", (Finding("damaged", "sequences", str(error)),))
    if not found.sequences:
        return None
    if all(len(sequence) == 1 for sequence in found.sequences):
        findings = _sequences(lambda: read_expression_meshes(path))
        return Diagnosis(path, "EmoVOCA's meshes", tuple(findings), f"visemo prepare expression-meshes {path} -o STORE")
    identities = dict.fromkeys(sequence.key[0] for sequence in found.sequences)
    resting = [name for name in identities if (name,) in found.meshes]
    absent = [name for name in identities if name not in resting]
    findings = [Finding("fine", "<identity>.ply", f"{len(resting)} faces at rest")] if resting else []
    if absent:
        says = f"faces at rest of {_some(absent)}; get them from {FLORENCE_SITE}"
        findings.append(Finding("note", "<identity>.ply", says))
    findings += _sequences(lambda: read_florence4d(path))
    return Diagnosis(path, "Florence 4D", tuple(findings), f"visemo prepare florence4d {path} -o STORE")


def _expression_archive(path: Path) -> Diagnosis | None:
    archives = [path] if path.suffix == ".npz" else sorted(path.glob("*expression*.npz")) if path.is_dir() else []
    if not archives or (path.suffix == ".npz" and "expression" not in path.name):
        return None
    findings = _sequences(lambda: read_expression_meshes(archives[0]))
    return Diagnosis(path, "EmoVOCA's meshes", tuple(findings), f"visemo prepare expression-meshes {path} -o STORE")


def _sequences(read: Callable[[], Source], gaps: Callable[[Source], Iterator[Finding]] | None = None) -> list[Finding]:
    """What a reader makes of the folder: how much of it can be used, and what not."""
    try:
        source = read()
    except VisemoError as error:
        return [Finding("damaged", "data", str(error))]
    frames = sum(sequence.frames for sequence in source.sequences)
    says = f"{len(source.sequences)} of {len(source.neutrals)} subjects, {frames} frames, can be used"
    findings = [Finding("fine", "sequences", says)]
    by_reason: dict[str, list[str]] = {}
    for skipped in source.skipped:
        by_reason.setdefault(skipped.why, []).append(skipped.what)
    for why, names in by_reason.items():
        state = "missing" if why == vocaset.NO_TEMPLATE else "note"
        findings.append(Finding(state, f"{len(names)} {why}", f"passed over: {_some(names)}"))
    cut = sum("cut_frames" in s.notes or "cut_sound" in s.notes for s in source.sequences)
    if cut:
        findings.append(Finding("note", f"{cut} cut", "mesh and sound are not equally long; the common length is kept"))
    findings += [Finding("note", "assumed", remark) for remark in source.remarks]
    return findings + (list(gaps(source)) if gaps else [])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# ---------------------------------------------------------------- captures and faces of others


def _captures(path: Path) -> Diagnosis | None:
    try:
        recordings = find_recordings(path) if path.is_dir() else ()
    except VisemoError as error:
        twins = "two captures" in str(error)
        return Diagnosis(path, "captures", (Finding("damaged", "captures", str(error)),)) if twins else None
    paths = [recording.capture for recording in recordings] or ([path] if path.suffix in CAPTURES else [])
    findings, talk = [], sum(recording.sound is not None for recording in recordings)
    for each in paths:
        guess = next(iter(sorted(each.parent.glob("*_guess.json"))), None)
        try:
            read_capture(each, read_translation(guess) if guess else None)
        except VisemoError as error:
            findings.append(Finding("damaged", each.name, str(error)))
    if not paths or len(findings) == len(paths):
        return None  # arrays or tables of something else
    says = f"{len(paths) - len(findings)} can be read, {talk} with sound, {len(paths) - talk} silent expressions"
    findings.insert(0, Finding("fine", "captures", says))
    return Diagnosis(path, "captured ARKit curves", tuple(findings), f"visemo prepare captures {path} -o STORE")


def _flame(path: Path) -> Diagnosis | None:
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    known = [p for p in files if p.name in FLAME_FILES or ("flame" in p.name.lower() and p.suffix in (".pkl", ".npz"))]
    if not known:
        return None
    findings = [_flame_file(file) for file in known]
    model = next((file for file, finding in zip(known, findings) if finding.says.startswith("a model")), path)
    return Diagnosis(path, "FLAME", tuple(findings), f"visemo prepare vocaset VOCASET --face {model} -o STORE")


def _flame_file(path: Path) -> Finding:
    from visemo.face.flame import read_flame

    what, where = FLAME_FILES.get(path.name, ("FLAME", FLAME_SITE))
    if "mask" in path.name.lower() or "embedding" in path.name or "regressor" in path.name:
        return Finding("fine", path.name, what)
    try:
        model = read_flame(path)
    except VisemoError as error:
        return Finding("damaged", path.name, f"{error}; get {what} from {where}")
    says = (
        f"a model of {len(model.v_template)} vertices, {model.n_shape} shape and {model.n_expr} expression components"
    )
    return Finding("fine", path.name, says)


def _ict(path: Path) -> Diagnosis | None:
    if (path / ICT_PACK).is_file():
        findings = [Finding("fine", ICT_PACK, "the head with its shapes")]
    elif (path / "FaceXModel").is_dir() or (path / "generic_neutral_mesh.obj").is_file():
        lacking = missing_files(path)
        findings = [Finding("missing", name, f"a mesh of the head; get it from {ICT_SITE}") for name in lacking[:SHOWN]]
        findings = findings or [Finding("fine", "FaceXModel", "the head at rest, its shapes and identities")]
        if len(lacking) > SHOWN:
            findings.append(Finding("missing", f"{len(lacking) - SHOWN} more", "meshes of the head"))
    else:
        return None
    return Diagnosis(path, "ICT-FaceKit", tuple(findings), f"visemo animate speech.wav --face {path} -o take.glb")
