import numpy as np
import pytest

from tiny import tone
from visemo.animation.lively import (
    LIVELY_NAMES,
    add_life,
    blink_times,
    blinks,
    glances,
    head_motion,
    neck_pivot,
)
from visemo.face.arkit import ARKIT_NAMES
from visemo.geometry.rotation import matrix_to_axis_angle, quaternion_to_matrix
from visemo.types import Animation, Waveform

PIVOT = np.array([0.0, -0.07, -0.05])


def test_blinks_come_as_people_blink():
    times = np.concatenate([np.diff(blink_times(600, seed)) for seed in range(20)])
    single = times[times > 0.5]  # double blinks aside
    assert 2.9 < np.median(single) < 3.9
    assert ((single > 2) & (single < 6)).mean() > 0.65
    assert 12 < 60 / times.mean() < 24  # a minute
    assert 0.03 < (times < 0.5).mean() < 0.15


def test_a_lid_falls_faster_than_it_rises_and_shuts_on_every_blink():
    for fps in (24.0, 30.0, 60.0):
        closure = blinks(round(60 * fps), fps, seed=1)
        starts = np.flatnonzero((closure[1:] > 0) & (closure[:-1] == 0)) + 1
        assert len(starts) >= 8 and closure.max() == 1.0 and closure.min() == 0.0
        for start in starts[:-1]:
            assert closure[start : start + round(0.2 * fps)].max() == 1.0
    fine = blinks(60_000, 1000.0, seed=1)
    first = np.flatnonzero(fine > 0)[0]
    shut = np.flatnonzero(fine[first : first + 300] == 1.0)
    open_again = np.flatnonzero(fine[first + shut[-1] :] == 0)[0]
    assert open_again > 1.5 * shut[0]


def test_the_same_seed_is_the_same_life_at_any_rate_and_length():
    assert np.array_equal(blink_times(30, 4), blink_times(60, 4)[: len(blink_times(30, 4))])
    assert not np.array_equal(blink_times(30, 4), blink_times(30, 5))
    assert np.allclose(glances(300, 30, 7), glances(600, 60, 7)[::2])


def test_glances_are_quick_small_and_mostly_at_the_listener():
    gaze = glances(60_000, 100.0, seed=2)
    assert np.abs(gaze).max() < 0.4
    moving = np.abs(np.diff(gaze, axis=0)).max(axis=1) > 1e-4
    assert moving.mean() < 0.08  # the eyes rest between jumps
    assert (np.abs(gaze).max(axis=1) < 0.1).mean() > 0.4


def test_the_head_moves_a_little_about_the_neck_and_rests_at_both_ends():
    pose = head_motion(600, 30.0, tone(20.0), PIVOT, seed=3)
    assert pose.shape == (600, 7) and pose.dtype == np.float32
    assert np.allclose(np.linalg.norm(pose[:, 3:], axis=1), 1, atol=1e-6)
    rest = np.array([0, 0, 0, 1, 0, 0, 0], np.float32)
    assert np.allclose(pose[0], rest, atol=1e-6) and np.allclose(pose[-1], rest, atol=1e-6)
    rotation = quaternion_to_matrix(pose[:, 3:])
    angles = np.rad2deg(np.linalg.norm(matrix_to_axis_angle(rotation), axis=1))
    assert 1 < angles.max() < 9
    assert np.rad2deg(np.linalg.norm(np.diff(matrix_to_axis_angle(rotation), axis=0), axis=1)).max() < 0.8
    neck = rotation @ PIVOT + pose[:, :3]
    assert np.linalg.norm(neck - PIVOT, axis=1).max() < 0.01


def test_the_head_nods_with_the_voice():
    def pitch(audio: Waveform | None) -> np.ndarray:
        pose = head_motion(300, 30.0, audio, PIVOT, seed=3)
        return matrix_to_axis_angle(quaternion_to_matrix(pose[:, 3:]))[:, 0]

    loud = np.zeros(160_000, np.float32)
    loud[48_000:80_000] = tone(2.0).samples
    nod = pitch(Waveform(loud)) - pitch(None)
    assert nod[100:140].mean() > np.deg2rad(0.8) and nod[200:280].max() < 0
    assert np.allclose(pitch(Waveform(np.zeros(160_000, np.float32))), pitch(None))


@pytest.mark.parametrize("frames", [1, 2, 3, 30])
def test_short_clips(frames):
    pose = head_motion(frames, 30.0, tone(0.1), PIVOT)
    assert np.isfinite(pose).all() and len(blinks(frames, 30.0)) == len(glances(frames, 30.0)) == frames


def test_the_track_has_arkit_names_and_leaves_the_vertices(tiny_face):
    zeros = np.zeros((90, 1), np.float32)
    basis = np.zeros((2, *tiny_face.template.shape), np.float32)
    face = tiny_face
    clip = Animation(zeros, zeros, zeros, zeros, basis, face.template, face.triangles, face.lip_pairs, face.name)
    lively = add_life(clip, seed=1)
    assert set(LIVELY_NAMES) <= set(ARKIT_NAMES) and lively.lively_names == LIVELY_NAMES
    assert lively.lively_weights is not None and lively.lively_weights.shape == (90, 10)
    assert lively.lively_weights.min() >= 0 and lively.lively_weights.max() <= 1
    assert lively.head_pose is not None and np.array_equal(lively.vertices, clip.vertices)
    pivot = neck_pivot(tiny_face.template)
    assert pivot[0] == 0 and pivot[1] < tiny_face.template[:, 1].min()
