"""English said by recorded voices of other languages: each phone as the nearest that the voice was recorded with.

More people than the English voices are heard that way. A phone is labelled with what is said, not with what was
meant: a language without TH says T, and the lips show T.
"""

from __future__ import annotations

from collections.abc import Set

from visemo.data.store import Segment

_PARTS = {
    "ay": ("aa", "iy", 0.55), "aw": ("aa", "uw", 0.55), "ey": ("eh", "iy", 0.5), "ow": ("ao", "uw", 0.5),
    "oy": ("ao", "iy", 0.55), "er": ("ah", "r", 0.6), "ch": ("t", "sh", 0.5), "jh": ("d", "zh", 0.5),
}  # fmt: skip
MISSING = 10  # what a pair of phones that was never recorded costs, in places of the lists below

# English phone -> what may stand for it, the nearest first, "=label" where that is another phone. An English phone
# that is not listed is itself, and one with an empty list is left out.
_COMMON = {
    "pau": "#", "th": "t=t", "dh": "d=d t=t", "r": "r=d", "d": "d t=t", "z": "z s=s", "b": "b p=p", "g": "g k=k",
    "v": "v f=f",
}  # fmt: skip
ACCENTS: dict[str, dict[str, str]] = {
    "italian": _COMMON | {
        "aa": "a1 a", "ae": "E=eh", "ah": "a", "ao": "O o", "eh": "E e", "ih": "e i=iy", "ax": "e=ih", "iy": "i i1 j=y",
        "uh": "o u=uw", "uw": "u u1 w=w", "w": "w u", "y": "j i=iy", "hh": "", "sh": "S s=s", "zh": "Z dZ S=sh",
        "ng": "ng n=n", "m": "m nf=m",
    },
    "czech": _COMMON | {
        "aa": "a: a", "ae": "e:=eh e=eh", "ah": "a a:", "ao": "o: o", "eh": "e e:", "ih": "i i:=iy", "ax": "e=eh a=ah",
        "iy": "i: i j=y", "uh": "u u:=uw", "uw": "u: u", "w": "u u: v=v", "y": "j i=iy", "hh": "h ch", "sh": "s~",
        "zh": "z~ s~=sh", "ng": "n* n=n",
    },
    "finnish": _COMMON | {
        "aa": "a: a", "ae": "@ @:", "ah": "a a:", "ao": "o: o", "eh": "e e:", "ih": "i i:=iy", "ax": "e=eh a=ah",
        "iy": "i: i j=y", "uh": "u u:=uw", "uw": "u: u", "w": "u u: v=v", "y": "j i=iy", "hh": "h", "z": "s=s s:=s",
        "sh": "S s=s", "zh": "S=sh s=s", "ng": "N n=n", "s": "s s:", "l": "l l:", "m": "m m:", "n": "n n:",
        "t": "t t:", "d": "d t=t t:=t",
    },
}  # fmt: skip


def accented(
    phones: tuple[Segment, ...] | list[Segment], language: str, recorded: Set[str]
) -> list[tuple[str, Segment]]:
    """(phone of the voice, what is said and when) for English `phones`, which it spans.

    Of all that may stand for each, the sequence is chosen that is nearest and needs the fewest pairs "a-b" that are
    not `recorded`. A phone that the language leaves out lengthens the one before.
    """
    table = ACCENTS[language]
    kept: list[tuple[Segment, list[str]]] = []
    for segment in (part for whole in phones for part in _parts(whole)):
        choices = table.get(segment.name, segment.name).split()
        if choices:
            kept.append((segment, choices))
        elif kept:
            kept[-1] = (kept[-1][0]._replace(end=segment.end), kept[-1][1])
    best: dict[str, tuple[float, list[str]]] = {"": (0.0, [])}  # the last phone -> cost, choices so far
    for _, choices in kept:
        best = {
            choice.partition("=")[0]: min(
                (cost + rank + (MISSING if last and f"{last}-{choice.partition('=')[0]}" not in recorded else 0),
                 [*path, choice])
                for last, (cost, path) in best.items()
            )
            for rank, choice in enumerate(choices)
        }  # fmt: skip
    path = min(best.values())[1]
    said = [(choice.partition("="), segment) for choice, (segment, _) in zip(path, kept)]
    return [(native, segment._replace(name=label or segment.name)) for (native, _, label), segment in said]


def _parts(segment: Segment) -> tuple[Segment, ...]:
    if segment.name not in _PARTS:
        return (segment,)
    first, second, share = _PARTS[segment.name]
    middle = segment.start + share * (segment.end - segment.start)
    return Segment(first, segment.start, middle), Segment(second, middle, segment.end)
