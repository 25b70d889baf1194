"""Decoding to disk in processes: in order, and a file that kills or fails its decoder costs itself only."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pebble.pool.process import PoolManager

from soundnet_kd.errors import GivenUpError, MediaError, SettingsError
from soundnet_kd.media import (
    MediaSource,
    RawAudioDecoder,
    RawAudioFile,
    decode_in_processes,
    decode_pool,
    read_audio,
    write_audio,
)

RATE = 22_050


def upper(source: MediaSource, file: Path, threads: int) -> None:
    """Decode a text; some words are bad for the process."""
    assert isinstance(source, Path)
    text = source.read_text()
    if text == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == "hang":
        file.write_text(str(os.getpid()))
        time.sleep(3600)
    if text == "write for ever":
        with file.open("w") as handle:
            while True:
                print("more", file=handle, flush=True)
                time.sleep(0.01)
    if text == "late":
        raise TimeoutError(110, "Connection timed out")
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
    folder = tmp_path / "decoded"
    folder.mkdir()
    (folder / "left by an earlier run").touch()
    with decode_in_processes(upper, sources, folder, workers=2) as files:
        found = [(source, file if isinstance(file, MediaError) else file.read_text()) for source, file in files]
        assert not list(folder.iterdir())
    assert [source for source, _ in found] == sources
    assert [str(text) for _, text in found if not isinstance(text, MediaError)] == ["A", "B", "C", "D", "E"]
    assert "1.txt made the process that decoded it die (SIGSEGV)" in str(found[1][1])
    assert str(found[3][1]) == "3.txt is refused"
    assert isinstance(found[5][1], MediaError)
    assert not folder.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_many_deaths_cost_the_files_that_they_were_at(tmp_path: Path, workers: int) -> None:
    sources = [tmp_path / f"{number}.txt" for number in range(24)]
    for number, source in enumerate(sources):
        source.write_text("a" if number % 3 else "die")
    with decode_in_processes(upper, sources, tmp_path / "decoded", workers) as files:
        found = [(source, isinstance(file, MediaError)) for source, file in files]
    assert found == [(source, number % 3 == 0) for number, source in enumerate(sources)]


def test_a_death_that_the_pool_does_not_notice_costs_one_file(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a process dies before the pool has read what it has taken up."""

    def knows_nothing(manager: PoolManager, process: int) -> None:
        raise LookupError

    monkeypatch.setattr(PoolManager, "find_expired_task", knows_nothing)
    monkeypatch.setattr(decode_pool, "CHECK_SECONDS", 0.1)
    with decode_in_processes(upper, sources, tmp_path / "decoded", workers=2) as files:
        found = [(source, isinstance(file, MediaError)) for source, file in files]
    assert found == [(source, source.read_text() in ("die", "refuse")) for source in sources]


def test_a_file_that_writes_for_ever_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files after it have theirs, from when they are begun."""
    monkeypatch.setattr(decode_pool, "CHECK_SECONDS", 0.1)
    sources = [tmp_path / f"{number}.txt" for number in range(4)]
    for source, text in zip(sources, ["a", "write for ever", "b", "c"], strict=True):
        source.write_text(text)
    with decode_in_processes(upper, sources, tmp_path / "decoded", workers=1, deadline_minutes=0.1) as files:
        found = [file if isinstance(file, MediaError) else file.read_text() for _, file in files]
    assert [found[0], *found[2:]] == ["A", "B", "C"]
    assert isinstance(found[1], GivenUpError)
    assert "1.txt was not decoded within 0.1 minutes" in str(found[1])


def test_without_processes_a_file_that_does_not_end_is_given_up_too(tmp_path: Path) -> None:
    write_audio(tmp_path / "long.wav", np.full(80_000, 0.1, np.float32), 8000)
    store = RawAudioDecoder(8000, "first")
    with decode_in_processes(
        store, [tmp_path / "long.wav"], tmp_path / "decoded", workers=0, deadline_minutes=1e-9
    ) as files:
        ((_, given_up),) = files
    assert isinstance(given_up, GivenUpError)
    assert str(given_up).startswith("long.wav was not decoded within 1e-09 minutes; convert it, or give a longer")
    # The limit was that of the file.
    with decode_in_processes(store, [tmp_path / "long.wav"], tmp_path / "decoded", workers=0) as files:
        ((_, file),) = files
    assert isinstance(file, Path)


def test_a_disk_that_times_out_is_no_deadline(tmp_path: Path) -> None:
    (tmp_path / "late.txt").write_text("late")
    with (
        pytest.raises(TimeoutError, match="Connection timed out"),
        decode_in_processes(upper, [tmp_path / "late.txt"], tmp_path / "decoded", workers=1) as files,
    ):
        next(files)


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_a_deadline_is_above_zero(tmp_path: Path, minutes: float) -> None:
    with (
        pytest.raises(SettingsError, match=r"deadline_minutes is .*; it has to be above 0"),
        decode_in_processes(upper, [], tmp_path / "decoded", workers=0, deadline_minutes=minutes),
    ):
        pass


def test_an_idle_process_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    sources = [tmp_path / f"{number}.txt" for number in range(40)]
    for source in sources:
        source.write_text("a")
    before = set(multiprocessing.active_children())
    with decode_in_processes(upper, sources, tmp_path / "decoded", workers=2) as files:
        for number, (_, file) in enumerate(files):
            assert isinstance(file, Path), file
            if number == 20:
                time.sleep(0.5)
                for child in set(multiprocessing.active_children()) - before:
                    os.kill(child.pid or 0, signal.SIGKILL)
                    break
    assert number == 39


def test_a_full_disk_is_not_the_fault_of_a_sound(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write_audio(tmp_path / "noise.wav", np.full(RATE, 0.1, np.float32), RATE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            RawAudioDecoder(RATE, "first")(tmp_path / "noise.wav", tmp_path / "decoded")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_script_without_a_guard_may_decode_in_processes(tmp_path: Path, from_stdin: bool) -> None:
    write_audio(tmp_path / "noise.wav", np.full(RATE, 0.1, np.float32), RATE)
    script = (
        "from pathlib import Path\n"
        "from soundnet_kd.media import MediaSource, RawAudioDecoder, decode_in_processes\n"
        "print('once')\n"
        "decoder = RawAudioDecoder(None, 'first')\n"
        "with decode_in_processes(decoder, [Path('noise.wav')], Path('decoded'), workers=1) as files:\n"
        "    print([file.stat().st_size for _, file in files])\n"
    )
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable] if from_stdin else [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, input=script, capture_output=True, text=True, check=False)
    assert done.stdout == f"once\n[{4 * RATE}]\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    (tmp_path / "hang.txt").write_text("hang")
    script = (
        "import sys\nfrom pathlib import Path\nfrom soundnet_kd.media import decode_in_processes\n"
        "from tests.media.test_decode_pool import upper\n"
        f"sources, folder = [Path({str(tmp_path / 'hang.txt')!r})], Path({str(tmp_path / 'decoded')!r})\n"
        "with decode_in_processes(upper, sources, folder, 1) as files:\n"
        "    next(files)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    pid_file = tmp_path / "decoded" / "0"
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = int(pid_file.read_text())
    process.kill()
    process.wait()
    while Path(f"/proc/{worker}").exists() and "Z" not in Path(f"/proc/{worker}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the process that decodes outlived the run"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_is_not_the_files_ends_the_run(tmp_path: Path, workers: int) -> None:
    (tmp_path / "bad.txt").write_text("break")
    with (
        pytest.raises(RuntimeError, match="an error of ours"),
        decode_in_processes(upper, [tmp_path / "bad.txt"], tmp_path / "decoded", workers) as files,
    ):
        next(files)
    assert not (tmp_path / "decoded").exists()


@pytest.mark.parametrize("rate", [None, 22_050])
def test_a_stored_sound_is_the_sound(tmp_path: Path, rate: int | None) -> None:
    noise = (np.random.default_rng(0).normal(size=30 * 16_000) * 0.1).astype(np.float32)
    write_audio(tmp_path / "noise.flac", noise, 16_000)
    RawAudioDecoder(rate, "first")(tmp_path / "noise.flac", tmp_path / "decoded")
    stored = RawAudioFile(tmp_path / "decoded")
    wanted, found_rate = read_audio(tmp_path / "noise.flac", rate)
    assert found_rate == (rate or 16_000)
    assert len(stored) == len(wanted)
    np.testing.assert_array_equal(stored.read(), wanted)
    blocks = list(stored.blocks(100_001))
    assert [len(piece) for piece in blocks[:-1]] == [100_001] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate(blocks), wanted)


def test_a_broken_sound_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match=r"broken\.wav is not a media file"):
        RawAudioDecoder(RATE, "first")(tmp_path / "broken.wav", tmp_path / "decoded")
