"""What the default model does on a folder of real recordings: one line each, and the lips at the ends of pauses.

.venv/bin/python runs/real_clips.py FOLDER_OF_RECORDINGS
"""

import sys
from pathlib import Path

import numpy as np

import visemo
from visemo.evaluate.articulation import SHUT, quiet_spells
from visemo.evaluate.metrics import lip_gap
from visemo.media import load_audio
from visemo.types import VisemoError, Waveform
from visemo.units import FPS, SAMPLE_RATE


def main(folder: Path) -> None:
    animator = visemo.load()
    quiet = animator.animate(Waveform(np.zeros(3 * SAMPLE_RATE, np.float32)))
    rest = lip_gap(quiet.vertices, quiet.lip_pairs)[round(0.3 * FPS) :].max()
    sys.stdout.write(f"silence: largest lip gap from 0.3 s on {rest:.2f} mm\n")
    ends, before = [], []  # lip gap in the last frame of every pause, and a tenth of a second before
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".wav", ".mp3", ".flac", ".m4a", ".mp4"):
            continue
        try:
            audio = load_audio(path)
        except VisemoError as error:
            sys.stdout.write(f"{path.name}: {error}\n")
            continue
        gaps = [lip_gap((clip := animator.animate(audio, e)).vertices, clip.lip_pairs) for e in ("neutral", "happy")]
        tenth = [np.percentile(gap, (5, 50, 95)) for gap in gaps]
        sys.stdout.write(
            f"{path.name}: lip gap 5/50/95 % neutral {tenth[0].round(1)} happy {tenth[1].round(1)} mm, "
            f"{len(gaps[0])} frames\n"
        )
        for _, end in quiet_spells(audio):
            last = min(int(end * FPS), len(gaps[0]) - 1)
            ends += [gap[last] for gap in gaps]
            before += [gap[max(0, last - round(0.1 * FPS))] for gap in gaps]
    sys.stdout.write(
        f"pauses over 0.4 s, neutral and happy: {len(ends)}, lips shut at the end of {np.sum(np.array(ends) <= SHUT)}, "
        f"0.1 s before it of {np.sum(np.array(before) <= SHUT)}; widest {max(ends, default=0):.1f} mm\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
