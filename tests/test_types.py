"""The containers: what they hold, what they refuse, and that an animation is template + w B."""

from dataclasses import replace

import numpy as np
import pytest

from visemo.types import Animation, FlameParams, Mesh, Motion, VisemoError, Waveform, check_array, check_indices

TRIANGLES = np.array([[0, 1, 2], [1, 3, 2]], np.int32)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def clip(frames: int = 7, k_a: int = 3, k_e: int = 2, vertices: int = 4) -> Animation:
    chance = np.random.default_rng(5)
    random = lambda *shape: chance.normal(size=shape).astype(np.float32)  # noqa: E731
    return Animation(
        random(frames, k_a), random(frames, k_e), random(frames, k_e), random(frames, k_a),
        random(k_a + k_e, vertices, 3), random(vertices, 3), TRIANGLES, np.array([[0, 1]], np.int32), "toy",
    )  # fmt: skip


def test_decode_is_template_plus_weights_times_basis():
    take = clip()
    truth = np.empty((7, 4, 3))
    for t in range(7):  # the sum of Eq. 13, written out
        truth[t] = take.template
        for k in range(3):
            truth[t] += float(take.speech_weights[t, k]) * take.basis[k].astype(float)
        for k in range(2):
            truth[t] += float(take.expression_weights[t, k]) * take.basis[3 + k].astype(float)
    assert take.decode(2, 5).dtype == np.float32
    np.testing.assert_allclose(take.decode(2, 5), truth[2:5], atol=1e-5)
    np.testing.assert_allclose(take.vertices, truth, atol=1e-5)
    np.testing.assert_array_equal(take.weights[:, :3], take.speech_weights)
    np.testing.assert_array_equal(take.weights[:, 3:], take.expression_weights)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_blocks_cut_the_same_take(size):
    take = clip()
    blocks = list(take.blocks(size))
    assert max(map(len, blocks)) <= size
    np.testing.assert_allclose(np.concatenate(blocks), take.decode(0, 7), atol=1e-6)


def test_leaks_and_lively_never_move_a_vertex():
    take = clip()
    other = replace(
        take, speech_leak=take.speech_leak + 1, expression_leak=take.expression_leak + 1,
        lively_weights=np.ones((7, 1), np.float32), lively_names=("blink",), head_pose=np.ones((7, 7), np.float32),
    )  # fmt: skip
    np.testing.assert_array_equal(other.vertices, take.vertices)


def test_durations():
    assert Waveform(zeros(24_000), 16_000).seconds == 1.5
    take = replace(clip(), fps=3.5)
    assert (take.frames, take.seconds) == (7, 2.0)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([0.0, 1.0], "x: got list, expected an array of float32"),
        (np.zeros(2), "x: got float64, expected an array of float32"),
        (zeros(2, 4), r"x: got shape \(2, 4\), expected \(any, 3\)"),
        (zeros(3), r"x: got shape \(3,\), expected \(any, 3\)"),
        (np.full((1, 3), np.nan, np.float32), "x: got NaN or infinite"),
        (np.full((1, 3), -np.inf, np.float32), "x: got NaN or infinite"),
    ],
)
def test_wrong_arrays_are_refused(array, said):
    with pytest.raises(VisemoError, match=said):
        check_array("x", array, (None, 3), np.float32)


def test_wrong_indices_are_refused():
    check_indices("x", np.zeros((0, 2), np.int32), 2, 0)
    check_indices("x", np.array([0, 3], np.int32), None, 4)
    with pytest.raises(VisemoError, match=r"x: got indices -1\.\.2, expected 0\.\.3"):
        check_indices("x", np.array([-1, 2], np.int32), None, 4)
    with pytest.raises(VisemoError, match=r"x: got indices 0\.\.4, expected 0\.\.3"):
        check_indices("x", np.array([[0, 4]], np.int32), 2, 4)
    with pytest.raises(VisemoError, match="expected an array of int32"):
        check_indices("x", np.array([0, 1]), None, 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Waveform(zeros(2, 3)), "waveform: got shape"),
        (lambda: Waveform(zeros(3), 0), "waveform: got a sample rate of 0"),
        (lambda: Mesh(zeros(3, 2), TRIANGLES), "mesh vertices"),
        (lambda: Mesh(zeros(3, 3), TRIANGLES), "mesh triangles"),
        (lambda: Motion(zeros(3, 3)), "motion: got shape"),
        (lambda: Motion(zeros(2, 4, 3), 0), "motion: got 0 frames per second"),
        (lambda: Motion(zeros(2, 4, 3), float("nan")), "motion: got nan frames per second"),
        (lambda: FlameParams(zeros(5), zeros(5, 3)), "FLAME expression"),
        (lambda: FlameParams(zeros(5, 9), zeros(4, 3)), "FLAME jaw pose"),
        (lambda: FlameParams(zeros(5, 9), zeros(5, 3), shape=zeros(1, 9)), "FLAME shape"),
    ],
)
def test_wrong_containers_are_refused(make, said):
    with pytest.raises(VisemoError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"speech_weights": zeros(7)}, "speech_weights"),
        ({"expression_weights": zeros(6, 2)}, "expression_weights"),
        ({"speech_leak": zeros(7, 3)}, "speech_leak"),
        ({"expression_leak": zeros(7, 2)}, "expression_leak"),
        ({"template": zeros(4, 2)}, "template"),
        ({"basis": zeros(4, 4, 3)}, "basis"),
        ({"triangles": TRIANGLES + 1}, "triangles"),
        ({"lip_pairs": np.array([[0, 9]], np.int32)}, "lip_pairs"),
        ({"lively_weights": zeros(7, 1)}, "lively_weights"),
        ({"head_pose": zeros(7, 6)}, "head_pose"),
        ({"fps": -30.0}, "animation: got -30.0 frames per second"),
    ],
)
def test_animations_that_do_not_fit_together_are_refused(change, said):
    with pytest.raises(VisemoError, match=said):
        replace(clip(), **change)
