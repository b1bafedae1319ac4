"""Speech engines that are programs of this machine: flite, festival, and espeak-ng through its library.

Each says a text to a file and tells when each phone sounds. Names come out as lower-case CMU phones, `pau` in pauses.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np

from visemo.data.accents import accented
from visemo.data.store import Segment
from visemo.data.utterance import Utterance
from visemo.types import VisemoError, Waveform
from visemo.units import SAMPLE_RATE

FESTIVAL_VOICES = Path("/usr/share/festival/voices")
WORDS_PER_MINUTE = 160  # of espeak-ng at stretch 1
CALM = 50  # espeak-ng's middle pitch; an octave is as much again

# espeak-ng's phonemes of American English, without their marks; "a b" is two phones in one
_ESPEAK = {
    "@": "ax", "@2": "ax", "@L": "ax l", "3": "er", "3:": "er", "V": "ah", "I": "ih", "I2": "ih", "i": "iy", "i:": "iy",
    "u:": "uw", "U": "uh", "E": "eh", "a": "ae", "aa": "ae", "0": "aa", "A:": "aa", "O:": "ao", "O2": "ao", "O": "ao",
    "oU": "ow", "aI": "ay", "eI": "ey", "aU": "aw", "OI": "oy", "A@": "aa r", "o@": "ao r", "O@": "ao r", "e@": "eh r",
    "U@": "uh r", "i@3": "ih r", "i@": "iy ax", "aI@": "ay ax", "aI3": "ay er", "aU@": "aw ax", "t2": "d", "D": "dh",
    "T": "th", "S": "sh", "Z": "zh", "N": "ng", "dZ": "jh", "tS": "ch", "h": "hh", "j": "y", "p": "p", "b": "b",
    "t": "t", "d": "d", "k": "k", "g": "g", "f": "f", "v": "v", "s": "s", "z": "z", "m": "m", "n": "n", "l": "l",
    "r": "r", "w": "w", "x": "k",
}  # fmt: skip
_ESPEAK_MARKS = "',%=|!-#"  # stress, syllable, and variants of the same phone
_ESPEAK_PAUSES = frozenset({"_", "_:", "_::", "__", ""})
_ESPEAK_SILENT = frozenset({";", "?"})  # palatalisation and the glottal stop belong to what comes before


def flite(text: str, voice: str, stretch: float, hertz: float, folder: Path) -> Utterance:
    """Said by the flite voice of that name, at a mean pitch of `hertz`."""
    sound = folder / "speech.wav"
    options = ["--setf", f"duration_stretch={stretch:.4f}", "--setf", f"int_f0_target_mean={hertz:.2f}"]
    ends = run(["flite", "-voice", voice, *options, "-t", text, "-o", str(sound), "-psdur"])
    pairs = [item.rsplit(":", 1) for item in ends.split()]
    return Utterance(_read(sound), _from_ends((name, float(end)) for name, end in pairs))


def festival(text: str, voice: str, stretch: float, hertz: float, folder: Path) -> Utterance:
    """Said by an English voice of festival; `voice` is its folder."""
    tempo = f"(Parameter.set 'Duration_Stretch {stretch:.4f})"
    if voice.endswith("_hts"):  # a statistical voice: its engine has a rate of its own, and keeps its pitch
        tempo = f'(set! hts_engine_params (append hts_engine_params (list (list "-r" {1 / stretch:.4f}))))'
    quoted = text.replace("\\", "").replace('"', "")
    return _festival(
        f"{tempo}\n"
        f"(set! int_lr_params '((target_f0_mean {hertz:.2f}) (target_f0_std 15)"
        f" (model_f0_mean 170) (model_f0_std 34)))\n"
        f'(set! spoken (utt.synth (Utterance Text "{quoted}")))',
        voice,
        folder,
    )


def festival_accented(phones: tuple[Segment, ...], language: str, voice: str, hertz: float, folder: Path) -> Utterance:
    """English `phones` said by a recorded voice of another language, at a falling pitch about `hertz`."""
    rows = accented(phones, language, _diphones(voice))
    whole = rows[-1][1].end
    segments = " ".join(
        f'("{name}" {s.end - s.start:.4f} (0 {hertz * (1.12 - 0.24 * s.start / whole):.1f}))' for name, s in rows
    )
    spoken = _festival(f"(set! spoken (utt.synth (Utterance Segments ({segments}))))", voice, folder)
    return Utterance(spoken.sound, tuple(s for _, s in rows))


def has_festival_voice(voice: str) -> bool:
    """Whether festival's folder of voices has one of that name."""
    return any(FESTIVAL_VOICES.glob(f"*/{voice}"))


def espeak(text: str, voice: str, stretch: float, pitch: float, folder: Path) -> Utterance:
    """Said by espeak-ng's voice of that name, at `pitch` times its own. One process per utterance: see espeak_process.

    Raises VisemoError for a phoneme that is none of American English.
    """
    sound = folder / "speech.wav"
    words, height = round(WORDS_PER_MINUTE / stretch), round(CALM * (1 + log2(pitch)))
    program = Path(__file__).with_name("espeak_process.py")
    lines = run([sys.executable, "-I", str(program), voice, str(words), str(height), str(sound)], text).splitlines()
    heard = _read(sound)
    rate = _rate(sound)
    starts = [(int(at) / rate, name) for at, _, name in (line.partition(" ") for line in lines)]
    spoken = [row for row in starts if row[1] not in _ESPEAK_SILENT] + [(heard.seconds, "_")]
    phones: list[Segment] = []
    for (start, name), (end, _) in pairwise(spoken):
        for segment in _espeak_phones(name, start, end):
            if segment.name == "pau" and phones and phones[-1].name == "pau":
                phones[-1] = phones[-1]._replace(end=end)
            elif segment.end > segment.start:
                phones.append(segment)
    return Utterance(heard, tuple(phones))


def has_espeak() -> bool:
    """Whether espeak-ng's library is installed."""
    return find_spec("espeakng_loader") is not None


def run(command: list[str], text: str | None = None) -> str:
    """Standard output of a speech engine; VisemoError with its own last words when it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise VisemoError(f"{command[0]}: got exit code {done.returncode} ({last}), expected speech; check its voices")
    return done.stdout


def _festival(scheme: str, voice: str, folder: Path) -> Utterance:
    """What the voice says when a `scheme` program sets `spoken`."""
    (folder / "say.scm").write_text(
        f"(voice_{voice})\n{scheme}\n"
        f'(utt.save.segs spoken "{folder}/speech.lab")\n'
        f'(utt.save.wave spoken "{folder}/speech.wav" \'riff)\n'
    )
    run(["festival", "-b", str(folder / "say.scm")])
    rows = [line.split() for line in (folder / "speech.lab").read_text().splitlines() if line.strip() != "#"]
    return Utterance(_read(folder / "speech.wav"), _from_ends((name, float(end)) for end, _, name in rows))


def _diphones(voice: str) -> frozenset[str]:
    """The pairs of phones "a-b" that a recorded voice of festival has, from the index of its recordings."""
    (group,) = FESTIVAL_VOICES.glob(f"*/{voice}/group/*.group")
    with group.open("rb") as file:
        header = dict(
            line.decode().split(maxsplit=1) for line in iter(lambda: file.readline().strip(), b"EST_Header_End")
        )
        return frozenset(file.readline().decode("latin-1").split()[0] for _ in range(int(header["NumEntries"])))


def _espeak_phones(name: str, start: float, end: float) -> list[Segment]:
    """The one or two phones that a phoneme of espeak-ng stands for, the first the longer."""
    plain = name.strip(_ESPEAK_MARKS)
    if plain in _ESPEAK_PAUSES:
        return [Segment("pau", start, end)]
    if plain not in _ESPEAK:
        raise VisemoError(f"espeak-ng: got phoneme {name!r}, expected one of American English; use other words")
    phones = _ESPEAK[plain].split()
    edges = (start, end) if len(phones) == 1 else (start, start + 0.6 * (end - start), end)
    return [Segment(phone, a, b) for phone, (a, b) in zip(phones, pairwise(edges))]


def _from_ends(ends: Iterable[tuple[str, float]]) -> tuple[Segment, ...]:
    """Segments from (name, end time) rows; the engines list no phone twice and start at 0."""
    segments, start = [], 0.0
    for name, end in ends:
        segments.append(Segment("pau" if name in ("pau", "h#", "brth", "ssil") else name, start, end))
        start = end
    return tuple(segments)


def _rate(path: Path) -> int:
    import soundfile

    return soundfile.info(path).samplerate


def _read(path: Path) -> Waveform:
    """A sound file as 16 kHz mono."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32")
    return Waveform(np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32))
