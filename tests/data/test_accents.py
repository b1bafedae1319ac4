"""English phones as another language says them: the nearest that was recorded, and labels of what is heard."""

import random
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visemo.data.accents import ACCENTS, MISSING, _parts, accented
from visemo.data.store import Segment
from visemo.data.visemes import BILABIALS, LABIODENTALS, PHONES

LANGUAGES = tuple(ACCENTS)


def spread(names: list[str]) -> list[Segment]:
    return [Segment(name, 0.1 * k, 0.1 * (k + 1)) for k, name in enumerate(names)]


class Everything(frozenset):
    def __contains__(self, _):
        return True


def test_phones_are_the_nearest_and_labelled_with_what_is_said():
    said = accented(spread(["pau", "dh", "ae", "m", "ay"]), "italian", Everything())
    assert [(native, s.name) for native, s in said] == [
        ("#", "pau"), ("d", "d"), ("E", "eh"), ("m", "m"), ("a1", "aa"), ("i", "iy"),
    ]  # fmt: skip
    assert said[4][1].end == said[5][1].start == pytest.approx(0.455)


def test_a_phone_the_language_lacks_lengthens_the_one_before():
    said = accented(spread(["pau", "hh", "aa"]), "italian", Everything())
    assert [(native, s.start, s.end) for native, s in said] == [("#", 0.0, 0.2), ("a1", 0.2, pytest.approx(0.3))]


def test_pairs_that_were_never_recorded_are_avoided():
    said = accented(spread(["d", "pau"]), "czech", frozenset({"t-#"}))
    assert [(native, s.name) for native, s in said] == [("t", "t"), ("#", "pau")]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(PHONES), min_size=1, max_size=4),
    st.sampled_from(LANGUAGES),
    st.integers(0, 2**32 - 1),
)
def test_the_choice_is_the_cheapest_of_all(names, language, seed):
    def cost(path: list[str]) -> int:
        natives = [choice.partition("=")[0] for choice in path]
        ranks = sum(options.index(choice) for options, choice in zip(all_options, path))
        return ranks + sum(MISSING for a, b in pairwise(natives) if f"{a}-{b}" not in recorded)

    table = ACCENTS[language]
    parts = [part.name for segment in spread(names) for part in _parts(segment)]
    all_options = [table.get(name, name).split() for name in parts if table.get(name, name)]
    if not all_options:
        return
    natives = sorted({choice.partition("=")[0] for options in all_options for choice in options})
    chance = random.Random(seed)
    recorded = {f"{a}-{b}" for a in natives for b in natives if chance.random() < 0.5}
    said = accented(spread(names), language, recorded)
    chosen = [
        next(c for c in options if c.partition("=")[0] == native and (c.partition("=")[2] or part) == s.name)
        for (native, s), options, part in zip(said, all_options, [n for n in parts if table.get(n, n)])
    ]
    assert cost(chosen) == min(cost(list(path)) for path in product(*all_options))


@pytest.mark.parametrize("language", LANGUAGES)
def test_lips_that_close_still_close(language):
    """Whatever replaces a phone, the label is an English one; /p b m/ stay bilabial and /f v/ labiodental."""
    for phone in PHONES:
        labels = {c.partition("=")[2] or phone for c in ACCENTS[language].get(phone, phone).split()}
        assert labels <= set(PHONES)
        for closed in (BILABIALS, LABIODENTALS):
            if phone in closed:
                assert labels <= closed
