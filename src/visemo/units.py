"""The numbers everything else is derived from: rates and length units.

Inside the package lengths are metres, times are seconds, audio is mono at `SAMPLE_RATE`,
motion runs at `FPS` unless an object says otherwise. Losses and reports speak millimetres.
"""

SAMPLE_RATE = 16_000  # audio samples per second
FPS = 30.0  # motion frames per second

M_PER_MM = 1e-3
MM_PER_M = 1.0 / M_PER_MM
M_PER_CM = 1e-2

TOUCHING = 1.0 * M_PER_MM  # lips this close read as shut


def frame_count(seconds: float, fps: float = FPS) -> int:
    """Number of motion frames that cover `seconds`: the last frame begins before the sound ends."""
    return max(1, round(seconds * fps))
