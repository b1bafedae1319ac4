import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import K_A, K_E, make_takes
from visemo.models.expressions import (
    DECAY,
    MICRO_BAND,
    ONSET,
    ExpressionLibrary,
    ExpressionTake,
    check_intensity,
    take_from_motion,
    without_blinks,
)
from visemo.types import VisemoError


@pytest.fixture(scope="module")
def library() -> ExpressionLibrary:
    return ExpressionLibrary.from_takes(make_takes())


def test_a_clip_begins_and_ends_neutral_and_holds_the_apex_between(library):
    take, _ = library.pick("happy", seed=3)
    w_e, eps_e = library.sample("happy", 120, seed=3)
    assert w_e.shape == (120, K_E) and eps_e.shape == (120, K_A) and w_e.dtype == np.float32
    assert not w_e[0].any() and not w_e[-1].any() and not eps_e[0].any()
    held = w_e[round(ONSET * 30) + 1 : 119 - round(DECAY * 30)]
    apex = take.weights[take.apex]
    assert np.abs(held - apex).max() < 0.2 * np.abs(apex).max()
    assert held.std(axis=0).max() > 1e-3  # it lives


def test_onset_and_decay_take_their_times(library):
    strength = np.linalg.norm(library.sample("sad", 300, fps=100)[0], axis=1)
    full = np.linalg.norm(library.pick("sad")[0].weights, axis=1).max()
    reached = np.flatnonzero(strength > 0.97 * full)[0] / 100
    left = 2.99 - np.flatnonzero(strength > 0.97 * full)[-1] / 100
    assert 0.15 < reached <= ONSET + 0.02 and 0.15 < left <= DECAY + 0.02


def test_no_frame_jumps(library):
    w_e, _ = library.sample("happy", 90)
    assert np.abs(np.diff(w_e, axis=0)).max() < 0.35 * np.abs(w_e).max()
    fine, _ = library.sample("happy", 3000, fps=1000)
    assert np.abs(np.diff(fine, axis=0)).max() < 0.02 * np.abs(fine).max()


@given(frames=st.integers(1, 400), fps=st.sampled_from([24.0, 25.0, 30.0, 60.0]), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_every_length_and_rate_is_finite_and_near_the_take(library, frames, fps, seed):
    w_e, eps_e = library.sample("Afraid", frames, 1.0, fps, seed)
    limit = max(np.abs(t.weights).max() for t in library.takes["Afraid"])
    assert w_e.shape == (frames, K_E) and np.isfinite(w_e).all() and np.isfinite(eps_e).all()
    assert np.abs(w_e).max() <= 1.1 * limit


def test_one_frame_shows_the_apex_and_very_short_clips_still_show_something(library):
    take, _ = library.pick("happy")
    assert np.array_equal(library.sample("happy", 1)[0][0], take.weights[take.apex])
    for frames in (3, 5, 9, 20):
        w_e, _ = library.sample("happy", frames)
        assert not w_e[0].any() and not w_e[-1].any()
        assert np.linalg.norm(w_e, axis=1).max() > 0.5 * np.linalg.norm(take.weights[take.apex])


def test_rate_does_not_change_the_motion(library):
    coarse, _ = library.sample("happy", 61, fps=30, seed=2)
    fine, _ = library.sample("happy", 121, fps=60, seed=2)
    assert np.allclose(coarse, fine[::2], atol=1e-6)


def test_intensity_scales_both_parts_exactly(library):
    full, half = library.sample("sad", 50), library.sample("sad", 50, 0.5)
    assert np.allclose(half[0], 0.5 * full[0], atol=1e-7) and np.allclose(half[1], 0.5 * full[1], atol=1e-7)
    assert not library.sample("sad", 50, 0)[0].any()


@pytest.mark.parametrize("wrong", [-1, 9, 1.51, float("nan"), float("inf"), "abc", None, True, [1]])
def test_other_intensities_are_refused(library, wrong):
    with pytest.raises(VisemoError, match=r"intensity: got .*, expected a number from 0 to 1.5"):
        library.sample("happy", 10, wrong)


def test_numpy_numbers_are_numbers():
    assert check_intensity(np.float32(0.5)) == 0.5 and check_intensity(np.int64(1)) == 1.0


def test_neutral_is_zero(library):
    w_e, eps_e = library.sample("neutral", 12)
    assert w_e.shape == (12, K_E) and eps_e.shape == (12, K_A) and not w_e.any() and not eps_e.any()
    assert not library.hold("neutral", np.zeros(3))[0].any()


def test_the_seed_chooses_take_and_phase(library):
    same = library.sample("happy", 90, seed=5)[0]
    assert np.array_equal(same, library.sample("happy", 90, seed=5)[0])
    others = {library.sample("happy", 90, seed=seed)[0].tobytes() for seed in range(6)}
    assert len(others) == 6
    assert len({id(library.pick("happy", seed)[0]) for seed in range(12)}) == 2


def test_names_and_their_synonyms(library):
    assert library.names == ("neutral", "Afraid", "angry", "happy", "sad")
    assert library.resolve("HAPPY") == "happy" and library.resolve("joy") == "happy"
    assert library.resolve("Smile2") == "happy" and library.resolve("fear") == "Afraid"
    assert library.resolve("calm") == "neutral"
    with pytest.raises(VisemoError, match=r"got 'smug', expected one of neutral, Afraid, angry, happy, sad \(also "):
        library.sample("smug", 10)
    with pytest.raises(VisemoError, match="got 3, expected one of"):
        library.resolve(3)  # type: ignore[arg-type]


def test_micro_motion_loops_without_a_seam_and_is_band_limited():
    time = np.arange(120) / 30
    planted = 0.04 * np.sin(2 * np.pi * 1.25 * time) + 0.04 * np.sin(2 * np.pi * 11 * time)
    take = ExpressionTake((1 + planted)[:, None].astype(np.float32), np.zeros((120, 1), np.float32))
    loop = take.loop_seconds()
    fine = np.linspace(0, 2 * loop, 4001)
    micro = take.micro(fine)[:, 0]
    assert np.allclose(micro[:2000], micro[2000:4000], atol=1e-6)
    assert np.abs(np.diff(micro)).max() < 0.01  # no step, at the turn of the loop neither
    power = np.abs(np.fft.rfft(micro[:4000])) ** 2
    rates = np.fft.rfftfreq(4000, 2 * loop / 4000)
    assert power[rates > MICRO_BAND + 0.1].sum() < 1e-6 * power.sum()
    assert abs(rates[power.argmax()] - 1.25) < 0.3  # the planted wobble is what is left
    assert 0.02 < np.abs(micro).max() < 0.08


def test_a_take_without_a_hold_has_no_micro_motion():
    take = ExpressionTake(np.array([[0.0], [1.0]], np.float32), np.zeros((2, 1), np.float32))
    assert not take.micro(np.linspace(0, 3, 10)).any()
    w_e, _ = take.play(60)
    assert np.isclose(w_e[30, 0], 1.0) and not w_e[-1].any()


def test_impossible_takes_and_libraries_are_refused():
    good = np.ones((4, 2), np.float32)
    with pytest.raises(VisemoError, match="no frames"):
        ExpressionTake(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    with pytest.raises(VisemoError, match="frames per second"):
        ExpressionTake(good, good, fps=0)
    with pytest.raises(VisemoError, match="apex 9"):
        ExpressionTake(good, good, apex=9)
    with pytest.raises(VisemoError, match="no takes"):
        ExpressionLibrary.from_takes({"neutral": [(good, good)]})
    with pytest.raises(VisemoError, match=r"'b'.*got \(3, 2\)"):
        ExpressionLibrary.from_takes({"a": [(good, good)], "b": [(np.ones((4, 3), np.float32), good)]})
    with pytest.raises(VisemoError, match=r"'a'.*0 takes"):
        ExpressionLibrary({"a": ()}, (2, 2))


def test_saved_and_loaded_it_is_the_same(library, tmp_path):
    library.save(tmp_path)
    again = ExpressionLibrary.load(tmp_path)
    assert again.names == library.names and again.shapes == library.shapes
    assert np.array_equal(again.sample("sad", 77, 0.7, seed=4)[0], library.sample("sad", 77, 0.7, seed=4)[0])
    library.save(tmp_path, half=True)
    assert np.allclose(ExpressionLibrary.load(tmp_path).sample("sad", 77)[0], library.sample("sad", 77)[0], atol=1e-3)


def test_damaged_libraries_are_refused_in_one_line(library, tmp_path):
    library.save(tmp_path)
    index = json.loads((tmp_path / "expressions.json").read_text())

    def refused(match: str) -> None:
        with pytest.raises(VisemoError, match=match) as caught:
            ExpressionLibrary.load(tmp_path)
        assert "\n" not in str(caught.value)

    def write(changed: object) -> None:
        (tmp_path / "expressions.json").write_text(json.dumps(changed))

    write({**index, "schema": 99})
    refused("schema 99")
    write({**index, "takes": index["takes"][1:]})
    refused("expected only what the index names")
    write({**index, "takes": [*index["takes"], {**index["takes"][0], "number": 7}]})
    refused("damaged")
    write([])
    refused("damaged")
    write(index)
    arrays = tmp_path / "expressions.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:200])
    refused("damaged")
    arrays.unlink()
    refused("got no expressions.safetensors")


def test_a_motion_becomes_a_take_through_the_expression_encoder():
    class Encoder:
        def encode_expression(self, displacements):
            flat = displacements.flatten(1)
            return flat[:, :2] * 0, torch.stack([flat[:, 0], flat[:, 3]], dim=1)

    motion = np.zeros((40, 2, 3), np.float32)
    motion[:, 0, 0], motion[:, 1, 0] = np.hanning(40), 0.5 * np.hanning(40)
    take = take_from_motion(Encoder(), motion, fps=20)
    assert take.weights.shape == (40, 2) and take.fps == 20 and take.apex in (19, 20)
    assert np.allclose(take.weights[:, 0], motion[:, 0, 0])
    with pytest.raises(VisemoError, match="expression motion"):
        take_from_motion(Encoder(), motion.astype(np.float64))  # type: ignore[arg-type]


def blink(frames: int, at: int) -> np.ndarray:
    """A lid's course: down within 3 frames, up within 5."""
    away = np.arange(frames) - at
    return np.clip(1 - np.where(away < 0, -away / 3, away / 5), 0, 1)


@pytest.mark.parametrize("at", [27, 30, 33])
def test_a_blink_is_never_the_apex(at):
    course = np.sin(np.linspace(0, np.pi, 60)) ** 2
    weights = np.stack([course, 2 * blink(60, at)], axis=1).astype(np.float32)
    take = ExpressionTake(weights, np.zeros((60, 1), np.float32))
    assert np.linalg.norm(weights, axis=1).argmax() == at  # the planted fault
    assert weights[take.apex, 1] < 0.3 and weights[take.apex, 0] > 0.85
    assert np.abs(without_blinks(weights)[:, 1]).max() < 1e-6


def test_a_short_sharp_apex_stays_the_apex():
    course = np.maximum(0, 1 - np.abs(np.arange(60) - 24) / 18)
    assert ExpressionTake(course[:, None].astype(np.float32), np.zeros((60, 1), np.float32)).apex == 24


def test_a_take_that_only_twitches_keeps_its_twitch():
    take = ExpressionTake(blink(60, 30)[:, None].astype(np.float32), np.zeros((60, 1), np.float32))
    assert take.apex == 30
