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

# the same people by the names that CoMA and Florence 4D have for them
COMA_SUBJECTS = {
    "COMA_CH01": "FaceTalk_170725_00137_TA", "COMA_CH02": "FaceTalk_170728_03272_TA",
    "COMA_CH03": "FaceTalk_170731_00024_TA", "COMA_CH04": "FaceTalk_170809_00138_TA",
    "COMA_CH05": "FaceTalk_170811_03274_TA", "COMA_CH06": "FaceTalk_170811_03275_TA",
    "COMA_CH07": "FaceTalk_170904_00128_TA", "COMA_CH08": "FaceTalk_170904_03276_TA",
    "COMA_CH09": "FaceTalk_170908_03277_TA", "COMA_CH10": "FaceTalk_170912_03278_TA",
    "COMA_CH11": "FaceTalk_170913_03279_TA", "COMA_CH12": "FaceTalk_170915_00223_TA",
}  # fmt: skip


def subject_of(identity: str) -> str:
    """Who a Florence 4D identity is: a speaker of VOCASET ("CH05" and "COMA_CH05" are one), or nobody else."""
    return COMA_SUBJECTS.get(identity if identity.startswith("COMA_") else f"COMA_{identity}", identity)


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


def shared_splits(takes: Iterable[Take]) -> dict[str, Split]:
    """The divisions of VOCASET for any data set that shares people with it: whoever is no speaker of it trains.

    `heldout` is `faceformer` by the name that every store has.
    """
    takes = tuple(takes)
    speakers = {*VOCASET_TRAIN, *VOCASET_VAL, *VOCASET_TEST}
    others = tuple(take.id for take in takes if take.subject not in speakers)
    splits = {name: {**parts, "train": (*parts["train"], *others)} for name, parts in vocaset_splits(takes).items()}
    return {"heldout": splits["faceformer"], **splits}


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
