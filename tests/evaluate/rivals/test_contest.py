"""The contest end to end on a planted toy: measured once, kept, and refused where it would be another one."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from toy_corpus import make_toy_store
from visemo.data.store import Segment
from visemo.evaluate.metrics import lip_gap
from visemo.evaluate.rivals.blends import NAIVE, Blend, Blends
from visemo.evaluate.rivals.contest import TRUTH, Contest, ContestConfig, chosen_settings, slug
from visemo.evaluate.rivals.marks import Marker, Marks, standings
from visemo.evaluate.rivals.scene import Scene
from visemo.evaluate.rivals.showcase import Showcase, choose_frames, choose_pair
from visemo.types import VisemoError
from visemo.units import FPS

FITS: list[float] = []


@dataclass(frozen=True)
class Counted:
    """Blends that count how often they are fitted; the share 0.7 of the talk is best of these."""

    name: str = "counted"
    steps: int = 3
    settings: tuple = field(default=({"talk": 0.1}, {"talk": 0.7}, {"talk": 5.0}))

    def fit(self, lessons, setting):
        FITS.append(setting["talk"])
        return Blend(setting["talk"], 0.3)


SUM = Blends(NAIVE, ({"talk": 1.0, "face": 1.0},))


@pytest.fixture(scope="module")
def toy(tiny_face, tmp_path_factory):
    return make_toy_store(tmp_path_factory.mktemp("contest") / "toy", tiny_face, subjects=6, takes=2)


@pytest.fixture()
def contest(toy, tiny_face, tmp_path):
    config = ContestConfig(validation=2, pairs=3)
    return lambda *schools, **other: Contest(
        schools or (SUM, Counted()), [toy], tiny_face, tmp_path / "out", **{"config": config, **other}
    )


def value(rows, method, measure):
    return next(row.value for row in rows if row.method == method and row.measure == measure)


def test_a_contest_searches_measures_and_keeps_everything(contest, tmp_path):
    FITS.clear()
    said = []
    rows = contest(progress=said.append).run()
    assert FITS == [0.1, 0.7, 5.0], "each setting is fitted once; the best is kept"
    assert chosen_settings(tmp_path / "out") == {"counted": "talk 0.7"}
    assert value(rows, TRUTH, "error, all vertices") == 0
    assert value(rows, TRUTH, "expression kept at the lips") == pytest.approx(1)
    assert value(rows, NAIVE, "ratio to the naive sum, all vertices") == 1
    own = value(rows, "counted", "error, all vertices")
    ratio = value(rows, "counted", "ratio to the naive sum, all vertices")
    assert ratio == pytest.approx(own / value(rows, NAIVE, "error, all vertices"))
    assert said[-1] == "pair 3 of 3" and {row.n for row in rows if row.measure.startswith("error")} == {3}
    saved = json.loads((tmp_path / "out" / "standings.json").read_text())
    assert [row["value"] for row in saved if row["measure"].startswith("error")] == [
        row.value for row in rows if row.measure.startswith("error")
    ]
    assert contest().run()[:4] == rows[:4] and FITS == [0.1, 0.7, 5.0], "nothing is computed again"


def test_what_is_missing_is_made_up_for(contest, tmp_path):
    FITS.clear()
    rows = contest().run()
    lost = next((tmp_path / "out" / "marks" / "counted").iterdir())
    before = lost.read_bytes()
    lost.unlink()
    again = contest().run()
    assert FITS == [0.1, 0.7, 5.0, 0.7] and lost.read_bytes() == before
    assert value(again, "counted", "error, worst lip vertex") == value(rows, "counted", "error, worst lip vertex")
    more = contest(SUM, Counted(), Blends("half", ({"talk": 0.5, "face": 0.5},))).run()
    assert FITS == [0.1, 0.7, 5.0, 0.7] and {row.method for row in more} == {TRUTH, NAIVE, "counted", "half"}
    shown = Showcase.load(tmp_path / "out")
    assert list(shown.motion) == [TRUTH, NAIVE, "counted", "half"]
    assert all(motion.shape == shown.motion[TRUTH].shape for motion in shown.motion.values())
    assert len(shown.frames) == len(shown.sounds) == len(shown.motion[TRUTH])


def test_the_search_goes_on_where_it_stopped(contest, tmp_path):
    contest().run()
    FITS.clear()
    path = tmp_path / "out" / "search.json"
    search = json.loads(path.read_text())
    search["counted"]["errors"] = search["counted"]["errors"][:2]
    path.write_text(json.dumps(search))
    next((tmp_path / "out" / "marks" / "counted").iterdir()).unlink()
    contest().run()
    assert FITS == [5.0, 0.7]


def test_other_contests_are_refused(contest, toy, tiny_face, tmp_path):
    contest()
    with pytest.raises(VisemoError, match="got the folder of another contest"):
        contest(config=ContestConfig(validation=2, pairs=2))
    with pytest.raises(VisemoError, match="got the folder of another contest"):
        contest(SUM, Counted(steps=4))
    for schools in ((SUM, SUM), (Counted(),), (SUM, replace(SUM, name=TRUTH))):
        with pytest.raises(VisemoError, match=f"expected each once, {NAIVE} among them"):
            contest(*schools)
    for settings in ((), ({"talk": 0.1},) * 9):
        with pytest.raises(VisemoError, match=r"counted: got \d settings, expected 1 to 8"):
            contest(SUM, Counted(settings=settings))
    (tmp_path / "file").write_text("")
    with pytest.raises(VisemoError, match="cannot make this folder"):
        Contest((SUM,), [toy], tiny_face, tmp_path / "file" / "out")


# ---------------------------------------------------------------- what is measured


def scene_of(face, frames=40, phones=()):
    """A jaw that opens and shuts, lips that spread, and recordings with twice the smile."""
    beat = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / 20))[:, None, None].astype(np.float32)
    speech = beat * face.shape("jawOpen")
    smile = face.shape("mouthSmileLeft") + face.shape("browInnerUp")
    expression = np.ones((frames, 1, 1), np.float32) * smile
    return Scene("toy", "happy", face.template, tuple(phones), speech, 2 * expression, speech, expression)


def test_marks_of_the_truth_and_of_too_much(tiny_face):
    scene, marker = scene_of(tiny_face, phones=(Segment("m", 0.6, 0.7), Segment("aa", 0.2, 0.4))), Marker(tiny_face)
    true, doubled = (marker.marks(scene, motion) for motion in (scene.truth, scene.speech + 2 * scene.expression))
    assert not true.errors.any() and (true.lips, true.beside, true.closures) == pytest.approx((1, 1, 100))
    assert doubled.beside == pytest.approx(2) and doubled.lips == pytest.approx(2, rel=1e-5)
    off = 1e3 * np.linalg.norm(scene.expression[0], axis=1)
    assert np.allclose(doubled.errors, off, atol=1e-4)
    assert doubled.brows == pytest.approx(np.sqrt(np.square(off[marker.brows]).mean()), rel=1e-4)


def test_closures_count_the_lips_that_meet(tiny_face):
    middle = 20 / FPS  # shut there, 10 frames before and after wide open
    said = (Segment("m", middle - 0.03, middle + 0.03), Segment("b", 0.30, 0.36), Segment("p", 5.0, 5.1))
    scene, marker = scene_of(tiny_face, phones=said), Marker(tiny_face)
    gap = lip_gap(tiny_face.template + scene.speech, tiny_face.lip_pairs)
    assert gap[20] < 0.1 and gap[10] > 2
    assert marker.marks(scene, scene.speech).closures == 50, "of the two within the clip"
    assert np.isnan(marker.marks(replace(scene, phones=()), scene.speech).closures)


def test_an_expression_that_is_not_seen_says_nothing(tiny_face):
    scene = replace(scene_of(tiny_face), expression=np.zeros_like(scene_of(tiny_face).expression))
    marks = Marker(tiny_face).marks(scene, scene.speech)
    assert np.isnan(marks.lips) and np.isnan(marks.beside)


def test_marks_come_back_from_their_file(tiny_face, tmp_path):
    scene = scene_of(tiny_face)
    marks = Marker(tiny_face).marks(scene, scene.talk + scene.face)
    marks.save(tmp_path / "pair.npz")
    again = Marks.load(tmp_path / "pair.npz")
    assert np.array_equal(again.errors, marks.errors) and again.lips == marks.lips and np.isnan(again.closures)


def test_a_standing_is_a_ratio_of_means():
    own = [Marks(np.float32([1, 3, 1]), 1.0, 0.5, float("nan"), 0.1), Marks(np.float32([3, 1, 1]), 3.0, 0.7, 50.0, 0.3)]
    naive = [Marks(np.full(3, 4, np.float32), 1, 1, 0, 0)] * 2
    rows = {row.measure: row for row in standings("own", own, naive, np.array([0, 1]))}
    assert rows["error, all vertices"].value == pytest.approx(5 / 3)
    assert rows["ratio to the naive sum, all vertices"].value == pytest.approx(5 / 12)
    assert rows["error, worst lip vertex"].value == 2 and rows["ratio to the naive sum, worst lip vertex"].value == 0.5
    assert rows["expression kept at the lips"].value == 2 and rows["talk in the brows"].value == pytest.approx(0.2)
    assert rows["closures kept at /p b m/"].value == 50 and rows["closures kept at /p b m/"].n == 1
    blank = {row.measure: row for row in standings("own", own[:1], naive[:1], np.array([0, 1]))}
    assert np.isnan(blank["closures kept at /p b m/"].value)


# ---------------------------------------------------------------- what is shown


def test_frames_are_the_sounds_where_most_of_the_expression_is_shown(tiny_face):
    said = (Segment("m", 0.1, 0.2), Segment("m", 0.6, 0.72), Segment("iy", 0.4, 0.5), Segment("w", 9.0, 9.1))
    scene = scene_of(tiny_face, phones=said)
    rising = np.linspace(0, 1, 40, dtype=np.float32)[:, None, None] * scene.expression
    moments = choose_frames(replace(scene, expression=rising))
    assert moments == {"/m/": 20, "/iy/": 14}
    unknown = choose_frames(replace(scene, expression=rising, phones=()))
    assert list(unknown.values()) == [19, 39]


def test_the_pair_with_a_smile_and_both_sounds_is_shown():
    class Toy:
        def phones(self, id):
            return [Segment(name, 0, 1) for name in {"talk1": "m", "talk2": "mw"}[id]]

        def sequence(self, id):
            return type("Take", (), {"label": id})

    from visemo.data.store import Pair

    pairs = [(Toy(), Pair(*ids)) for ids in (("talk1", "happy"), ("talk2", "sad"), ("talk2", "Pleased"))]
    assert choose_pair(pairs)[1] == ("talk2", "Pleased")
    assert choose_pair(pairs[:2])[1] == ("talk1", "happy")


def test_nothing_shown_is_nothing(tmp_path):
    assert Showcase.load(tmp_path) is None and Showcase.methods(tmp_path) == ()
    assert slug("one-third rule, best scale") == "one-third-rule-best-scale"
