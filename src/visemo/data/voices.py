"""Voices that say a text and tell when each phone sounds: speech engines found at run time, and one in numpy.

flite and festival are Debian packages, espeak-ng a library from PyPI; `hum` is a small formant synthesiser of our
own, which needs nothing and is used by tests. Recorded voices of other languages speak English with an accent.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from visemo.data.engines import espeak, festival, festival_accented, flite, has_espeak, has_festival_voice
from visemo.data.hum import hum
from visemo.data.utterance import Utterance
from visemo.types import VisemoError


@dataclass(frozen=True)
class Voice:
    """A speaker: `engine` (flite, festival, espeak, hum), its `name` there, its mean `pitch` in Hz, the language that
    it was made for, and how often a corpus should let it speak, against other voices."""

    engine: str
    name: str
    pitch: float
    language: str = "english"
    share: float = 1.0

    @property
    def id(self) -> str:
        return f"{self.engine}:{self.name}"

    @property
    def installed(self) -> bool:
        """Whether this machine has the engine and this voice."""
        if self.engine == "flite":
            return shutil.which("flite") is not None
        if self.engine == "festival":
            needed = [_FESTIVAL_FOLDERS.get(self.name, self.name)]
            if self.language != "english":  # an English voice tells it how the words are said
                needed.append(_FESTIVAL_FOLDERS["kal"])
            return shutil.which("festival") is not None and all(map(has_festival_voice, needed))
        return self.engine != "espeak" or has_espeak()

    def speak(self, text: str, stretch: float = 1.0, pitch: float = 1.0) -> Utterance:
        """Say `text`, `stretch` times slower and at `pitch` times the voice's own mean pitch.

        Raises VisemoError when the engine fails.
        """
        if self.engine == "hum":
            tract = {"low": 1.08, "middle": 1.0, "high": 0.9}[self.name]
            return _tiled(Utterance(*hum(text, stretch, self.pitch * pitch, tract=tract)))
        with tempfile.TemporaryDirectory(prefix="visemo-voice-") as path:
            folder, hertz = Path(path), self.pitch * pitch
            if self.engine == "flite":
                spoken = flite(text, self.name, stretch, hertz, folder)
            elif self.engine == "espeak":
                spoken = espeak(text, self.name, stretch, pitch, folder)
            elif self.language == "english":
                spoken = festival(text, _FESTIVAL_FOLDERS[self.name], stretch, hertz, folder)
            else:
                phones = festival(text, _FESTIVAL_FOLDERS["kal"], stretch, hertz, folder).phones
                spoken = festival_accented(phones, self.language, self.name, hertz, folder)
        return _tiled(spoken)


_FESTIVAL_FOLDERS = {"slt_hts": "cmu_us_slt_arctic_hts", "kal": "kal_diphone", "ked": "ked_diphone"}
PACKAGES = (
    "flite festival festlex-cmu festlex-poslex festvox-us-slt-hts festvox-kallpc16k festvox-kdlpc16k "
    "festvox-italp16k festvox-itapc16k festvox-czech-dita festvox-czech-krb festvox-czech-machac festvox-czech-ph "
    "festvox-suopuhe-lj festvox-suopuhe-mv"
)
# a recorded English voice says what its labels say; an accent and a formant synthesiser lend variety
_ACCENT, _FORMANTS = 0.3, 0.25
_INSTALL = f"install visemo[corpus], or the Debian packages {PACKAGES}"

SPOKEN = (
    Voice("flite", "slt", 170.0),
    Voice("flite", "rms", 95.0),
    Voice("flite", "awb", 128.0),
    Voice("flite", "kal16", 105.0),
    Voice("festival", "kal", 105.0),
    Voice("festival", "ked", 105.0),
    Voice("festival", "slt_hts", 170.0),
    Voice("festival", "lp_diphone", 190.0, "italian", _ACCENT),
    Voice("festival", "pc_diphone", 115.0, "italian", _ACCENT),
    Voice("festival", "czech_dita", 190.0, "czech", _ACCENT),
    Voice("festival", "czech_krb", 230.0, "czech", _ACCENT),
    Voice("festival", "czech_machac", 110.0, "czech", _ACCENT),
    Voice("festival", "czech_ph", 110.0, "czech", _ACCENT),
    Voice("festival", "suo_fi_lj_diphone", 190.0, "finnish", _ACCENT),
    Voice("festival", "hy_fi_mv_diphone", 105.0, "finnish", _ACCENT),
    *(Voice("espeak", f"en-us+{name}", 105.0, share=_FORMANTS) for name in ("m1", "m3", "m7")),
    *(Voice("espeak", f"en-us+{name}", 190.0, share=_FORMANTS) for name in ("f1", "f3", "f5")),
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
        raise VisemoError(f"voice: got {id}, which is not installed; {_INSTALL}")
    return known[id]


def installed_voices() -> tuple[Voice, ...]:
    """Every spoken voice of this machine. Raises VisemoError saying what to install when there is none."""
    found = tuple(v for v in SPOKEN if v.installed)
    if not found:
        raise VisemoError(f"voices: got no speech engine, expected at least one; {_INSTALL}")
    return found


def _tiled(utterance: Utterance) -> Utterance:
    """Make the last phone end with the sound: engines round the final pause."""
    seconds = utterance.sound.seconds
    phones = [s for s in utterance.phones if s.start < seconds]
    phones[-1] = phones[-1]._replace(end=seconds)
    return replace(utterance, phones=tuple(phones))
