"""How well the shipped model articulates real speech: the tables in the README.

.venv/bin/python runs/real_speech.py RECORDINGS [CAPTURE.npz SOUND ...] [MODEL]

RECORDINGS holds sound files, `manifest.csv` (file, transcript) and for some `NAME.phones.json` (phone, begin, dur);
the others are aligned with their transcripts. A CAPTURE holds curves of a
real mouth (names, weights (T, n), time or fps): ARKit names, or others that a `*_guess.json` beside it translates
({name: [[ARKit or ICT name, factor], ...]}).
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfiltfilt

import visemo
from visemo.data.alignment import align
from visemo.data.captures import read_capture, read_translation
from visemo.data.recorded import put_on
from visemo.data.store import Segment
from visemo.evaluate.articulation import Articulation, articulation, pause_ends, read_phones, teeth_gap
from visemo.evaluate.metrics import correlation, crossing, lip_gap
from visemo.media import load_audio
from visemo.types import Waveform
from visemo.units import FPS, MM_PER_M, SAMPLE_RATE

EMOTIONS = ("neutral", "happy", "sad", "angry", "disgust", "fear", "surprise")
WAYS = {"guarded": {}, "unguarded": {"guard": 0.0}, "naive": {"mode": "naive"}}
BLOCK = 30  # frames drawn together by the bootstrap
say = sys.stdout.write


def sentences(folder: Path) -> Iterator[tuple[Waveform, tuple[Segment, ...]]]:
    """Sound and phones: from `NAME.phones.json`, or aligned with the transcript in `manifest.csv`."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = folder / row["file"]
        timed = path.with_suffix(".phones.json")
        if timed.exists():
            yield load_audio(path), read_phones(timed)
        elif row["transcript"]:
            sound = load_audio(path)
            yield sound, align(sound, row["transcript"])


def closures(animator, sounds: list[tuple[Waveform, tuple]]) -> None:
    """/p b m/ that shut, /f v/ on the teeth, open vowels that open, agreement with the phones, deepest crossing."""
    say(f"{'':10}" + "".join(f"{way:>46}" for way in WAYS) + "\n")
    for emotion in EMOTIONS:
        cells = []
        for options in WAYS.values():
            found: list[Articulation] = []
            deepest = 0.0
            for sound, phones in sounds:
                clip = animator.animate(sound, emotion, **options)
                vertices = clip.vertices
                gap, teeth = lip_gap(vertices, clip.lip_pairs), teeth_gap(vertices, animator.face)
                found.append(articulation(gap, phones, animator.face, teeth=teeth))
                deepest = max(deepest, crossing(vertices, clip.lip_pairs).max())
            counts = (
                ("pbm", sum(a.shut for a in found), sum(len(a.closures) for a in found)),
                ("fv", sum(a.bitten for a in found), sum(len(a.bites) for a in found)),
                ("open", sum(a.open for a in found), sum(len(a.vowels) for a in found)),
            )
            cell = " ".join(f"{name} {made}/{wanted}" for name, made, wanted in counts)
            cells.append(f"{cell} r {np.mean([a.correlation for a in found]):.2f} x {deepest:.2f}")
        say(f"{emotion:10}" + "".join(f"{cell:>46}" for cell in cells) + "\n")


def steadiness(animator, sounds: list[tuple[Waveform, tuple]]) -> None:
    """Jitter in silence against speech, the largest jump, and the lips at the end of pauses."""
    silence = animator.animate(Waveform(np.zeros(4 * SAMPLE_RATE, np.float32))).vertices
    lips = animator.face.regions["lips"]

    def jitter(vertices: np.ndarray) -> float:
        return float(np.linalg.norm(np.diff(vertices[:, lips].astype(np.float64), 2, axis=0), axis=2).mean())

    spoken = [animator.animate(sound, "neutral") for sound, _ in sounds]
    ratio = jitter(silence) / np.mean([jitter(clip.vertices) for clip in spoken])
    jump = max(np.linalg.norm(np.diff(clip.vertices, axis=0), axis=2).max() for clip in spoken) * MM_PER_M
    ends = [
        lip_gap(clip.vertices, clip.lip_pairs)[end]
        for clip, (_, phones) in zip(spoken, sounds)
        for end in pause_ends(phones, clip.frames)
    ]
    say(f"acceleration of the lips in silence {100 * ratio:.1f} % of speech; largest jump {jump:.1f} mm; ")
    say(f"lips at the end of pauses {', '.join(f'{gap:.1f}' for gap in ends) or 'none'} mm\n")


def robustness(animator, sounds: list[tuple[Waveform, tuple]]) -> None:
    """Change of the lip gap, rms over the rms of the gap, by level, telephone band and babble."""
    everyone = np.concatenate([sound.samples for sound, _ in sounds])
    band = butter(6, (300, 3400), "band", fs=SAMPLE_RATE, output="sos")

    def changed(samples: np.ndarray, how: str) -> np.ndarray:
        if how == "telephone":
            return sosfiltfilt(band, samples)
        if how == "babble":
            rolled = sum(np.roll(everyone, n * len(everyone) // 6) for n in range(1, 6))
            noise = np.resize(rolled, len(samples))
            return samples + noise * np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-20 / 20)
        return samples * 10 ** (float(how) / 20)

    for how in ("-30", "-20", "-10", "telephone", "babble"):
        shares = []
        for sound, _ in sounds:
            peak = np.abs(sound.samples).max()
            plain = animator.animate(Waveform(sound.samples / peak), "neutral")
            other = animator.animate(Waveform(changed(sound.samples / peak, how).astype(np.float32)), "neutral")
            a, b = (lip_gap(clip.vertices, clip.lip_pairs) for clip in (plain, other))
            shares.append(np.sqrt(np.mean((a - b) ** 2)) / np.sqrt(np.mean(a**2)))
        say(f"{how:>10}: lip gap changes by {100 * np.mean(shares):.1f} % rms\n")


def captured(path: Path, animator) -> np.ndarray:
    """Lip gap (T,) mm at 30 fps of captured curves on the model's face."""
    guess = sorted(path.parent.glob("*_guess.json"))
    capture = read_capture(path, read_translation(guess[0]) if guess else None)
    return lip_gap(animator.face.template + put_on(animator.face, capture), animator.face.lip_pairs)


def against_capture(animator, path: Path, sound: Path) -> None:
    """Correlation with a captured mouth, and how much more than a jaw that follows the energy."""
    audio = load_audio(sound)
    truth = captured(path, animator)
    ours = lip_gap((clip := animator.animate(audio, "neutral")).vertices, clip.lip_pairs)
    length = min(len(truth), len(ours))
    hop = SAMPLE_RATE / FPS
    level = [audio.samples[max(0, round((t - 0.5) * hop)) : round((t + 1) * hop)] for t in range(length)]
    energy = np.array([np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-7) for x in level])
    curves = np.stack([truth[:length], ours[:length], energy])
    (r, lag), (r_energy, lag_energy) = (correlation(curves[k], curves[0], 2) for k in (1, 2))
    random = np.random.default_rng(0)
    starts = np.arange(0, length - BLOCK + 1)
    gains = []
    for _ in range(1000):
        chosen = (random.choice(starts, length // BLOCK)[:, None] + np.arange(BLOCK)).ravel()
        shifted = [
            curves[0][chosen],
            *(curves[k][(chosen + shift).clip(0, length - 1)] for k, shift in ((1, lag), (2, lag_energy))),
        ]
        table = np.corrcoef(shifted)
        gains.append(table[0, 1] - table[0, 2])
    low, high = np.quantile(gains, (0.025, 0.975))
    say(f"{path.name}: r {r:.2f} at lag {lag}, energy {r_energy:.2f} at {lag_energy}; ")
    say(f"gain {r - r_energy:+.2f} [{low:+.2f}, {high:+.2f}]\n")


def main(folder: Path, *captures: str) -> None:
    animator = visemo.load(*captures[len(captures) // 2 * 2 :])
    sounds = list(sentences(folder))
    say(f"{len(sounds)} sentences\n")
    closures(animator, sounds)
    steadiness(animator, sounds)
    robustness(animator, sounds)
    for path, sound in zip(captures[::2], captures[1::2]):
        against_capture(animator, Path(path), Path(sound))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
