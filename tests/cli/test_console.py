"""A command towards its console: every letter, lines of their own, signals."""

import inspect
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from soundnet_kd import SoundNet5
from soundnet_kd.cli import main, table
from soundnet_kd.cli.console import close_progress_bars, escape_unprintable, print_line
from soundnet_kd.cli.table import Command
from soundnet_kd.media import write_audio
from soundnet_kd.models import write_network

RUSSIAN = "дождь"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("console")
    write_network(SoundNet5({"objects": ("犬", "кошка"), "scenes": ("café", "😀")}).eval(), folder / "s", {})
    for name in (RUSSIAN, "犬"):
        for number in range(5):
            sound = np.random.default_rng(number).uniform(-0.5, 0.5, 22_050).astype(np.float32)
            write_audio(folder / "sounds" / name / f"{name}{number}.wav", sound, 22_050)
    return folder


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "soundnet_kd.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_no_console_is_too_small_for_a_name(environment: dict[str, str], world: Path, tmp_path: Path) -> None:
    student = ("--student", world / "s", "--device", "cpu")
    done = command("predict", world / "sounds" / RUSSIAN, *student, "--json", **environment)
    assert done.returncode == 0, done.stderr.decode()
    encoding = environment.get("PYTHONIOENCODING", "ascii").partition(":")[0]
    answer = json.loads(done.stdout.decode(encoding))
    assert {Path(sound["file"]).name for sound in answer["sounds"]} == {f"{RUSSIAN}{n}.wav" for n in range(5)}
    spans = [span for sound in answer["sounds"] for span in sound["spans"]]
    assert {guess["class"] for span in spans for guess in span["scenes"]} == {"café", "😀"}
    features = tmp_path / "f.h5"
    done = command("extract", world / "sounds", *student, "--layers", "conv5", "--out", features, **environment)
    assert done.returncode == 0, done.stderr.decode()
    done = command("evaluate", features, "--out", tmp_path / "e", **environment)
    assert done.returncode == 0, done.stderr.decode()
    assert r"\u0434\u043e\u0436\u0434\u044c" in done.stdout.decode(encoding)
    assert RUSSIAN in (tmp_path / "e" / "predictions.csv").read_text(encoding="utf-8")
    assert b"Glyph" not in done.stderr


def test_what_a_console_can_show_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="cp1252"))
    escape_unprintable()
    print_line("café 犬 😀", sys.stdout)
    assert shown.getvalue() == f"caf\xe9 \\u72ac \\ud83d\\ude00{os.linesep}".encode("cp1252")
    assert json.loads('"' + shown.getvalue().decode("cp1252").strip() + '"') == "café 犬 😀"
    monkeypatch.setattr(sys, "stdout", None)
    escape_unprintable()


def stops(number: int) -> None:
    os.kill(os.getpid(), number)
    # No `pause`: where a thread of a library's took the signal, it would wait for another one.
    while True:
        time.sleep(0.01)


def fails() -> None:
    """Fail beside a bar that is still open."""
    fails.bar = tqdm(total=3, file=sys.stderr, desc="work")  # type: ignore[attr-defined]
    raise OSError(28, "No space left on device", "out.h5")


def answers() -> str:
    """Answer."""
    return "all of it"


def be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(table, "COMMANDS", {**table.COMMANDS, name: Command("x:y", (), "for a test")})
    monkeypatch.setattr(Command, "function", lambda _: globals()[name])
    monkeypatch.setattr(Command, "describe", lambda _: (inspect.Signature(), ""))


def test_a_failure_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    be(monkeypatch, "fails")
    assert main(["fails"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == (
        "soundnet-kd: out.h5: the disk is full (No space left on device); make room and run the same command again, "
        "it goes on from what it has written"
    )
    close_progress_bars()


@pytest.mark.usefixtures("signals_heeded")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_command_as_ctrl_c_does(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(signal, name)
    monkeypatch.setitem(globals(), "told", lambda: stops(number))
    be(monkeypatch, "told")
    before = signal.getsignal(number)
    assert main(["told"]) == 128 + number
    assert f"stopped by {name}; the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(number) == before


def test_what_nohup_ignores_stays_ignored(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def goes_on() -> str:
        """Go on."""
        os.kill(os.getpid(), signal.SIGHUP)
        return "done"

    monkeypatch.setitem(globals(), "goes_on", goes_on)
    be(monkeypatch, "goes_on")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["goes_on"]) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr().out == "done\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["weights", "list"], "all is done, but the result"),
        (["--help"], "the help"),
        (["weights"], "the help"),
        (["predict", "--help"], "the help"),
        (["--version"], "the version"),
    ],
    ids=str,
)
def test_output_that_has_no_room_is_told(arguments: list[str], what: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "soundnet_kd.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == f"soundnet-kd: {what} could not be printed (No space left on device)\n"


@pytest.mark.parametrize("arguments", [["--help"], ["weights"], ["--version"]], ids=" ".join)
def test_a_reader_that_goes_away_gets_no_traceback(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "soundnet_kd.cli", *arguments], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
