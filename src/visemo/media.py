"""Sound in from any container, sound and moving pictures out."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from visemo.assets import atomic
from visemo.types import FloatArray, VisemoError, Waveform
from visemo.units import SAMPLE_RATE

SHORTEST = 0.05  # s; less than this is a click, not speech
PACKET = 2048  # samples; no codec in use packs more than this at once (AAC 1024 or 2048, mp3 1152)
VIDEO_SAMPLE_RATE = 48_000  # an AAC packet of 1024 samples is 21 ms here, shorter than a picture; 64 ms at 16 kHz
_KINDS = "sound such as wav, flac, mp3, m4a, ogg or mp4"


def load_audio(path: str | Path) -> Waveform:
    """Read the sound of any file as mono 16 kHz float32; channels are averaged.

    Parameters
    ----------
    path : file with sound: wav, flac, mp3, ogg, m4a, or a film such as mp4.

    Returns
    -------
    Waveform of round(n * 16000 / rate) samples for the n samples that the file's decoder gives.

    Raises
    ------
    VisemoError
        No such file, a folder, an empty file, no readable sound in it, no samples, NaN or infinite
        samples, or less than 50 ms. Digital silence is no error.
    """
    path = Path(path)
    _check_file(path)
    samples, rate = _decode(path)
    if len(samples) == 0:
        raise VisemoError(f"{path}: got zero samples of sound, expected speech; record the clip again")
    if not np.isfinite(samples).all():
        raise VisemoError(f"{path}: got NaN or infinite samples, expected finite ones; export the clip again")
    seconds = len(samples) / rate
    if seconds < SHORTEST:
        raise VisemoError(
            f"{path}: got {seconds * 1000:.3g} ms of sound, "
            f"expected at least {SHORTEST * 1000:.0f} ms; give a longer clip"
        )
    return Waveform(_resample(samples.mean(axis=1), rate, SAMPLE_RATE))


def save_wav(waveform: Waveform, path: str | Path) -> None:
    """Write 16 bit PCM wav; samples outside [-1, 1] are clipped.

    Raises VisemoError when the folder is missing or cannot be written.
    """
    import soundfile

    with atomic(Path(path)) as temporary:
        # 16 bit on purpose: libsndfile stamps float files with the time of day, these are the same bytes every time
        soundfile.write(
            temporary, np.clip(waveform.samples, -1, 1), waveform.sample_rate, subtype="PCM_16", format="WAV"
        )


class VideoWriter:
    """An mp4 (H.264 yuv420p + AAC, index in front) written picture by picture; atomic.

    Picture n is shown from n / fps s and the sound starts with picture 0, so time stamps and
    durations of both streams agree within half a picture when the pictures cover the sound.

    >>> with VideoWriter(path, 512, fps=30, audio=clip.audio) as video:
    ...     for picture in pictures:
    ...         video.add(picture)

    Parameters
    ----------
    path : where the mp4 goes; it appears when the `with` block ends without an error.
    size : width and height in pixels, even; one number for a square.
    fps : pictures per second.
    audio : sound that goes along, or None for a silent film.

    Raises
    ------
    VisemoError
        Odd or tiny size, missing folder, a picture of another size, or no picture at all.
    """

    def __init__(self, path: str | Path, size: int | tuple[int, int], fps: float, audio: Waveform | None = None):
        self.path = Path(path)
        self.width, self.height = (size, size) if isinstance(size, int) else size
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 16:
            raise VisemoError(
                f"video size: got {self.width} x {self.height}, expected even numbers of at least 16 (H.264 needs them)"
            )
        self.rate = Fraction(fps).limit_denominator(100_000)
        self.sound = _for_encoder(audio)
        self.pictures = 0

    def __enter__(self) -> Self:
        import av

        with ExitStack() as stack:
            temporary = stack.enter_context(atomic(self.path))
            options = {"movflags": "faststart"}
            self.container = stack.enter_context(av.open(str(temporary), "w", format="mp4", options=options))
            self.picture_stream = self._add_picture_stream()
            self.sound_stream = None if self.sound is None else self.container.add_stream("aac", VIDEO_SAMPLE_RATE)
            if self.sound_stream is not None:
                self.sound_stream.layout = "mono"
                self.sound_stream.bit_rate = 128_000
            self._open = stack.pop_all()
        self._sent = 0  # samples of sound already encoded
        return self

    def _add_picture_stream(self):
        stream = self.container.add_stream("libx264", rate=self.rate, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = 1 / self.rate
        # without B pictures decoding order is showing order: the first time stamp is 0 in every player
        stream.codec_context.max_b_frames = 0
        # BT.709, written down: players otherwise guess a matrix from the picture's height
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        stream.codec_context.color_range = 1
        return stream

    def add(self, picture: np.ndarray) -> None:
        """Append one picture (H, W, 3) uint8 sRGB and the sound that belongs to it."""
        import av

        if picture.shape != (self.height, self.width, 3) or picture.dtype != np.uint8:
            raise VisemoError(
                f"picture: got {picture.shape} {picture.dtype}, expected ({self.height}, {self.width}, 3) uint8"
            )
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = self.pictures, 1 / self.rate
        self.container.mux(self.picture_stream.encode(frame))
        self.pictures += 1
        # sound keeps pace with the pictures, so the muxer never has to hold either back
        self._encode_sound(round(self.pictures / self.rate * VIDEO_SAMPLE_RATE))

    def _encode_sound(self, until: int) -> None:
        import av

        if self.sound is None or self.sound_stream is None:
            return
        block = self.sound[None, self._sent : until]
        if block.shape[1]:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = VIDEO_SAMPLE_RATE, self._sent
            frame.time_base = Fraction(1, VIDEO_SAMPLE_RATE)
            self.container.mux(self.sound_stream.encode(frame))
            self._sent += block.shape[1]

    def _finish(self) -> None:
        if self.pictures == 0:
            raise VisemoError(f"{self.path}: got no pictures, expected at least one; animate a longer clip")
        if self.sound is not None and self.sound_stream is not None:
            self._encode_sound(len(self.sound))
            self.container.mux(self.sound_stream.encode(None))
        self.container.mux(self.picture_stream.encode(None))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._open.__exit__(kind, error, trace)  # drops the half-written file
            return
        with self._open:
            self._finish()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise VisemoError(f"{path}: got a folder, expected a file with {_KINDS}")
    if not path.is_file():
        raise VisemoError(f"{path}: got no such file, expected {_KINDS}; check the path")
    if path.stat().st_size == 0:
        raise VisemoError(f"{path}: got an empty file, expected {_KINDS}")


def _decode(path: Path) -> tuple[FloatArray, int]:
    """Samples (S, C) float32 and rate in Hz, as the file's own decoder gives them."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return _decode_container(path)
    return np.asarray(samples, np.float32), rate


def _decode_container(path: Path) -> tuple[FloatArray, int]:
    import av
    from av.error import FFmpegError

    # an open file instead of its name: names such as "concat:x" are commands to FFmpeg, and a playlist
    # must not fetch what it points to
    with path.open("rb") as file:
        try:
            with av.open(file, options={"protocol_whitelist": "none"}) as container:
                if not container.streams.audio:
                    raise VisemoError(f"{path}: got a file without a sound track, expected {_KINDS}")
                return _decode_stream(container, container.streams.audio[0])
        except (FFmpegError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a sound file"
            raise VisemoError(f"{path}: got no readable sound ({reason}), expected {_KINDS}") from error


def _decode_stream(container, stream) -> tuple[FloatArray, int]:
    import av

    planar = av.AudioResampler(format="fltp")  # keeps rate and channels, makes the sample format uniform
    blocks = [part.to_ndarray() for frame in container.decode(stream) for part in planar.resample(frame)]
    blocks += [part.to_ndarray() for part in planar.resample(None)]
    channels = stream.codec_context.channels
    samples = np.concatenate([np.zeros((channels, 0), np.float32), *blocks], axis=1)
    rate = stream.codec_context.sample_rate
    # the last packet is padded to full length; the container knows where the sound ends
    stated = round(stream.duration * stream.time_base * rate) if stream.duration else 0
    padding = samples.shape[1] - stated
    if 0 < padding < PACKET:
        samples = samples[:, :stated]
    return np.ascontiguousarray(samples.T, np.float32), rate


def _resample(samples: FloatArray, rate: int, wanted: int) -> FloatArray:
    """(S,) at `rate` to round(S * wanted / rate) samples at `wanted`."""
    if rate == wanted:
        return np.ascontiguousarray(samples, np.float32)
    import soxr

    count = round(len(samples) * wanted / rate)
    moved = soxr.resample(samples.astype(np.float32), rate, wanted)
    return np.pad(moved[:count], (0, max(0, count - len(moved)))).astype(np.float32)


def _for_encoder(audio: Waveform | None) -> FloatArray | None:
    """Sound as the video's encoder takes it: (S,) at VIDEO_SAMPLE_RATE within [-1, 1]."""
    if audio is None:
        return None
    return np.clip(_resample(audio.samples, audio.sample_rate, VIDEO_SAMPLE_RATE), -1, 1)
