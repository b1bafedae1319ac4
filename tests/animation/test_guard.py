from dataclasses import replace

import numpy as np
import pytest

from tiny import K_A, K_E
from visemo.animation.guard import CLOSED, guard_lips
from visemo.evaluate.metrics import crossing
from visemo.types import Animation, VisemoError


def make_clip(face, speech_open: np.ndarray, w_e: np.ndarray, mode: str = "fused") -> Animation:
    """Speech opens the jaw by `speech_open`; expression shapes: smile with parted lips, brows, parted lips."""
    frames = len(speech_open)
    shape = face.shape
    basis = np.zeros((K_A + K_E, *face.template.shape), np.float32)
    basis[0] = shape("jawOpen")
    basis[K_A] = shape("mouthSmileLeft") + shape("mouthSmileRight") + shape("mouthLowerDownLeft")
    basis[K_A + 1] = shape("browInnerUp") + 0.3 * shape("mouthLowerDownLeft")
    basis[K_A + 2] = shape("mouthLowerDownLeft")
    w_a = np.zeros((frames, K_A), np.float32)
    w_a[:, 0] = speech_open
    zeros = np.zeros((frames, K_E), np.float32), np.zeros((frames, K_A), np.float32)
    return Animation(
        w_a, np.broadcast_to(np.float32(w_e), (frames, K_E)).copy(), *zeros, basis, face.template, face.triangles,
        face.lip_pairs, face.name, meta={"mode": mode},
    )  # fmt: skip


def gap(clip: Animation, *, speech_only: bool = False) -> np.ndarray:
    if speech_only:
        clip = replace(clip, expression_weights=np.zeros_like(clip.expression_weights))
    upper, lower = clip.lip_pairs.T
    vertices = clip.vertices
    return np.linalg.norm(vertices[:, upper] - vertices[:, lower], axis=2).mean(axis=1) * 1000


SPEECH = 0.5 * (1 + np.cos(np.arange(60) * 2 * np.pi / 30))  # closes at frames 15 and 45


@pytest.fixture(scope="module")
def opened(tiny_face) -> Animation:
    return make_clip(tiny_face, SPEECH, np.array([0.6, 0.5, 0.3]))


def test_lips_that_speech_shuts_are_shut_again(opened):
    guarded = guard_lips(opened)
    spoken = gap(opened, speech_only=True)
    closed = spoken <= CLOSED * 1000
    assert 6 < closed.sum() < 30
    assert gap(opened)[closed].min() > 2.0  # the planted fault
    assert (gap(guarded)[closed] <= spoken[closed] + 0.1).all()
    said = guarded.meta["guard"]
    assert said["strength"] == 1.0 and said["frames"] == closed.sum()
    assert np.isclose(said["gap_before_mm"], gap(opened)[closed].mean(), atol=2e-3)
    assert np.isclose(said["gap_after_mm"], gap(guarded)[closed].mean(), atol=2e-3)
    assert np.isclose(said["gap_speech_mm"], spoken[closed].mean(), atol=2e-3)


def test_lips_that_an_expression_presses_through_each_other_touch_instead(tiny_face):
    pressed = make_clip(tiny_face, SPEECH, np.array([0.0, 0.3, -0.6]))
    spoken = gap(pressed, speech_only=True)
    closed = spoken <= CLOSED * 1000
    before, after = (crossing(clip.vertices, clip.lip_pairs) for clip in (pressed, guard_lips(pressed)))
    assert before[closed].max() > 0.5  # the planted fault
    assert after[closed].max() < 0.02
    assert (gap(guard_lips(pressed))[closed] <= spoken[closed] + 0.1).all()  # and they do not spring apart for it


def test_only_closures_change_and_nothing_jumps(opened):
    guarded = guard_lips(opened)
    change = np.abs(guarded.expression_weights - opened.expression_weights).max(axis=1)
    assert not change[:5].any() and not change[28:33].any() and change[15] > 0.1
    steps = np.abs(np.diff(guarded.expression_weights, axis=0)).max()
    assert steps < 0.5 * change.max()
    assert np.array_equal(guarded.speech_weights, opened.speech_weights)


def test_the_cheapest_shape_pays_and_the_brows_stay(opened, tiny_face):
    guarded = guard_lips(opened)
    brows = tiny_face.regions["brows"]
    moved = np.linalg.norm((guarded.decode(15, 16) - opened.decode(15, 16))[0], axis=1) * 1000
    assert moved[tiny_face.lip_pairs[:, 1]].mean() > 2.0
    assert moved[brows].max() < 0.2
    # smile corners are kept: the third shape parts the lips at no other cost
    change = (guarded.expression_weights - opened.expression_weights)[15]
    assert abs(change[2]) > 3 * abs(change[0])


def test_strength_scales_the_correction(opened):
    full, half, none = (guard_lips(opened, s) for s in (1.0, 0.5, 0.0))
    base = opened.expression_weights
    assert np.allclose(half.expression_weights - base, 0.5 * (full.expression_weights - base), atol=1e-6)
    assert np.array_equal(none.expression_weights, base) and none.meta["guard"] == {"strength": 0.0}


def test_an_expression_that_already_shuts_is_left_alone(tiny_face):
    pressing = make_clip(tiny_face, SPEECH * 0 + 0.08, np.array([0, 0, -0.2]))
    assert (gap(pressing) < gap(pressing, speech_only=True)).all()
    assert np.array_equal(guard_lips(pressing).expression_weights, pressing.expression_weights)


def test_no_closure_no_change(tiny_face):
    wide = make_clip(tiny_face, np.full(20, 0.9), np.array([0.6, 0.5, 0.3]))
    guarded = guard_lips(wide)
    assert np.array_equal(guarded.expression_weights, wide.expression_weights)
    assert guarded.meta["guard"] == {"strength": 1.0, "frames": 0}


def test_a_neutral_face_needs_no_guard(tiny_face):
    neutral = make_clip(tiny_face, SPEECH, np.zeros(K_E))
    assert not guard_lips(neutral).expression_weights.any()


@pytest.mark.parametrize("mode", ["speech", "expression", "naive"])
def test_other_modes_are_untouched(opened, mode):
    clip = replace(opened, meta={"mode": mode})
    assert np.array_equal(guard_lips(clip).expression_weights, clip.expression_weights)


def test_a_number_of_numpy_is_a_number(opened):
    guarded = [guard_lips(opened, strength).expression_weights for strength in (0.5, np.float32(0.5))]
    np.testing.assert_array_equal(*guarded)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "abc", True, None])
def test_other_strengths_are_refused(opened, wrong):
    with pytest.raises(VisemoError, match=r"guard: got .*, expected a number from 0 to 1"):
        guard_lips(opened, wrong)
