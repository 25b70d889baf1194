"""What a data set is like: measured by hand, and told in tables, figures and a page."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import get_window

from soundnet_kd.analysis.dataset.anomalies import find_anomalies
from soundnet_kd.analysis.dataset.measures import log_spectrogram, measure_sounds
from soundnet_kd.cli import main
from soundnet_kd.data import read_manifest
from soundnet_kd.media import write_audio
from tests.data.test_voice_activity import background, spoken_at
from tests.media_files import sine

RATE = 16_000


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    for number in range(12):
        write_audio(folder / "low" / f"{number}.wav", sine(410 + number, 0.5 + number / 20, RATE, 0.3), RATE)
        write_audio(folder / "high" / f"{number}.wav", sine(3010 + number, 1.0, RATE, 0.3), RATE)
    write_audio(folder / "low" / "odd.wav", sine(7000, 1.0, RATE, 0.9), RATE)
    write_audio(folder / "low" / "clipped.wav", np.clip(9 * sine(405, 1.0, RATE), -1, 1), RATE)
    write_audio(folder / "high" / "silent.wav", np.zeros(RATE, np.float32), RATE)
    (folder / "high" / "broken.wav").write_bytes(b"RIFF, but no more")
    return folder


def test_measured_by_hand(words: Path) -> None:
    explored, failures = measure_sounds(read_manifest(words), RATE, 1.0)
    assert list(failures) == ["high/broken.wav"]
    assert explored.hertz[0] == 10.0
    assert len(explored.hertz) == 400
    for clip, seconds, spectrum in zip(explored.clips, explored.seconds, explored.spectra, strict=True):
        if clip.id == "low/4.wav":
            assert seconds == pytest.approx(0.7)
            # 414 Hz lies in the band from 400 to 420 Hz.
            assert int(spectrum.argmax()) == 20
        if clip.id == "low/clipped.wav":
            place = explored.clips.index(clip)
            assert explored.clipped[place] > 0.5
            assert explored.peaks[place] > 0.999
    assert explored.spectrograms.shape == (2, 161, 99)


def test_the_log_spectrogram_of_one_window_by_hand() -> None:
    """Natural log of the power per Hz of 16-bit samples, one-sided, under a Hann window of 320 samples."""
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    window = get_window("hann", 320)
    piece = waveform[160:480] * 2.0**15 * window
    power = np.abs(np.fft.rfft(piece)) ** 2 / (RATE * (window**2).sum())
    power[1:-1] *= 2
    np.testing.assert_allclose(log_spectrogram(waveform, RATE)[:, 1], np.log(power + 1e-10), rtol=1e-4)


def test_what_is_far_away_is_strange() -> None:
    rng = np.random.default_rng(0)
    spectra = rng.normal(0, 0.1, (60, 8))
    spectra[:30, 0] += 5
    spectra[59] += 30
    labels = np.repeat([0, 1], 30)
    found = find_anomalies(spectra, labels, 3, seed=0)
    assert int(found.distance.argmax()) == 59
    assert (found.likeliest[:59] == labels[:59]).mean() > 0.95
    assert found.points.shape == (60, 3)
    assert 0 < found.explained <= 1


def test_the_command_tells_and_draws(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["explore", str(words), "--out", str(out)]) == 0
    line = capsys.readouterr().out.strip()
    assert "27 sounds of 2 classes, 0.50 to 1.05 s, 1 clipped, 1 silent" in line
    assert "1 sound skipped" in line
    with (out / "anomalies.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    # Its harmonics are in bands where no other sound has anything.
    assert "low/clipped.wav" in {row["id"] for row in rows[:3]}
    with (out / "classes.csv").open(encoding="utf-8", newline="") as handle:
        counts = {row["class"]: row["sounds"] for row in csv.DictReader(handle)}
    assert counts == {"high": "13", "low": "14"}
    for name in ("counts", "lengths", "mean_fft", "mean_spectrograms", "violins"):
        assert (out / f"{name}.png").is_file()
    page = (out / "anomalies.html").read_text(encoding="utf-8")
    assert "scatter3d" in page
    assert "odd.wav" in page


def test_the_command_leaves_noise_out(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "words"
    shutil.copytree(words, folder)
    write_audio(folder / "_background_noise_" / "rain.wav", background(RATE, 20.0), RATE)
    assert main(["explore", str(folder), "--out", str(tmp_path / "out")]) == 0
    line = capsys.readouterr().out
    assert "27 sounds of 2 classes, 0.50 to 1.05 s" in line
    assert "1 recordings of background noise left out, 1 sound skipped" in line
    with (tmp_path / "out" / "classes.csv").open(encoding="utf-8", newline="") as handle:
        assert [row["class"] for row in csv.DictReader(handle)] == ["high", "low"]


def test_only_the_voice_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A vowel of 0.4 s in two seconds of faint noise; what has no voice stays whole."""
    for number in range(4):
        write_audio(tmp_path / "words" / "late" / f"{number}.wav", spoken_at(RATE, 1.2 + number / 20), RATE)
        write_audio(tmp_path / "words" / "early" / f"{number}.wav", spoken_at(RATE, 0.2 + number / 20), RATE)
    write_audio(tmp_path / "words" / "late" / "nobody.wav", background(RATE, 2.0), RATE)
    arguments = ["explore", str(tmp_path / "words"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--voice_activity.margin_seconds", "0.05"]) == 0
    assert "2.00 s, 0 clipped, 0 silent" in (line := capsys.readouterr().out)
    assert "1 without a voice stay whole" in line
    with (tmp_path / "out" / "anomalies.csv").open(encoding="utf-8", newline="") as handle:
        seconds = {row["id"]: float(row["seconds"]) for row in csv.DictReader(handle)}
    assert seconds.pop("late/nobody.wav") == 2.0
    assert all(0.45 <= each <= 0.75 for each in seconds.values())
    with (tmp_path / "out" / "voice.csv").open(encoding="utf-8", newline="") as handle:
        kept = {row["id"]: row["start"] for row in csv.DictReader(handle)}
    assert kept.pop("late/nobody.wav") == ""
    for name, start in kept.items():
        at = (1.2 if "late" in name else 0.2) + int(Path(name).stem) / 20
        assert float(start) == pytest.approx(at - 0.05, abs=0.03)
    assert main(arguments) == 1
    assert "voice_activity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frequency", "9000"], "give a frequency below 8000 Hz"),
        (["--components", "2"], "at least three components"),
        (["--voice_activity.aggressiveness", "9"], "kd: voice_activity.aggressiveness is 9; give 0, 1, 2 or 3\n"),
    ],
)
def test_settings_that_cannot_be(
    options: list[str], message: str, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", str(words), "--out", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err


def test_nothing_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("low", "high"):
        (tmp_path / "words" / name).mkdir(parents=True)
        (tmp_path / "words" / name / "broken.wav").write_bytes(b"RIFF, but no more")
    assert main(["explore", str(tmp_path / "words"), "--out", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "none of the 2 labelled sounds could be read, such as: " in message
    assert f"(see {tmp_path / 'out' / 'failures.csv'})" in message
