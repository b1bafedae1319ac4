"""Voices that say a text and tell when each phone sounds: speech engines found at run time, and one in numpy.

flite (voices slt, rms, awb, kal16) and festival (slt_hts, kal, ked) are Debian packages run as programs;
`hum` is a small formant synthesiser of our own, which needs nothing and is used by tests.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from visemo.data.hum import hum
from visemo.data.store import Segment
from visemo.types import FloatArray, VisemoError, Waveform
from visemo.units import SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Utterance:
    """Sound (16 kHz mono) and its phones, which tile it from 0 to its end."""

    sound: Waveform
    phones: tuple[Segment, ...]


@dataclass(frozen=True)
class Voice:
    """A speaker: `engine` (flite, festival, hum) and its `name` there. `pitch` is its mean in Hz."""

    engine: str
    name: str
    pitch: float

    @property
    def id(self) -> str:
        return f"{self.engine}:{self.name}"

    @property
    def installed(self) -> bool:
        """Whether this machine has the engine and this voice."""
        if self.engine == "flite":
            return shutil.which("flite") is not None
        if self.engine == "festival":
            folders = Path("/usr/share/festival/voices").glob(f"*/{_FESTIVAL_FOLDERS[self.name]}")
            return shutil.which("festival") is not None and any(folders)
        return True

    def speak(self, text: str, stretch: float = 1.0, pitch: float = 1.0) -> Utterance:
        """Say `text`, `stretch` times slower and at `pitch` times the voice's own mean pitch.

        Raises VisemoError when the engine fails.
        """
        with tempfile.TemporaryDirectory(prefix="visemo-voice-") as folder:
            utterance = _ENGINES[self.engine](self, text, stretch, pitch, Path(folder))
        return _tiled(utterance)


_FESTIVAL_FOLDERS = {"slt_hts": "cmu_us_slt_arctic_hts", "kal": "kal_diphone", "ked": "ked_diphone"}
_PACKAGES = "flite, festival, festlex-cmu, festlex-poslex, festvox-us-slt-hts, festvox-kallpc16k, festvox-kdlpc16k"

SPOKEN = (
    Voice("flite", "slt", 170.0),
    Voice("flite", "rms", 95.0),
    Voice("flite", "awb", 128.0),
    Voice("flite", "kal16", 105.0),
    Voice("festival", "kal", 105.0),
    Voice("festival", "ked", 105.0),
    Voice("festival", "slt_hts", 170.0),
)
HUMMED = (Voice("hum", "low", 105.0), Voice("hum", "middle", 150.0), Voice("hum", "high", 210.0))


def voice(id: str) -> Voice:
    """The voice called "engine:name".

    Raises VisemoError for an unknown voice (with the list) or one that is not installed (with what to install).
    """
    known = {v.id: v for v in SPOKEN + HUMMED}
    if id not in known:
        raise VisemoError(f"voice: got {id!r}, expected one of {', '.join(known)}")
    if not known[id].installed:
        raise VisemoError(f"voice: got {id}, which is not installed; install the Debian packages {_PACKAGES}")
    return known[id]


def installed_voices() -> tuple[Voice, ...]:
    """Every spoken voice of this machine. Raises VisemoError naming the packages when there is none."""
    found = tuple(v for v in SPOKEN if v.installed)
    if not found:
        raise VisemoError(
            f"voices: got no speech engine, expected at least one; install the Debian packages {_PACKAGES}"
        )
    return found


def _run(command: list[str]) -> str:
    """Standard output of a speech engine; its own last words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise VisemoError(f"{command[0]}: got exit code {done.returncode} ({last}), expected speech; check its voices")
    return done.stdout


def _flite(voice: Voice, text: str, stretch: float, pitch: float, folder: Path) -> Utterance:
    sound = folder / "speech.wav"
    options = ["--setf", f"duration_stretch={stretch:.4f}", "--setf", f"int_f0_target_mean={voice.pitch * pitch:.2f}"]
    ends = _run(["flite", "-voice", voice.name, *options, "-t", text, "-o", str(sound), "-psdur"])
    pairs = [item.rsplit(":", 1) for item in ends.split()]
    return Utterance(_read(sound), _from_ends((name, float(end)) for name, end in pairs))


def _festival(voice: Voice, text: str, stretch: float, pitch: float, folder: Path) -> Utterance:
    command = {"kal": "voice_kal_diphone", "ked": "voice_ked_diphone", "slt_hts": "voice_cmu_us_slt_arctic_hts"}
    tempo = f"(Parameter.set 'Duration_Stretch {stretch:.4f})"
    if voice.name == "slt_hts":  # a statistical voice: its engine has a rate of its own, and keeps its pitch
        tempo = f'(set! hts_engine_params (append hts_engine_params (list (list "-r" {1 / stretch:.4f}))))'
    quoted = text.replace("\\", "").replace('"', "")
    (folder / "say.scm").write_text(
        f"({command[voice.name]})\n"
        f"{tempo}\n"
        f"(set! int_lr_params '((target_f0_mean {voice.pitch * pitch:.2f}) (target_f0_std 15)"
        f" (model_f0_mean 170) (model_f0_std 34)))\n"
        f'(set! spoken (utt.synth (Utterance Text "{quoted}")))\n'
        f'(utt.save.segs spoken "{folder}/speech.lab")\n'
        f'(utt.save.wave spoken "{folder}/speech.wav" \'riff)\n'
    )
    _run(["festival", "-b", str(folder / "say.scm")])
    rows = [line.split() for line in (folder / "speech.lab").read_text().splitlines() if line.strip() != "#"]
    return Utterance(_read(folder / "speech.wav"), _from_ends((name, float(end)) for end, _, name in rows))


def _hum(voice: Voice, text: str, stretch: float, pitch: float, _: Path) -> Utterance:
    sound, phones = hum(text, stretch, voice.pitch * pitch, tract={"low": 1.08, "middle": 1.0, "high": 0.9}[voice.name])
    return Utterance(sound, phones)


_ENGINES: dict[str, Callable[[Voice, str, float, float, Path], Utterance]] = {
    "flite": _flite,
    "festival": _festival,
    "hum": _hum,
}


def _from_ends(ends) -> tuple[Segment, ...]:
    """Segments from (name, end time) rows; the engines list no phone twice and start at 0."""
    segments, start = [], 0.0
    for name, end in ends:
        segments.append(Segment("pau" if name in ("pau", "h#", "brth", "ssil") else name, start, end))
        start = end
    return tuple(segments)


def _read(path: Path) -> Waveform:
    """A sound file as 16 kHz mono."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32")
    return Waveform(np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32))


def _tiled(utterance: Utterance) -> Utterance:
    """Make the last phone end with the sound: engines round the final pause."""
    seconds = utterance.sound.seconds
    phones = [s for s in utterance.phones if s.start < seconds]
    phones[-1] = phones[-1]._replace(end=seconds)
    return replace(utterance, phones=tuple(phones))


def silence(seconds: float) -> Utterance:
    """Nothing said for a while."""
    count = round(seconds * SAMPLE_RATE)
    return Utterance(Waveform(np.zeros(count, np.float32)), (Segment("pau", 0.0, count / SAMPLE_RATE),))


def join(utterances: list[Utterance]) -> Utterance:
    """One after the other; neighbouring pauses become one."""
    sound: FloatArray = np.concatenate([u.sound.samples for u in utterances])
    phones: list[Segment] = []
    offset = 0.0
    for utterance in utterances:
        for segment in utterance.phones:
            moved = Segment(segment.name, segment.start + offset, segment.end + offset)
            if phones and moved.name == phones[-1].name == "pau":
                phones[-1] = phones[-1]._replace(end=moved.end)
            else:
                phones.append(moved)
        offset += utterance.sound.seconds
    return Utterance(Waveform(sound), tuple(phones))
