"""Samplers: every batch is what the store holds at the places it names; a kept state draws the same again."""

import json

import numpy as np
import pytest
from test_store import random_motion, write

from visemo.data.dataset import ClipSampler, FrameSampler, open_store, resample
from visemo.types import VisemoError

IDS = ("ann_s", "bob_s", "bob_e")


@pytest.fixture
def store(tmp_path):
    return open_store(write(tmp_path / "store"))


def test_frames_are_those_they_say_they_are(store):
    batch = FrameSampler(store, IDS, seed=3).batch(200)
    for k in range(200):
        id = IDS[batch.sequence[k]]
        np.testing.assert_array_equal(batch.motion[k], store.motion(id)[batch.frame[k]].astype(np.float32))
        assert store.subjects[batch.subject[k]] == store.sequence(id).subject
    assert len(set(zip(batch.sequence.tolist(), batch.frame.tolist()))) > 45  # of 52 frames: all are drawn


@pytest.mark.parametrize("fps", [30.0, 60.0, 25.0])
def test_windows_equal_cuts_of_the_resampled_take(store, fps):
    sampler = ClipSampler(store, ("ann_s", "bob_s"), frames=7, fps=fps, seed=1)
    batch = sampler.batch(20)
    for k in range(20):
        id = ("ann_s", "bob_s")[batch.sequence[k]]
        whole = resample(np.asarray(store.motion(id), np.float32), 30.0, fps)
        np.testing.assert_allclose(batch.motion[k], whole[batch.start[k] : batch.start[k] + 7], atol=1e-7)
        first = round(batch.start[k] / fps * 16000)
        sound = store.audio(id).samples[first : first + round(7 / fps * 16000)]
        np.testing.assert_array_equal(batch.samples[k, : len(sound)], sound)
        assert not batch.samples[k, len(sound) :].any()
    assert batch.valid.all()


def test_a_short_take_is_padded_with_rest_and_silence(store):
    batch = ClipSampler(store, ("ann_s",), frames=30).batch(1)
    np.testing.assert_allclose(batch.motion[0, :20], random_motion(20, 0), atol=1e-5)
    assert not batch.motion[0, 20:].any()
    assert batch.valid[0].tolist() == [True] * 20 + [False] * 10
    assert not batch.samples[0, round(20 / 30 * 16000) :].any()


@pytest.mark.parametrize("make", [lambda s: FrameSampler(s, IDS), lambda s: ClipSampler(s, IDS[:2], frames=5)])
def test_resuming_draws_the_same_batches(store, make):
    sampler = make(store)
    sampler.batch(4)
    state = json.loads(json.dumps(sampler.state_dict()))
    expected = [sampler.batch(4).motion for _ in range(3)]
    resumed = make(store)
    resumed.load_state_dict(state)
    for motion in expected:
        np.testing.assert_array_equal(resumed.batch(4).motion, motion)


def test_bad_requests(store):
    with pytest.raises(VisemoError, match="no takes to sample"):
        FrameSampler(store, ())
    with pytest.raises(VisemoError, match="silent take bob_e"):
        ClipSampler(store, IDS, frames=5)
    with pytest.raises(VisemoError, match="windows of 0 frames"):
        ClipSampler(store, ("ann_s",), frames=0)
    with pytest.raises(VisemoError, match="a state over 2 takes"):
        FrameSampler(store, IDS).load_state_dict(FrameSampler(store, IDS[:2]).state_dict())
