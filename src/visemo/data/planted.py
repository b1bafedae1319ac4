"""A corpus with planted truth, in the shapes of the two kinds of data the method needs.

Speech takes (sound, phones, motion of a talking face) and silent expression takes (neutral, apex, neutral), by the
same people, none of which shows speech and expression purely: a talking face carries some expression, and an
expression opens the lips. Both parts are known, so that a separation can be measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from visemo.assets import sha256
from visemo.data.acting import APEX_FRAMES, Manner, apex_weights, energies, expression_take, secondary_expression
from visemo.data.augmentation import change_channel, change_speaker
from visemo.data.coarticulation import speech_curves
from visemo.data.emotions import BASIC, EMOTIONS, FLORENCE
from visemo.data.people import Person, draw_person
from visemo.data.sentences import SENTENCES
from visemo.data.splits import numbered_splits
from visemo.data.store import Pair, Store, StoreWriter, Take, open_store
from visemo.data.utterance import Utterance, join, silence
from visemo.data.visemes import VOWELS
from visemo.data.voices import HUMMED, Voice, installed_voices, voice
from visemo.face.face import Face
from visemo.types import FloatArray, VisemoError
from visemo.units import FPS, frame_count

VERSION = 6  # of this generator: raise it when the same seed gives other data

LONG_VOWEL = 0.13  # s, from which on a vowel counts as stressed

# expressions that a speaker may carry: those that live below the eyes too
CARRIED = tuple(name for name in EMOTIONS if name not in ("neutral", "surprise"))

Progress = Callable[[int, int], None]
Forms = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PlantedConfig:
    """What to plant. `voices` names engines and voices ("flite:slt"); empty means all that are installed.

    The last two subjects of six or more test, the two before validate; these use sentences and a voice that no
    training subject has, and speak half as long as the others.
    """

    seed: int = 0
    minutes: float = 60.0
    subjects: int = 12
    takes: int = 3  # of each expression by each subject
    expressions: tuple[str, ...] = BASIC + FLORENCE
    voices: tuple[str, ...] = ()
    test_voice: str = "festival:slt_hts"
    val_voice: str = "festival:ked"
    augmented: float = 0.5  # share of the training takes whose sound is changed
    manner: Manner = "usual"  # how each kind of take carries the other

    def __post_init__(self) -> None:
        if self.subjects < 3 or not self.minutes > 0 or self.takes < 1 or not self.expressions:
            raise VisemoError(
                f"planted corpus: got {self.subjects} subjects, {self.minutes} minutes, {self.takes} takes of "
                f"{len(self.expressions)} expressions, expected at least 3 subjects and some of everything"
            )
        strangers = [name for name in self.expressions if name not in EMOTIONS]
        if strangers:
            raise VisemoError(f"planted corpus: got expression {strangers[0]!r}, expected one of {', '.join(EMOTIONS)}")

    @staticmethod
    def tiny() -> PlantedConfig:
        """A corpus of seconds that needs no speech engine."""
        voices = tuple(v.id for v in HUMMED)
        few = ("happy", "sad", "angry")
        return PlantedConfig(0, 0.6, 3, 1, few, voices, test_voice=voices[2], val_voice=voices[1])


@dataclass(frozen=True)
class _Role:
    """Who says what in which voice: one subject's share of the corpus."""

    person: Person
    part: str
    voices: tuple[Voice, ...]
    sentences: tuple[int, ...]
    seconds: float


def make_planted(folder: Path | str, config: PlantedConfig, face: Face, progress: Progress | None = None) -> Store:
    """Plant a corpus on `face` and store it at `folder`; the same config, face and engines give the same bytes.

    Parameters
    ----------
    folder : absent or empty.
    config : what to plant.
    face : with the 52 ARKit shapes and lip pairs.
    progress : called with (seconds done, seconds in all) of motion.

    Raises VisemoError for a face without the shapes, missing voices, or a folder in use.
    """
    roles = _cast(config, face)
    below = _below_eyes(face)
    total = round(60 * config.minutes + len(roles) * len(config.expressions) * config.takes * APEX_FRAMES / FPS)
    done = 0.0
    with StoreWriter(
        folder, face, source="planted", fps=FPS, licence="Apache-2.0", generator=_generator(config, face, roles)
    ) as writer:
        for role in roles:
            person = role.person
            writer.add_subject(person.name, person.neutral, person.shapes, style=asdict(person.style), part=role.part)
            forms = energies(person, below)
            for take in _takes(config, face, role, forms):
                take.write(writer, person)
                done += take.entry.seconds
                if progress:
                    progress(min(round(done), total), total)
        rows = writer.takes
        splits = numbered_splits(rows, tuple(role.person.name for role in roles))
        writer.add_split("heldout", splits["faceformer"])
        for name, parts in splits.items():
            writer.add_split(name, parts)
        writer.add_pairs(_pairs(rows, splits["faceformer"]["test"], config.seed))
    return open_store(folder)


@dataclass(frozen=True, eq=False)
class _Planted:
    """One take before it is written: its row, its two pure parts as weights, and its sound."""

    entry: Take
    speech: FloatArray
    expression: FloatArray
    utterance: Utterance | None = None

    def write(self, writer: StoreWriter, person: Person) -> None:
        shapes = person.shapes.reshape(len(person.shapes), -1)
        motion = ((self.speech + self.expression) @ shapes).reshape(len(self.speech), -1, 3)
        writer.add_take(
            self.entry,
            motion,
            self.utterance.sound if self.utterance else None,
            self.utterance.phones if self.utterance else (),
            {"speech_pure": self.speech, "expression_pure": self.expression},
        )


def _seeded(config: PlantedConfig, *name: object) -> tuple[int, ...]:
    """A seed of its own for everything that has a name, so that nothing depends on the order of drawing."""
    return (config.seed, crc32("/".join(map(str, name)).encode()))


def _cast(config: PlantedConfig, face: Face) -> list[_Role]:
    """The people and their shares of sentences, voices and time."""
    names = [f"S{n + 1:02d}" for n in range(config.subjects)]
    held = 2 if config.subjects >= 6 else 1
    parts = ["train"] * (config.subjects - 2 * held) + ["val"] * held + ["test"] * held
    order = np.random.default_rng(_seeded(config, "sentences")).permutation(len(SENTENCES)).tolist()
    tenth = len(order) // 10
    sentences = {
        "val": tuple(order[:tenth]),
        "test": tuple(order[tenth : 2 * tenth]),
        "train": tuple(order[2 * tenth :]),
    }
    voices = _voices(config)
    weight = {"train": 1.0, "val": 0.5, "test": 0.5}
    unit = 60 * config.minutes / sum(weight[part] for part in parts)
    return [
        _Role(
            draw_person(name, face, _seeded(config, "person", name)),
            part,
            voices[part],
            sentences[part],
            unit * weight[part],
        )
        for name, part in zip(names, parts)
    ]


def _voices(config: PlantedConfig) -> dict[str, tuple[Voice, ...]]:
    """The voices of each part; with too few to hold out, parts share the last one."""
    found = tuple(voice(id) for id in config.voices) if config.voices else installed_voices()
    by_id = {v.id: v for v in found}
    test = by_id.get(config.test_voice, found[-1])
    others = tuple(v for v in found if v != test) or (test,)
    val = next((v for v in others if v.id == config.val_voice), others[-1])
    return {"train": tuple(v for v in others if v != val) or (val,), "val": (val,), "test": (test,)}


def _generator(config: PlantedConfig, face: Face, roles: list[_Role]) -> dict[str, object]:
    """What identifies the data: the generator's version, everything it was asked for, and a hash over all that."""
    used = {role.part: [v.id for v in role.voices] for role in roles}
    settings = asdict(config)
    if config.manner == "usual":
        del settings["manner"]  # older corpora, which have no other one, keep their hash
    asked = json.dumps({"version": VERSION, **settings, "used": used}, sort_keys=True)
    shapes = [] if face.shapes is None else [face.shapes]
    identities = [] if face.identities is None else [face.identities]
    digest = sha256(asked.encode(), "\n".join(SENTENCES).encode(), face.hash.encode(), *shapes, *identities)
    return {"version": VERSION, "config": asdict(config), "voices": used, "hash": digest[:16]}


def _takes(config: PlantedConfig, face: Face, role: _Role, forms: Forms) -> Iterator[_Planted]:
    """All takes of one subject: expressions first, then talk until the time is filled."""
    name = role.person.name
    for label in config.expressions:
        apex = apex_weights(label, _seeded(config, "apex", name, label))
        for n in range(config.takes):
            yield _expression(config, face, role.person, f"{name}_{label}_{n + 1}", apex)
    seconds, number = 0.0, 0
    order = np.random.default_rng(_seeded(config, "order", name)).permutation(role.sentences)
    while seconds < role.seconds:
        lines = np.random.default_rng(_seeded(config, "lines", name, number)).choice([1, 2, 3], p=[0.5, 0.35, 0.15])
        chosen = [int(order[(number + k) % len(order)]) for k in range(lines)]
        take = _speech(config, role, f"{name}_s{number:04d}", chosen, forms)
        seconds, number = seconds + take.entry.seconds, number + lines
        yield take


def _expression(config: PlantedConfig, face: Face, person: Person, id: str, apex: FloatArray) -> _Planted:
    """One silent take of the expression that its id names."""
    label = id.split("_")[1]
    random = np.random.default_rng(_seeded(config, id))
    performed = expression_take(face, person, label, apex, random, manner=config.manner)
    row = Take(id, person.name, "expression", APEX_FRAMES, FPS, label=label, notes=performed.notes)
    return _Planted(row, performed.speech, performed.expression)


def _speech(config: PlantedConfig, role: _Role, id: str, sentences: list[int], forms: Forms) -> _Planted:
    """One take of talk, with the expression that the speaker's face carries meanwhile."""
    random = np.random.default_rng(_seeded(config, id))
    shares = np.array([v.share for v in role.voices])
    speaker = role.voices[int(random.choice(len(role.voices), p=shares / shares.sum()))]
    utterance = _say(speaker, [SENTENCES[n] for n in sentences], random)
    changed = role.part == "train" and random.random() < config.augmented
    if changed:
        utterance = change_speaker(utterance, random)
    frames = frame_count(utterance.sound.seconds)
    speech = speech_curves(utterance.phones, frames, style=role.person.style, sound=utterance.sound)
    label = str(random.choice(CARRIED))
    apex = apex_weights(label, _seeded(config, "apex", role.person.name, label))
    stresses = None if config.manner == "usual" else _stresses(utterance)
    expression, share = secondary_expression(apex, frames, forms, random, stresses)
    if changed:
        utterance = replace(utterance, sound=change_channel(utterance.sound, random))
    row = Take(
        id,
        role.person.name,
        "speech",
        frames,
        FPS,
        sentence="+".join(f"sentence{n + 1:03d}" for n in sentences),
        text=" ".join(SENTENCES[n] for n in sentences),
        voice=speaker.id,
        notes={"secondary": label, "share": round(share, 3), "augmented": changed},
    )
    return _Planted(row, speech, expression, utterance)


def _say(speaker: Voice, lines: list[str], random: np.random.Generator) -> Utterance:
    """The lines with pauses before, between and after, at a tempo and pitch of the take's own."""
    stretch, pitch = float(random.uniform(0.82, 1.30)), float(random.uniform(0.85, 1.25))
    parts = [silence(float(random.uniform(0.05, 0.5)))]
    for k, line in enumerate(lines):
        if k:
            parts.append(silence(float(np.exp(random.uniform(np.log(0.15), np.log(1.6))))))
        parts.append(speaker.speak(line, stretch, pitch))
    parts.append(silence(float(random.uniform(0.1, 0.6))))
    return join(parts)


def _stresses(utterance: Utterance) -> np.ndarray:
    """Frames in the middle of the longer vowels."""
    vowels = [phone for phone in utterance.phones if phone.name in VOWELS and phone.end - phone.start > LONG_VOWEL]
    return np.array([0.5 * (vowel.start + vowel.end) * FPS for vowel in vowels])


def _below_eyes(face: Face) -> np.ndarray:
    """(V,) bool: vertices lower than the lids reach."""
    lids = face.regions.get("lids", face.regions.get("eyes"))
    if lids is None:
        raise VisemoError(f"face {face.name}: got no region lids or eyes, expected one")
    return face.template[:, 1] < face.template[lids, 1].min()


def _pairs(takes: tuple[Take, ...], test: tuple[str, ...], seed: int) -> tuple[Pair, ...]:
    """Every speech take of the test subjects with two expression takes of the same person, all labels in turn."""
    random = np.random.default_rng((seed, 7))
    pairs = []
    for subject in sorted({take.subject for take in takes if take.id in test}):
        own = [take for take in takes if take.subject == subject]
        worn = random.permutation([take.id for take in own if take.kind == "expression"]).tolist()
        talks = [take.id for take in own if take.kind == "speech"]
        pairs += [
            Pair(id, worn[(2 * k + j) % len(worn)]) for k, id in enumerate(talks) for j in range(min(2, len(worn)))
        ]
    return tuple(pairs)
