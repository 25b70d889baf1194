from __future__ import annotations

import struct
import tracemalloc
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.errors import EmptyAudioError, MediaError
from soundnet_kd.media import read_audio, stream_audio
from tests.media_files import (
    Waveform,
    garbage_instead_of,
    loudest_frequency,
    sine,
    write_numbered,
    write_sound,
)


def rms(waveform: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(waveform))))


def write_wave(path: Path, samples: NDArray[Any], sample_rate: int, channels: int = 1) -> None:
    """The standard library as an independent writer."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([0, 64, 128, 192, 255], np.uint8), [-1.0, -0.5, 0.0, 0.5, 127 / 128]),
        (np.array([-(2**15), -(2**14), 0, 2**14, 2**15 - 1], np.int16), [-1.0, -0.5, 0.0, 0.5, 32767 / 32768]),
        (np.array([-(2**31), -(2**30), 0, 2**30, 2**31 - 128], np.int32), [-1.0, -0.5, 0.0, 0.5, 1 - 2**-24]),
    ],
)
def test_whole_numbers_of_any_width_are_scaled_to_one(
    tmp_path: Path, stored: NDArray[Any], expected: list[float]
) -> None:
    write_wave(tmp_path / "levels.wav", stored, 8000)
    waveform, sample_rate = read_audio(tmp_path / "levels.wav")
    assert sample_rate == 8000
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, expected, atol=1e-7)


def test_tags_in_an_odd_encoding_are_no_obstacle(tmp_path: Path) -> None:
    write_wave(tmp_path / "cafe.wav", np.array([0, 2**14], np.int16), 8000)
    plain = (tmp_path / "cafe.wav").read_bytes()
    title = "Café\0\0".encode("latin-1")
    tags = b"LIST" + struct.pack("<I", 12 + len(title)) + b"INFO" + b"INAM" + struct.pack("<I", len(title)) + title
    data = plain.index(b"data")
    tagged = plain[8:data] + tags + plain[data:]
    (tmp_path / "cafe.wav").write_bytes(b"RIFF" + struct.pack("<I", len(tagged)) + tagged)
    assert read_audio(tmp_path / "cafe.wav")[0].tolist() == [0.0, 0.5]


def test_broken_and_too_large_floats_are_tamed(tmp_path: Path) -> None:
    samples = np.full((1, 4000), 0.25, np.float32)
    samples[0, 1000], samples[0, 2000], samples[0, 3000] = np.nan, np.inf, 3.0
    write_sound(tmp_path / "odd.wav", samples, 8000, "pcm_f32le", sample_format="flt")
    waveform, _ = read_audio(tmp_path / "odd.wav")
    np.testing.assert_array_equal(waveform[[999, 1000, 2000, 3000]], [0.25, 0, 0, 1])


def test_channels_are_chosen_or_averaged(tmp_path: Path) -> None:
    left, right = np.full(2000, 8192, np.int16), np.full(2000, -24576, np.int16)
    write_wave(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 8000, channels=2)
    np.testing.assert_array_equal(read_audio(tmp_path / "stereo.wav")[0], np.full(2000, 0.25, np.float32))
    np.testing.assert_array_equal(
        read_audio(tmp_path / "stereo.wav", channel="mean")[0], np.full(2000, -0.25, np.float32)
    )
    with pytest.raises(ValueError, match='it must be "first" or "mean"'):
        read_audio(tmp_path / "stereo.wav", channel="left")  # type: ignore[arg-type]


def test_planar_channels_are_chosen_or_averaged(tmp_path: Path) -> None:
    signals = np.stack([sine(500, 1, 16000, 0.8), sine(2000, 1, 16000, 0.2)])
    write_sound(tmp_path / "stereo.m4a", signals, 16000, "aac", layout="stereo")
    first, _ = read_audio(tmp_path / "stereo.m4a")
    mean, _ = read_audio(tmp_path / "stereo.m4a", channel="mean")
    assert rms(first) == pytest.approx(0.8 / 2**0.5, rel=0.05)
    assert rms(mean) == pytest.approx(((0.4**2 + 0.1**2) / 2) ** 0.5, rel=0.05)


@pytest.mark.parametrize("rates", [(44100, 22050), (16000, 44100), (48000, 22050), (8000, 8000)])
def test_resampling_keeps_pitch_level_and_length(tmp_path: Path, rates: tuple[int, int]) -> None:
    rate_in, rate_out = rates
    samples = (sine(1000, 2, rate_in) * 32767).astype(np.int16)
    write_wave(tmp_path / "tone.wav", samples, rate_in)
    waveform, sample_rate = read_audio(tmp_path / "tone.wav", sample_rate=rate_out)
    assert sample_rate == rate_out
    assert len(waveform) == 2 * rate_out
    assert loudest_frequency(waveform, rate_out) == pytest.approx(1000, abs=1)
    # Sample by sample: nothing is shifted, and no seam lies between decoded blocks.
    np.testing.assert_allclose(waveform[200:-200], sine(1000, 2, rate_out)[200:-200], atol=1e-3)


@pytest.mark.parametrize("samples", [1, 20, 100])
def test_the_shortest_sounds_survive_resampling(tmp_path: Path, samples: int) -> None:
    write_wave(tmp_path / "click.wav", np.full(samples, 16384, np.int16), 44100)
    assert len(read_audio(tmp_path / "click.wav", sample_rate=22050)[0]) == -(-samples // 2)


def test_sound_that_starts_after_the_pictures_starts_with_silence(tmp_path: Path) -> None:
    tone = sine(1000, 1, 16000)[np.newaxis]
    write_sound(tmp_path / "late.mkv", tone, 16000, "flac", sample_format="fltp", first_sample=8000, with_picture=True)
    waveform, _ = read_audio(tmp_path / "late.mkv")
    assert len(waveform) == 24000
    assert not waveform[:8000].any()
    np.testing.assert_allclose(waveform[8000:], tone[0], atol=1e-3)


@pytest.mark.parametrize("kind", ["dropped", "garbage"])
@pytest.mark.parametrize("sample_rate", [None, 22050])
def test_missing_sound_is_silence_and_the_rest_stays_in_time(
    tmp_path: Path, kind: str, sample_rate: int | None
) -> None:
    """Click at 2.5 s; the packets from 1.0 s to 1.5 s are lost or cannot be decoded."""
    samples = sine(300, 3, 44100, 0.1)[np.newaxis].copy()
    samples[0, round(2.5 * 44100)] = 1.0

    def damage(index: int, packet: av.Packet[Any]) -> av.Packet[Any] | None:
        assert packet.pts is not None
        if not 1.0 <= packet.pts * packet.time_base < 1.5:
            return packet
        return None if kind == "dropped" else garbage_instead_of(packet)

    write_sound(tmp_path / "hole.mkv", samples, 44100, "flac", change_packet=damage)
    waveform, rate = read_audio(tmp_path / "hole.mkv", sample_rate)
    # Matroska counts whole milliseconds.
    assert len(waveform) == pytest.approx(3 * rate, abs=rate / 1000)
    assert np.abs(waveform).argmax() / rate == pytest.approx(2.5, abs=0.002)
    assert not waveform[round(1.15 * rate) : round(1.4 * rate)].any()
    assert rms(waveform[round(1.7 * rate) : round(2.4 * rate)]) == pytest.approx(0.1 / 2**0.5, rel=0.01)


def test_jitter_of_time_stamps_moves_nothing(tmp_path: Path) -> None:
    tone = sine(1000, 2, 16000)[np.newaxis]

    def shake(index: int, packet: av.Packet[Any]) -> av.Packet[Any]:
        assert packet.pts is not None
        if index:
            packet.pts += (-1) ** index * 10 * packet.time_base.denominator // packet.time_base.numerator // 1000
            packet.dts = packet.pts
        return packet

    write_sound(tmp_path / "jitter.mkv", tone, 16000, "flac", change_packet=shake)
    waveform, _ = read_audio(tmp_path / "jitter.mkv")
    np.testing.assert_allclose(waveform, tone[0], atol=1e-3)


def test_a_broken_clock_does_not_fill_the_memory(tmp_path: Path) -> None:
    def jump(index: int, packet: av.Packet[Any]) -> av.Packet[Any]:
        assert packet.pts is not None
        if index > 4:
            packet.pts = packet.dts = packet.pts + round(10 * 3600 / packet.time_base)
        return packet

    write_sound(tmp_path / "jump.mkv", sine(1000, 2, 16000)[np.newaxis], 16000, "flac", change_packet=jump)
    assert len(read_audio(tmp_path / "jump.mkv")[0]) == 32000


def test_a_rate_that_changes_midway_is_resampled_away(tmp_path: Path) -> None:
    parts = []
    for rate, layout, channels in [(32000, "mono", 1), (16000, "stereo", 2)]:
        part = tmp_path / f"{rate}.aac"
        tone = np.repeat(sine(1000, 2, rate)[np.newaxis], channels, axis=0)
        write_sound(part, tone, rate, "aac", layout=layout, format="adts")
        parts.append(part.read_bytes())
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    waveform, sample_rate = read_audio(tmp_path / "both.aac")
    assert sample_rate == 32000
    assert len(waveform) == pytest.approx(4 * 32000, rel=0.1)
    assert loudest_frequency(waveform[20000:50000], 32000) == pytest.approx(1000, abs=3)
    assert loudest_frequency(waveform[-50000:-20000], 32000) == pytest.approx(1000, abs=3)


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    samples = (sine(1000, 2, 16000) * 32767).astype(np.int16)
    write_wave(tmp_path / "whole.wav", samples, 16000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[: 44 + 16000 * 2])
    assert len(read_audio(tmp_path / "cut.wav")[0]) == 16000


def test_names_that_look_like_addresses_are_files(tmp_path: Path) -> None:
    write_wave(tmp_path / "take:2 %d.wav", np.ones(100, np.int16), 8000)
    assert len(read_audio(tmp_path / "take:2 %d.wav")[0]) == 100


def test_each_unusable_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no media at all\n" * 100)
    (tmp_path / "folder.wav").mkdir()
    write_numbered(tmp_path / "mute.mp4", range(5), Fraction(1, 25))
    write_sound(
        tmp_path / "damaged.mkv",
        sine(500, 1, 16000)[np.newaxis],
        16000,
        "flac",
        change_packet=lambda index, packet: garbage_instead_of(packet),
    )
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "mute.mp4").read_bytes()[:200])
    expected = {
        "gone.wav": "gone.wav does not exist",
        "empty.mp4": "empty.mp4 is empty",
        "text.mp4": "text.mp4 is not a media file",
        "folder.wav": "folder.wav is a folder",
        "mute.mp4": "mute.mp4 has no audio track",
        "damaged.mkv": "damaged.mkv has a damaged audio track",
        "cut.mp4": "cut.mp4 is not a media file, or it is damaged",
    }
    for name, message in expected.items():
        with pytest.raises(MediaError, match=message) as caught:
            read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_track_without_samples_is_its_own_error(tmp_path: Path) -> None:
    write_wave(tmp_path / "nothing.wav", np.zeros(0, np.int16), 8000)
    with pytest.raises(EmptyAudioError, match=r"nothing\.wav has an audio track without a single sample"):
        read_audio(tmp_path / "nothing.wav")


def joined(path: Path, sample_rate: int, block_seconds: float, channel: Any = "first") -> Waveform:
    """All blocks in a row, each checked for its length and type."""
    blocks = list(stream_audio(path, sample_rate, channel, block_seconds=block_seconds))
    assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * sample_rate)}
    assert 0 < len(blocks[-1]) <= round(block_seconds * sample_rate)
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    return np.concatenate(blocks)


@pytest.mark.parametrize("block_seconds", [0.0501, 0.7, 1.0, 3.3333, 100.0])
def test_blocks_together_are_the_whole_sound(tmp_path: Path, block_seconds: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, (2, 4 * 44100)).astype(np.float32)

    def hole(index: int, packet: av.Packet[Any]) -> av.Packet[Any] | None:
        return None if 30 <= index < 60 else packet

    write_sound(tmp_path / "hole.mkv", noise[:1], 44100, "flac", change_packet=hole)
    write_sound(tmp_path / "stereo.m4a", noise, 44100, "aac", layout="stereo")
    write_sound(tmp_path / "late.mkv", noise[:1], 44100, "flac", first_sample=20000, with_picture=True)
    for name in ("hole.mkv", "stereo.m4a", "late.mkv"):
        for rate in (44100, 22050, 48000):
            for channel in ("first", "mean"):
                whole, _ = read_audio(tmp_path / name, rate, channel)
                np.testing.assert_array_equal(joined(tmp_path / name, rate, block_seconds, channel), whole)


def test_blocks_that_divide_the_sound_leave_no_rest(tmp_path: Path) -> None:
    write_wave(tmp_path / "even.wav", np.ones(8000, np.int16), 8000)
    blocks = list(stream_audio(tmp_path / "even.wav", 8000, block_seconds=0.25))
    assert [len(block) for block in blocks] == [2000] * 4


@pytest.mark.parametrize("kind", ["long", "gap"])
def test_a_long_sound_is_never_held_whole(tmp_path: Path, kind: str) -> None:
    """Ten minutes at 44.1 kHz are 106 MB; a block of a second is 0.2 MB."""
    if kind == "long":
        write_wave(tmp_path / "long.wav", np.zeros(600 * 44100, np.int16), 44100)
    else:

        def jump(index: int, packet: av.Packet[Any]) -> av.Packet[Any]:
            assert packet.pts is not None
            if index > 4:
                packet.pts = packet.dts = packet.pts + round(595 / packet.time_base)
            return packet

        write_sound(tmp_path / "long.mkv", sine(500, 5, 44100)[np.newaxis], 44100, "flac", change_packet=jump)
    path = next(tmp_path.iterdir())
    samples = 0
    tracemalloc.start()
    for block in stream_audio(path, 44100, block_seconds=1.0):
        samples += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == pytest.approx(600 * 44100, abs=100)
    assert peak < 3e6


def test_whoever_stops_early_closes_the_file(tmp_path: Path) -> None:
    def is_open() -> bool:
        return any(link.resolve() == path.resolve() for link in Path("/proc/self/fd").iterdir())

    path = tmp_path / "long.wav"
    write_wave(path, np.zeros(60 * 44100, np.int16), 44100)
    blocks = stream_audio(path, 44100, block_seconds=1.0)
    assert len(next(blocks)) == 44100
    if Path("/proc/self/fd").exists():
        assert is_open()
        blocks.close()
        assert not is_open()


def test_streams_fail_as_whole_files_do(tmp_path: Path) -> None:
    write_wave(tmp_path / "nothing.wav", np.zeros(0, np.int16), 8000)
    (tmp_path / "text.wav").write_text("no media at all\n" * 100)
    with pytest.raises(EmptyAudioError, match="without a single sample"):
        list(stream_audio(tmp_path / "nothing.wav", 8000))
    with pytest.raises(MediaError, match=r"text\.wav is not a media file"):
        list(stream_audio(tmp_path / "text.wav", 8000))
    with pytest.raises(ValueError, match="block_seconds is 0"):
        stream_audio(tmp_path / "nothing.wav", 8000, block_seconds=0)
    with pytest.raises(ValueError, match="it must be positive"):
        stream_audio(tmp_path / "nothing.wav", 0)


@pytest.mark.real
def test_streams_of_real_videos_are_the_whole_sound(real_data: Path) -> None:
    for path in sorted((real_data / "videos").iterdir()):
        if path.suffix == ".csv":
            continue
        whole, _ = read_audio(path, 22050)
        np.testing.assert_array_equal(joined(path, 22050, 1.2345), whole, path.name)


@pytest.mark.real
def test_esc50_clips_of_8_bit_come_out_at_their_levels(real_data: Path) -> None:
    for path in sorted((real_data / "esc50" / "audio").iterdir())[::200]:
        waveform, sample_rate = read_audio(path)
        assert (len(waveform), sample_rate) == (80000, 16000)
        levels = waveform * 128
        np.testing.assert_array_equal(levels, np.round(levels))
        assert 1 / 128 <= np.abs(waveform).max() <= 1


def test_the_start_of_a_sound_is_that_of_all_of_it(tmp_path: Path) -> None:
    write_wave(tmp_path / "long.wav", (sine(440, 3, 16_000) * 32767).astype(np.int16), 16_000)
    everything, rate = read_audio(tmp_path / "long.wav")
    start, start_rate = read_audio(tmp_path / "long.wav", longest_seconds=1.25)
    assert rate == start_rate == 16_000
    assert len(start) == 20_000
    np.testing.assert_array_equal(start, everything[:20_000])
    longer, _ = read_audio(tmp_path / "long.wav", longest_seconds=10)
    np.testing.assert_array_equal(longer, everything)
