"""Time stamps that are wrong, missing or late, and tracks that are damaged beside the sound."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from soundnet_kd.media import read_audio, stream_audio
from tests.media_files import Waveform, sine, write_sound

RATE = 16_000
Change = Callable[[int, "av.Packet[Any]"], "av.Packet[Any] | None"]


def sweep(seconds: float) -> Waveform:
    moments = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 + 100 * moments) * moments)).astype(np.float32)


def later(seconds_by_packet: dict[int, float], dropped: range = range(0)) -> Change:
    """Move the stamps of some packets, and leave some out; 16 packets are a second."""

    def change(index: int, packet: av.Packet[Any]) -> av.Packet[Any] | None:
        assert packet.pts is not None
        if index in dropped:
            return None
        packet.pts += round(seconds_by_packet.get(index, 0) / packet.time_base)
        # Muxers want these to grow, and not to lie behind the others.
        packet.dts = -10_000 + index
        return packet

    return change


def write(path: Path, sound: Waveform, change: Change, with_picture: bool = True) -> None:
    samples = np.round(sound * 32767).astype(np.int16)[np.newaxis]
    # In packets of 1024 samples.
    write_sound(path, samples, RATE, "pcm_s16le", sample_format="s16", change_packet=change, with_picture=with_picture)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0, 500.0, 5000.0])
@pytest.mark.parametrize("wrong", [[0], [1], [20], [20, 21, 22, 23], [20, 40, 60], [77], [78]])
@pytest.mark.parametrize("with_picture", [True, False])
def test_stamps_that_those_behind_them_contradict_move_nothing(
    tmp_path: Path, seconds: float, wrong: list[int], with_picture: bool
) -> None:
    sound = sweep(5)
    write(tmp_path / "x.mkv", sound, later(dict.fromkeys(wrong, seconds)), with_picture)
    waveform, _ = read_audio(tmp_path / "x.mkv")
    np.testing.assert_allclose(waveform, sound, atol=1e-4)
    blocks = list(stream_audio(tmp_path / "x.mkv", RATE, block_seconds=0.7))
    np.testing.assert_array_equal(np.concatenate(blocks), waveform)


@pytest.mark.parametrize("seconds", [-0.2, -0.9])
def test_a_stamp_before_those_in_front_of_it_moves_nothing(tmp_path: Path, seconds: float) -> None:
    sound = sweep(5)
    write(tmp_path / "x.mkv", sound, later({50: seconds}))
    np.testing.assert_allclose(read_audio(tmp_path / "x.mkv")[0], sound, atol=1e-4)


@pytest.mark.parametrize("wrong", [None, 30, 33, 36])
def test_a_real_gap_stays_beside_a_wrong_stamp(tmp_path: Path, wrong: int | None) -> None:
    """Packets 20 ... 29 and 34, 35 are lost."""
    sound = sweep(6)
    dropped = [*range(20, 30), 34, 35]

    def change(index: int, packet: av.Packet[Any]) -> av.Packet[Any] | None:
        return None if index in dropped else later({} if wrong is None else {wrong: 7.0})(index, packet)

    write(tmp_path / "x.mkv", sound, change)
    waveform, _ = read_audio(tmp_path / "x.mkv")
    expected = sound.copy()
    for index in dropped:
        expected[index * 1024 : (index + 1) * 1024] = 0
    if wrong is None:
        # Matroska counts whole milliseconds.
        assert abs(len(waveform) - len(expected)) <= 16
    assert len(waveform) == pytest.approx(len(expected), abs=2 * 1024)
    end = slice(-3 * RATE, None)
    shift = len(waveform) - len(expected)
    np.testing.assert_allclose(waveform[end], expected[end], atol=1e-4)
    assert abs(shift) <= 1024


@pytest.mark.parametrize("with_picture", [True, False])
def test_only_beside_pictures_a_late_start_is_silence(tmp_path: Path, with_picture: bool) -> None:
    sound = sweep(3)
    write(tmp_path / "x.mkv", sound, later(dict.fromkeys(range(100), 0.4)), with_picture)
    waveform, _ = read_audio(tmp_path / "x.mkv")
    silent = round(0.4 * RATE) if with_picture else 0
    assert not waveform[:silent].any()
    np.testing.assert_allclose(waveform[silent:], sound, atol=1e-4)


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "avi"])
def test_damaged_pictures_do_not_shorten_the_sound(tmp_path: Path, container: str) -> None:
    """In MP4 the table of the pictures names some beyond the end of the file; elsewhere pictures are overwritten."""
    sound = sine(500, 3, RATE)
    path = tmp_path / f"x.{container}"
    write_sound(path, sound[np.newaxis], RATE, "libmp3lame", with_picture=True)
    whole, _ = read_audio(path)
    raw = bytearray(path.read_bytes())
    if container in ("mp4", "mov"):
        handler = raw.index(b"vide", raw.index(b"moov"))
        table = raw.index(b"stco", handler)
        (count,) = struct.unpack(">I", raw[table + 8 : table + 12])
        assert count
        for entry in range(count // 2, count):
            raw[table + 12 + 4 * entry : table + 16 + 4 * entry] = struct.pack(">I", 2**31 + entry)
    else:
        with av.open(str(path)) as media:
            places = [(packet.pos, packet.size) for packet in media.demux(video=0) if packet.size and packet.pos]
        for position, size in places:
            raw[position + 20 : position + size] = bytes(size - 20)
    path.write_bytes(raw)
    damaged, _ = read_audio(path)
    np.testing.assert_array_equal(damaged, whole)
