"""Closures: read off phones where they are known, off the lips where they are not."""

from types import SimpleNamespace

import numpy as np
import pytest

from visemo.data.dataset import Segment
from visemo.evaluate.closures import Closures, own_closures
from visemo.evaluate.sheet import Table

PHONES = (Segment("pau", 0, 0.2), Segment("m", 0.2, 0.3), Segment("aa", 0.3, 0.8), Segment("p", 0.8, 0.9))


def closures_of(phones, gap):
    return Closures.of(SimpleNamespace(phones=lambda: phones), np.asarray(gap, float))


def test_closures_of_a_take_are_dips_after_it_was_open():
    gap = np.array([0, 0, 3, 4, 0.8, 0.2, 0.5, 1.5, 0.4, 3, 0.9, 0.9, 5.0])
    # closed from the start; 1.5 mm is not open; two frames alike: the first
    assert own_closures(gap) == [5, 10]
    assert own_closures(np.zeros(4)) == own_closures(np.full(4, 3.0)) == []


def test_phones_say_when_lips_have_to_meet():
    gap = np.full(40, 4.0)
    gap[8], gap[24] = 0.9, 1.1  # /m/ around frame 7.5 shuts, /p/ around frame 25.5 nearly
    found = closures_of(PHONES, gap)
    assert found.name == "closure recall at /p b m/" and found.times == pytest.approx((0.25, 0.85))
    table = Table("", "")
    found.note(table, "take", {"truth": gap, "shut": np.zeros(40), "open": np.full(40, 2.0)})
    assert {row.mode: row.value for row in table.rows} == {"truth": 50, "shut": 100, "open": 0}
    # what is said after the motion ends is nobody's fault; nothing to close is nothing to report
    assert closures_of(PHONES, gap[:10]).times == pytest.approx((0.25,))
    empty = closures_of(PHONES[:1], gap)
    empty.note(table, "other", {"truth": gap})
    assert not empty.times and table.column("closure recall at /p b m/", "truth").values.keys() == {"take"}


def test_without_phones_a_motion_has_to_come_as_near_as_the_take_itself():
    gap = np.full(30, 4.0)
    gap[5], gap[20] = 0.8, 0.1
    found = closures_of((), gap)
    assert found.name == "closure recall" and found.limits == pytest.approx((1.8, 1.1))
    table = Table("", "")
    found.note(table, "take", {"wider": np.where(gap < 1, 1.5, 4.0), "same": gap})
    assert {row.mode: row.value for row in table.rows} == {"wider": 50, "same": 100}
