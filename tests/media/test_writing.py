import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from soundnet_kd.errors import MediaError
from soundnet_kd.media import read_audio, read_frames, write_audio, write_video
from tests.media_files import Pixels, loudest_frequency, number_of, numbered_picture, sine


@pytest.mark.parametrize("video_codec", ["libx264", "mpeg4"])
def test_a_video_holds_its_pictures_and_its_sound(tmp_path: Path, video_codec: Any) -> None:
    frames = (numbered_picture(number) for number in range(50))
    write_video(tmp_path / "clip.mp4", frames, 25, sine(1000, 2, 22050), 22050, video_codec=video_codec)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"
        assert container.streams.video[0].average_rate == 25
        pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]
        assert [number_of(picture) for picture in pictures] == list(range(50))
    waveform, sample_rate = read_audio(tmp_path / "clip.mp4")
    assert sample_rate == 22050
    assert len(waveform) == pytest.approx(2 * 22050, abs=1024)
    assert loudest_frequency(waveform, sample_rate) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_flash_and_click_come_together(tmp_path: Path, name: str) -> None:
    pictures = [np.full((64, 96, 3), 255 if number == 30 else 0, np.uint8) for number in range(75)]
    waveform = np.zeros(3 * 44100, np.float32)
    waveform[round(1.2 * 44100) : round(1.24 * 44100)] = sine(2000, 0.04, 44100, 0.9)
    write_video(tmp_path / name, pictures, 25, waveform, 44100)
    times = np.arange(0, 3, 0.01)
    flash = [
        seconds
        for seconds, frame in zip(times, read_frames(tmp_path / name, times), strict=True)
        if frame.image.mean() > 127
    ]
    heard, sample_rate = read_audio(tmp_path / name)
    click = np.flatnonzero(np.abs(heard) > 0.45) / sample_rate
    assert flash[0] == pytest.approx(1.2, abs=0.011)
    assert flash[-1] == pytest.approx(1.23, abs=0.011)
    assert click[0] == pytest.approx(1.2, abs=0.005)
    assert click[-1] == pytest.approx(1.24, abs=0.005)


def test_pictures_and_sound_lie_side_by_side(tmp_path: Path) -> None:
    pictures = (numbered_picture(number % 256) for number in range(30 * 25))
    write_video(tmp_path / "clip.mp4", pictures, 25, sine(1000, 30, 8000), 8000)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        placed = sorted(
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.pos is not None and packet.dts is not None
        )
    reached = {"video": 0.0, "audio": 0.0}
    for _, kind, seconds in placed:
        reached[kind] = seconds
        assert abs(reached["video"] - reached["audio"]) < 2


def test_pictures_only_and_sound_only(tmp_path: Path) -> None:
    write_video(tmp_path / "mute.mp4", [numbered_picture(7)] * 5, Fraction(30000, 1001))
    write_video(tmp_path / "dark.mp4", None, waveform=sine(500, 1, 16000), sample_rate=16000)
    with pytest.raises(MediaError, match=r"mute\.mp4 has no audio track"):
        read_audio(tmp_path / "mute.mp4")
    with pytest.raises(MediaError, match=r"dark\.mp4 has no picture track"):
        read_frames(tmp_path / "dark.mp4", [0])
    with pytest.raises(ValueError, match="neither pictures nor sound"):
        write_video(tmp_path / "nothing.mp4", None)
    assert not (tmp_path / "nothing.mp4").exists()


def test_odd_sizes_lose_their_last_row_and_column(tmp_path: Path) -> None:
    write_video(tmp_path / "odd.mp4", [np.zeros((65, 97, 3), np.uint8)] * 3)
    assert read_frames(tmp_path / "odd.mp4", [0])[0].image.shape == (64, 96, 3)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def frames() -> Iterator[Pixels]:
        yield numbered_picture(0)
        raise RuntimeError("camera lost")

    with pytest.raises(RuntimeError, match="camera lost"):
        write_video(tmp_path / "clip.mp4", frames())
    with pytest.raises(ValueError, match=r"frame 1 is \(32, 96, 3\) uint8"):
        write_video(tmp_path / "clip.mp4", [numbered_picture(0), numbered_picture(0)[:32]])
    with pytest.raises(MediaError, match=r"clip\.nonsense has a suffix"):
        write_video(tmp_path / "clip.nonsense", [numbered_picture(0)])
    assert list(tmp_path.iterdir()) == []


def test_sixteen_bits_come_back_unchanged(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(-(2**15), 2**15, 5000).astype(np.int16)
    for name in ("noise.wav", "noise.flac"):
        write_audio(tmp_path / name, (levels / 2**15).astype(np.float32), 12345)
        waveform, sample_rate = read_audio(tmp_path / name)
        assert sample_rate == 12345
        np.testing.assert_array_equal(waveform * 2**15, levels)
    with wave.open(str(tmp_path / "noise.wav"), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 12345)
        np.testing.assert_array_equal(np.frombuffer(file.readframes(5000), np.int16), levels)


def test_too_loud_sound_is_clipped_not_wrapped(tmp_path: Path) -> None:
    write_audio(tmp_path / "loud.wav", np.array([2.0, -2.0, 1.0, -1.0], np.float32), 8000)
    waveform, _ = read_audio(tmp_path / "loud.wav")
    np.testing.assert_array_equal(waveform * 2**15, [32767, -32768, 32767, -32768])


@pytest.mark.parametrize(("rate", "written"), [(8000, 8000), (44100, 44100), (96000, 48000), (7000, 8000)])
def test_mp3_takes_the_nearest_of_its_rates(tmp_path: Path, rate: int, written: int) -> None:
    write_audio(tmp_path / "sound.mp3", sine(500, 2, rate), rate)
    with av.open(str(tmp_path / "sound.mp3")) as container:
        assert container.streams.audio[0].rate == written
        waveform = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(waveform) == pytest.approx(2 * written, rel=0.05)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert spectrum.argmax() * written / len(waveform) == pytest.approx(500, abs=2)
    assert (tmp_path / "sound.mp3").stat().st_size == pytest.approx(2 * 64_000 / 8, rel=0.15)


def test_sounds_are_wav_flac_or_mp3_and_mono(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"sound\.ogg has to end in \.wav or \.flac or \.mp3"):
        write_audio(tmp_path / "sound.ogg", sine(500, 1, 8000), 8000)
    with pytest.raises(ValueError, match=r"must be \(samples,\)"):
        write_audio(tmp_path / "sound.wav", np.zeros((2, 100), np.float32), 8000)
