"""Which takes train, which validate, which test. Takes are divided by subject, so nobody is seen twice."""

from __future__ import annotations

import re
from collections.abc import Iterable

from visemo.data.store import Take
from visemo.types import VisemoError

Split = dict[str, tuple[str, ...]]

# VOCASET's speakers in the order of the published training list (it is the order of the style vector)
VOCASET_TRAIN = (
    "FaceTalk_170728_03272_TA", "FaceTalk_170904_00128_TA", "FaceTalk_170725_00137_TA", "FaceTalk_170915_00223_TA",
    "FaceTalk_170811_03274_TA", "FaceTalk_170913_03279_TA", "FaceTalk_170904_03276_TA", "FaceTalk_170912_03278_TA",
)  # fmt: skip
VOCASET_VAL = ("FaceTalk_170811_03275_TA", "FaceTalk_170908_03277_TA")
VOCASET_TEST = ("FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA")


def by_subject(takes: Iterable[Take], train: Iterable[str], val: Iterable[str], test: Iterable[str]) -> Split:
    """All takes of the named subjects. Raises VisemoError when a subject stands in two parts."""
    parts = {"train": tuple(train), "val": tuple(val), "test": tuple(test)}
    named = [subject for subjects in parts.values() for subject in subjects]
    if len(named) != len(set(named)):
        raise VisemoError(f"split: got subjects {parts}, expected each in one part only")
    takes = tuple(takes)
    return {part: tuple(t.id for t in takes if t.subject in subjects) for part, subjects in parts.items()}


def vocaset_splits(takes: Iterable[Take]) -> dict[str, Split]:
    """The two named divisions of VOCASET (12 speakers x 40 sentences).

    `faceformer`: 8/2/2 speakers, training on all sentences, validation and test on sentences 21-40 (39 test takes).
    `paper`: three test speakers with all their sentences (119 takes): FaceFormer's two and 03275.
    """
    takes = tuple(takes)
    late = tuple(t for t in takes if t.subject in VOCASET_TRAIN or _number(t) > 20)
    moved = VOCASET_VAL[0]
    return {
        "faceformer": by_subject(late, VOCASET_TRAIN, VOCASET_VAL, VOCASET_TEST),
        "paper": by_subject(takes, VOCASET_TRAIN, VOCASET_VAL[1:], (*VOCASET_TEST, moved)),
    }


def numbered_splits(takes: Iterable[Take], subjects: tuple[str, ...]) -> dict[str, Split]:
    """The same divisions for subjects that are known by their order only: the last two (`faceformer`) or three
    (`paper`) test, the two before validate (one in `paper`). Needs three subjects or more."""
    if len(subjects) < 3:
        raise VisemoError(f"split: got {len(subjects)} subjects, expected at least 3: train, validate, test")
    takes = tuple(takes)
    held = 2 if len(subjects) >= 6 else 1
    train, val, test = subjects[: -2 * held], subjects[-2 * held : -held], subjects[-held:]
    splits = {"faceformer": by_subject(takes, train, val, test)}
    if held == 2:
        splits["paper"] = by_subject(takes, train, val[:1], (*val[1:], *test))
    return splits


def _number(take: Take) -> int:
    """40 of "sentence40"; expression takes, which have no sentence, count as late ones."""
    digits = re.search(r"(\d+)$", take.sentence)
    return int(digits.group(1)) if digits else 1 << 30
