"""What the mouth does for each phone of American English: targets of a few gestures, and how hard each insists.

Gestures, 0..1 each, at the effort of ordinary talk: `jaw` (opening), `lower` (lower lip down), `upper` (upper lip
up), `funnel` and `pucker` (rounding), `wide` (corners apart), `tongue` (tip between the teeth). Amplitudes follow
captured talk, where much of the opening is the lips' own and the jaw moves little.
"""

from __future__ import annotations

from dataclasses import dataclass

GESTURES = ("jaw", "lower", "upper", "funnel", "pucker", "wide", "tongue")

SILENCE = "pau"
BILABIALS = frozenset({"p", "b", "m"})
LABIODENTALS = frozenset({"f", "v"})
OPEN_VOWELS = frozenset({"aa", "ae", "ao", "ay", "aw"})
VOWELS = frozenset("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split())
CONSONANTS = frozenset("b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh".split())
PHONES: tuple[str, ...] = (SILENCE, *sorted(VOWELS | CONSONANTS))

# a diphthong glides: (first, second, share of the first)
GLIDES = {
    "aw": ("aa", "uw", 0.55), "ay": ("aa", "ih", 0.55), "ey": ("eh", "iy", 0.50),
    "ow": ("ao", "uw", 0.50), "oy": ("ao", "ih", 0.55),
}  # fmt: skip


@dataclass(frozen=True)
class Viseme:
    """Targets in the order of GESTURES; `hold` is how strongly each of (jaw, lips, rounding) resists neighbours."""

    targets: tuple[float, ...]
    hold: tuple[float, ...]


_TABLE: dict[str, tuple[float, ...]] = {
    #     jaw   lower upper funnel pucker wide tongue | jaw lips round
    "aa": (0.31, 0.28, 0.20, 0.04, 0.00, 0.00, 0.00, 1.0, 1.0, 0.8),
    "ae": (0.28, 0.35, 0.27, 0.00, 0.00, 0.16, 0.00, 1.0, 1.0, 0.8),
    "ah": (0.21, 0.25, 0.16, 0.03, 0.00, 0.00, 0.00, 0.8, 0.8, 0.5),
    "ao": (0.27, 0.24, 0.13, 0.30, 0.12, 0.00, 0.00, 1.0, 1.0, 1.0),
    "ax": (0.13, 0.17, 0.10, 0.02, 0.00, 0.00, 0.00, 0.4, 0.4, 0.2),
    "eh": (0.21, 0.29, 0.20, 0.00, 0.00, 0.14, 0.00, 0.9, 0.9, 0.7),
    "er": (0.13, 0.18, 0.13, 0.22, 0.12, 0.00, 0.00, 0.8, 0.8, 0.8),
    "ih": (0.13, 0.23, 0.16, 0.00, 0.00, 0.16, 0.00, 0.7, 0.7, 0.6),
    "iy": (0.08, 0.25, 0.18, 0.00, 0.00, 0.32, 0.00, 0.9, 0.9, 1.0),
    "uh": (0.13, 0.13, 0.07, 0.26, 0.20, 0.00, 0.00, 0.8, 0.8, 0.9),
    "uw": (0.08, 0.06, 0.04, 0.26, 0.48, 0.00, 0.00, 0.9, 1.0, 1.2),
    "w": (0.05, 0.03, 0.02, 0.22, 0.52, 0.00, 0.00, 0.8, 1.0, 1.2),
    "y": (0.07, 0.20, 0.14, 0.00, 0.00, 0.22, 0.00, 0.6, 0.5, 0.7),
    "l": (0.14, 0.21, 0.12, 0.00, 0.00, 0.03, 0.03, 0.5, 0.4, 0.15),
    "r": (0.09, 0.14, 0.11, 0.28, 0.18, 0.00, 0.00, 0.6, 0.6, 0.8),
    "t": (0.07, 0.17, 0.11, 0.00, 0.00, 0.06, 0.00, 0.6, 0.4, 0.15),
    "d": (0.07, 0.17, 0.11, 0.00, 0.00, 0.06, 0.00, 0.6, 0.4, 0.15),
    "n": (0.08, 0.17, 0.11, 0.00, 0.00, 0.05, 0.00, 0.5, 0.4, 0.15),
    "s": (0.03, 0.24, 0.17, 0.00, 0.00, 0.14, 0.00, 1.1, 0.7, 0.25),
    "z": (0.03, 0.24, 0.17, 0.00, 0.00, 0.14, 0.00, 1.1, 0.7, 0.25),
    "sh": (0.04, 0.22, 0.20, 0.42, 0.14, 0.00, 0.00, 1.0, 0.9, 1.0),
    "zh": (0.04, 0.22, 0.20, 0.42, 0.14, 0.00, 0.00, 1.0, 0.9, 1.0),
    "ch": (0.04, 0.22, 0.20, 0.40, 0.14, 0.00, 0.00, 1.0, 0.9, 1.0),
    "jh": (0.04, 0.22, 0.20, 0.38, 0.14, 0.00, 0.00, 1.0, 0.9, 1.0),
    "k": (0.11, 0.17, 0.11, 0.00, 0.00, 0.04, 0.00, 0.4, 0.3, 0.1),
    "g": (0.11, 0.17, 0.11, 0.00, 0.00, 0.04, 0.00, 0.4, 0.3, 0.1),
    "ng": (0.11, 0.17, 0.11, 0.00, 0.00, 0.04, 0.00, 0.4, 0.3, 0.1),
    "hh": (0.13, 0.16, 0.10, 0.00, 0.00, 0.00, 0.00, 0.1, 0.1, 0.05),
    "th": (0.09, 0.20, 0.12, 0.00, 0.00, 0.06, 0.14, 0.8, 0.6, 0.3),
    "dh": (0.09, 0.20, 0.12, 0.00, 0.00, 0.06, 0.12, 0.6, 0.5, 0.2),
    "p": (0.05, 0.06, 0.03, 0.00, 0.00, 0.00, 0.00, 0.7, 0.7, 0.1),
    "b": (0.05, 0.06, 0.03, 0.00, 0.00, 0.00, 0.00, 0.7, 0.7, 0.1),
    "m": (0.05, 0.05, 0.03, 0.00, 0.00, 0.00, 0.00, 0.7, 0.7, 0.1),
    "f": (0.05, 0.00, 0.06, 0.00, 0.00, 0.04, 0.00, 0.9, 0.9, 0.2),
    "v": (0.05, 0.00, 0.06, 0.00, 0.00, 0.04, 0.00, 0.9, 0.9, 0.2),
    SILENCE: (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.9, 0.9, 0.5),
}  # fmt: skip
VISEMES: dict[str, Viseme] = {name: Viseme(row[:7], row[7:]) for name, row in _TABLE.items()}
