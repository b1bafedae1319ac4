"""The three guesses do what their names say: planted jaws, planted means, and frames that sound the same."""

from types import SimpleNamespace

import numpy as np
import pytest

from visemo.evaluate.baselines import Baselines, loudness
from visemo.types import Waveform
from visemo.units import FPS, SAMPLE_RATE

LIPS = np.array([2, 5, 7], np.int32)
FRAMES = 60


def take(seed: int, level: np.ndarray, jaw: np.ndarray | None = None) -> SimpleNamespace:
    """Noise whose colour wanders, at a level per frame; lips that move at random, or with loudness along `jaw`."""
    random = np.random.default_rng(seed)
    samples = round(SAMPLE_RATE / FPS)  # of a frame
    noise = random.normal(size=FRAMES * SAMPLE_RATE // int(FPS))
    colour = np.repeat(random.uniform(-0.95, 0.95, FRAMES), samples + 1)[: len(noise)]
    noise[1:] += colour[1:] * noise[:-1]
    sound = (noise * np.interp(np.arange(len(noise)) / SAMPLE_RATE * FPS, np.arange(FRAMES), level) * 0.05).astype("f")
    recording = SimpleNamespace(frames=FRAMES, audio=lambda: Waveform(sound))
    motion = random.normal(size=(FRAMES, 9, 3)) * 1e-3
    if jaw is not None:
        motion = 1e-3 + loudness(recording)[:, None, None] * jaw  # type: ignore[arg-type]
    recording.motion = lambda: motion.astype(np.float16)
    return recording


@pytest.fixture(scope="module")
def talks():
    random = np.random.default_rng(0)
    return [take(seed, random.uniform(0.3, 1, FRAMES)) for seed in range(3)]


def test_what_was_heard_before_is_found_again(talks):
    baselines = Baselines(talks, LIPS)
    for recording in talks:
        found = baselines.guess(recording)["retrieval"]
        assert np.array_equal(found, recording.motion()[:, LIPS].astype(np.float32))


def test_the_mean_face_is_the_mean(talks):
    guess = Baselines(talks, LIPS).guess(talks[1])["mean face"]
    truth = np.concatenate([t.motion()[:, LIPS].astype(np.float32) for t in talks]).mean(axis=0)
    assert guess.shape == (FRAMES, 3, 3)
    np.testing.assert_allclose(guess, np.broadcast_to(truth, guess.shape), atol=1e-7)


def test_a_jaw_that_follows_loudness_is_recovered():
    random = np.random.default_rng(1)
    jaw = random.normal(size=(9, 3)) * 2e-3
    levels = random.uniform(0.05, 1, (3, FRAMES))
    *train, held = (take(seed, level, jaw) for seed, level in enumerate(levels))
    guess = Baselines(train, LIPS).guess(held)["energy jaw"]
    np.testing.assert_allclose(guess, held.motion()[:, LIPS].astype(np.float32), atol=1e-5)
