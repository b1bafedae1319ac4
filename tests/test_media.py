"""Sound in from every container, click tracks out, refusals in one line."""

import re
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from visemo.media import VIDEO_SAMPLE_RATE, VideoWriter, load_audio, save_wav
from visemo.types import VisemoError, Waveform

SECONDS = 1.5


def tone(rate: int, channels: int = 1) -> np.ndarray:
    """A rising chirp, (S,) or (S, C), loud enough to be recognised after any codec."""
    t = np.arange(round(SECONDS * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * (200 * t + 300 * t**2)).astype(np.float32)
    return wave if channels == 1 else np.stack([wave] * channels, axis=1)


def write_container(path: Path, codec: str, rate: int, channels: int = 1) -> None:
    """Encode the chirp with PyAV, and a black picture beside it in an mp4."""
    wave = np.atleast_2d(tone(rate)).repeat(channels, axis=0)
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=30) if path.suffix == ".mp4" else None
        sound = container.add_stream(codec, rate=rate, layout=layout)
        if picture is not None:
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            for _ in range(45):
                black = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                container.mux(picture.encode(black))
            container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), format="fltp", layout=layout)
        frame.sample_rate = rate
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (44100, 2), (48000, 2)])
def test_wav_of_every_width_and_rate(tmp_path: Path, subtype: str, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate, channels), rate, subtype=subtype)
    loaded = load_audio(tmp_path / "a.wav")
    assert loaded.sample_rate == 16000 and loaded.samples.dtype == np.float32
    assert len(loaded.samples) == round(SECONDS * 16000)
    middle = slice(800, -800)
    assert np.abs(loaded.samples - tone(16000))[middle].max() < (0.02 if subtype == "PCM_U8" else 0.01)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("a.mp3", "libmp3lame", 44100, 2),
        ("a.flac", "flac", 48000, 2),
        ("a.m4a", "aac", 44100, 2),
        ("a.mp4", "aac", 48000, 1),
        ("a.ogg", "libopus", 48000, 1),
        ("a.mkv", "aac", 16000, 1),
    ],
)
def test_containers(tmp_path: Path, name: str, codec: str, rate: int, channels: int) -> None:
    if codec == "flac":
        soundfile.write(tmp_path / name, tone(rate, channels), rate)
    else:
        write_container(tmp_path / name, codec, rate, channels)
    loaded = load_audio(tmp_path / name).samples
    # what an encoder adds in front and behind stays below three of its packets
    assert -0.001 * 16000 <= len(loaded) - SECONDS * 16000 < 3 * 1152 / rate * 16000
    lag = np.correlate(loaded[:16000], tone(16000)[:12000]).argmax()
    assert lag < 2 * 1152 / rate * 16000
    aligned = loaded[lag : lag + 12000]
    assert np.corrcoef(aligned, tone(16000)[:12000])[0, 1] > 0.99


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(16000), 0.25 * tone(16000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    assert np.allclose(load_audio(tmp_path / "a.wav").samples, (left + right) / 2, atol=1e-6)


def test_silence_is_fine_and_wav_goes_round(tmp_path: Path) -> None:
    save_wav(Waveform(np.zeros(16000, np.float32)), tmp_path / "silent.wav")
    assert not load_audio(tmp_path / "silent.wav").samples.any()
    save_wav(Waveform(tone(16000)), tmp_path / "a.wav")
    assert np.abs(load_audio(tmp_path / "a.wav").samples - tone(16000)).max() < 1 / 30000
    save_wav(Waveform(2 * tone(16000)), tmp_path / "loud.wav")
    assert np.abs(load_audio(tmp_path / "loud.wav").samples).max() <= 1


def test_same_wav_same_bytes(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        save_wav(Waveform(tone(16000)), tmp_path / name)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Every way a sound file can be wrong, with what the refusal has to say."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is not a sound\n" * 200)
    (folder / "text.txt").write_text("neither is this\n" * 200)
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")
    soundfile.write(folder / "none.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(folder / "short.wav", np.zeros(80, np.float32), 16000)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        soundfile.write(folder / f"{name}.wav", np.full(16000, value, np.float32), 16000, subtype="FLOAT")
    with VideoWriter(folder / "mute.mp4", 32, 30) as video:
        video.add(np.zeros((32, 32, 3), np.uint8))
    wanted = {
        "missing.wav": "no such file",
        "empty.wav": "empty file",
        "text.wav": "expected sound",
        "text.txt": "expected sound",
        "list.m3u8": "expected sound",
        "none.wav": "zero samples",
        "short.wav": "5 ms of sound, expected at least 50 ms",
        "nan.wav": "NaN or infinite",
        "inf.wav": "NaN or infinite",
        "mute.mp4": "without a sound track",
        ".": "got a folder",
    }
    return {name: (folder / name, message) for name, message in wanted.items()}


def test_refusals_are_one_line(tmp_path: Path) -> None:
    for path, message in bad_files(tmp_path).values():
        with pytest.raises(VisemoError, match=message) as refusal:
            load_audio(path)
        text = str(refusal.value)
        assert "\n" not in text and "expected" in text and str(path) in text


def test_real_recordings(shared_data: Path) -> None:
    rows = (shared_data / "speech" / "manifest.csv").read_text().splitlines()[1:]
    for row in rows:
        name, seconds = row.split(",")[:2]
        assert load_audio(shared_data / "speech" / name).seconds == pytest.approx(float(seconds), abs=2e-3), name


def film_clicks(path: Path, clicks: list[float], seconds: float, fps: float, rate: int = 16000) -> None:
    """A film of dark pictures with a white one, and a click, at every given time."""
    samples = np.zeros(round(seconds * rate), np.float32)
    for time in clicks:
        samples[round(time * rate) :][: rate // 500] = 0.9
    flashes = {round(time * fps) for time in clicks}
    with VideoWriter(path, 64, fps, Waveform(samples, rate)) as video:
        for n in range(round(seconds * fps)):
            video.add(np.full((64, 64, 3), 255 if n in flashes else 20, np.uint8))


def flashes_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="rgb24").mean() > 128]


def clicks_of(path: Path) -> list[float]:
    """Onsets in seconds of the container's own clock."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray()[0], frame.sample_rate) for frame in container.decode(audio=0)]
    times = np.concatenate([start + np.arange(len(block)) / rate for start, block, rate in frames])
    loud = times[np.abs(np.concatenate([block for _, block, _ in frames])) > 0.3]
    return list(loud[np.diff(loud, prepend=-1.0) > 0.1])


@pytest.mark.parametrize("fps", [30, 25, 60, 29.97])
@pytest.mark.parametrize("seconds", [3.01, 12.34])
def test_clicks_and_flashes_meet(tmp_path: Path, fps: float, seconds: float) -> None:
    path = tmp_path / "clicks.mp4"
    planted = [0.0, 0.5, 1.3, 2.9] + ([10.0] if seconds > 11 else [])
    film_clicks(path, planted, seconds, fps)
    seen, heard = flashes_of(path), clicks_of(path)
    assert len(seen) == len(heard) == len(planted)
    assert np.abs(np.subtract(seen, planted)).max() <= 0.5 / fps + 1e-3
    assert np.abs(np.subtract(heard, planted)).max() < 2e-3
    with av.open(str(path)) as container:
        starts = [float((stream.start_time or 0) * stream.time_base) for stream in container.streams]
        durations = [float(stream.duration * stream.time_base) for stream in container.streams]
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert container.streams.audio[0].codec_context.name == "aac"
    assert starts == [0.0, 0.0]
    assert abs(durations[0] - durations[1]) < 1 / fps
    assert abs(durations[1] - seconds) < 1 / VIDEO_SAMPLE_RATE


def test_sound_of_a_film_keeps_its_length(tmp_path: Path) -> None:
    film_clicks(tmp_path / "a.mp4", [1.0], 3.01, 30)
    assert len(load_audio(tmp_path / "a.mp4").samples) == round(3.01 * 16000)


def test_index_comes_first(tmp_path: Path) -> None:
    film_clicks(tmp_path / "a.mp4", [0.5], 1.0, 30)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_colours_survive(tmp_path: Path) -> None:
    color = np.array([200, 120, 90], np.uint8)
    with VideoWriter(tmp_path / "a.mp4", (96, 64), 30) as video:
        for _ in range(3):
            video.add(np.broadcast_to(color, (64, 96, 3)))
    with av.open(str(tmp_path / "a.mp4")) as container:
        first = next(container.decode(video=0))
        decoded = first.to_ndarray(format="rgb24")
    assert first.colorspace == 1 and decoded.shape == (64, 96, 3)
    assert np.abs(decoded.mean(axis=(0, 1)) - color).max() < 4


def test_a_failed_film_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(tmp_path / "a.mp4", 64, 30) as video:
        video.add(np.zeros((64, 64, 3), np.uint8))
        raise RuntimeError("stop")
    with pytest.raises(VisemoError, match="no pictures"), VideoWriter(tmp_path / "a.mp4", 64, 30):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [63, 8, (64, 33)])
def test_odd_sizes_are_refused(tmp_path: Path, size: int | tuple[int, int]) -> None:
    with pytest.raises(VisemoError, match="expected even numbers"):
        VideoWriter(tmp_path / "a.mp4", size, 30)


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(VisemoError, match=re.escape("expected (64, 64, 3) uint8")),
        VideoWriter(tmp_path / "a.mp4", 64, 30) as video,
    ):
        video.add(np.zeros((32, 64, 3), np.uint8))


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VisemoError, match="expected an existing one"):
        VideoWriter(tmp_path / "no" / "a.mp4", 64, 30).__enter__()
    with pytest.raises(VisemoError, match="expected an existing one"):
        save_wav(Waveform(tone(16000)), tmp_path / "no" / "a.wav")
