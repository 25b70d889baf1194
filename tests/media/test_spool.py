"""Decoding to disk in processes: in order, and a file that kills or fails its decoder costs itself only."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.errors import MediaError
from soundnet_kd.media import SoundStore, StoredSound, read_audio, spooled, write_audio

RATE = 22_050


def upper(source: Path, file: Path, threads: int) -> None:
    """Decode a text; some words are bad for the process."""
    text = source.read_text()
    if text == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "refuse":
        raise MediaError(f"{source.name} is refused")
    if text == "break":
        raise RuntimeError("an error of ours")
    file.write_text(text.upper())


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    words = ["a", "die", "b", "refuse", "c", "die", "d", "e"]
    for number, word in enumerate(words):
        (tmp_path / f"{number}.txt").write_text(word)
    return [tmp_path / f"{number}.txt" for number in range(len(words))]


def test_order_is_kept_and_a_decoder_that_dies_takes_one_file_with_it(sources: list[Path], tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "left by an earlier run").touch()
    with spooled(upper, sources, spool, workers=2) as files:
        found = [(source, file if isinstance(file, MediaError) else file.read_text()) for source, file in files]
    assert [source for source, _ in found] == sources
    assert [str(text) for _, text in found if not isinstance(text, MediaError)] == ["A", "B", "C", "D", "E"]
    assert "1.txt made the process that decoded it die (SIGSEGV)" in str(found[1][1])
    assert str(found[3][1]) == "3.txt is refused"
    assert isinstance(found[5][1], MediaError)
    assert not spool.exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_is_not_the_files_ends_the_run(tmp_path: Path, workers: int) -> None:
    (tmp_path / "bad.txt").write_text("break")
    with (
        pytest.raises(RuntimeError, match="an error of ours"),
        spooled(upper, [tmp_path / "bad.txt"], tmp_path / "spool", workers) as files,
    ):
        next(files)
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("rate", [None, 22_050])
def test_a_stored_sound_is_the_sound(tmp_path: Path, rate: int | None) -> None:
    noise = (np.random.default_rng(0).normal(size=30 * 16_000) * 0.1).astype(np.float32)
    write_audio(tmp_path / "noise.flac", noise, 16_000)
    SoundStore(rate, "first")(tmp_path / "noise.flac", tmp_path / "decoded")
    stored = StoredSound(tmp_path / "decoded")
    wanted, found_rate = read_audio(tmp_path / "noise.flac", rate)
    assert found_rate == (rate or 16_000)
    assert len(stored) == len(wanted)
    np.testing.assert_array_equal(stored.read(), wanted)
    pieces = list(stored.pieces(100_001))
    assert [len(piece) for piece in pieces[:-1]] == [100_001] * (len(pieces) - 1)
    np.testing.assert_array_equal(np.concatenate(pieces), wanted)


def test_a_broken_sound_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match=r"broken\.wav is not a media file"):
        SoundStore(RATE, "first")(tmp_path / "broken.wav", tmp_path / "decoded")
