"""Features of real sound files through a real network, and a cache that survives anything."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8, extract
from soundnet_kd.errors import FormatError, MediaError, RunConflictError, SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.models import write_student

RATE = 22_050
LAYERS = ("conv1", "pool1", "pool2", "conv5", "pool5", "conv8")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    write_student(SoundNet8({"objects": 3, "scenes": 2}), path, {})
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven noises in two folders, of two lengths and rates, one broken file among them."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for number in range(7):
        rate, seconds = (RATE, 1.0) if number % 3 else (16_000, 1.5)
        noise = (rng.normal(size=int(rate * seconds)) * 0.1).astype(np.float32)
        write_audio(folder / ("rain" if number % 2 else "wind") / f"{number}.wav", noise, rate)
    (folder / "rain" / "broken.wav").write_bytes(b"RIFF but not really")
    return folder


@pytest.fixture(scope="module")
def cached(sounds: Path, student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "features.h5"
    extract(sounds, student, out, layers=LAYERS, sequences=True, workers=0, device="cpu")
    return out


def test_rows_are_the_manifests(cached: Path) -> None:
    with FeatureCache(cached) as cache:
        assert cache.layers == LAYERS
        assert cache.ids == (
            "rain/1.wav",
            "rain/3.wav",
            "rain/5.wav",
            "wind/0.wav",
            "wind/2.wav",
            "wind/4.wav",
            "wind/6.wav",
        )
        assert cache.class_names == ("rain", "wind")
        assert cache.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert cache.folds.tolist() == [0] * 7
        assert list(cache.failures) == ["rain/broken.wav"]
        assert {layer: features.shape for layer, features in cache.items()} == {
            "conv1": (7, 16), "pool1": (7, 16), "pool2": (7, 32), "conv5": (7, 256), "pool5": (7, 256), "conv8": (7, 5),
        }  # fmt: skip
    table = cached.with_suffix(".failures.csv").read_text().splitlines()
    assert table[0] == "file,reason"
    assert table[1].startswith("rain/broken.wav,")


def test_features_are_time_averages_of_the_network_on_the_tiled_sound(
    cached: Path, student: Path, sounds: Path
) -> None:
    """Worked out by hand for one sound: x 256, 22 050 samples tiled 441000 // 22050 + 1 = 21 times."""
    from soundnet_kd import load_student
    from soundnet_kd.media import read_audio

    waveform, _ = read_audio(sounds / "rain" / "1.wav")
    sound = torch.from_numpy(np.concatenate([waveform] * 21) * 256.0)[None, None]
    with torch.inference_mode():
        answers = load_student(student)(sound, LAYERS)
    with FeatureCache(cached) as cache:
        for layer in LAYERS:
            np.testing.assert_allclose(cache[layer][0], answers[layer][0].mean(dim=1).numpy(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(cache.sequence(0, layer), answers[layer][0].T.numpy(), rtol=1e-4, atol=1e-6)
            for index in range(7):
                np.testing.assert_allclose(
                    cache.sequence(index, layer).mean(axis=0), cache[layer][index], rtol=1e-4, atol=1e-6
                )


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2)])
def test_numbers_do_not_depend_on_batches_and_workers(
    cached: Path, sounds: Path, student: Path, tmp_path: Path, batch_size: int, workers: int
) -> None:
    out = tmp_path / "again.h5"
    extract(sounds, student, out, layers=LAYERS, batch_size=batch_size, workers=workers, device="cpu")
    with FeatureCache(cached) as first, FeatureCache(out) as again:
        assert first.ids == again.ids
        for layer in LAYERS:
            np.testing.assert_allclose(again[layer], first[layer], rtol=1e-4, atol=1e-6)


def test_a_killed_extraction_ends_as_if_it_had_not_been_killed(
    sounds: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soundnet_kd.features.extraction.CLIPS_PER_PART", 2)
    whole, killed = tmp_path / "whole.h5", tmp_path / "killed.h5"
    extract(sounds, student, whole, layers=LAYERS, sequences=True, workers=0, device="cpu")
    script = (
        "from soundnet_kd.features import extraction as module; module.CLIPS_PER_PART = 2; "
        f"module.extract({str(sounds)!r}, {str(student)!r}, {str(killed)!r}, layers={LAYERS!r}, sequences=True, "
        "workers=0, device='cpu')"
    )
    kills = 0
    for parts in (1, 2):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        folder = tmp_path / "killed.h5.parts"
        deadline = time.monotonic() + 120
        while len(list(folder.glob("part-*.h5"))) < parts and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills > 0
    extract(sounds, student, killed, layers=LAYERS, sequences=True, workers=0, device="cpu")
    assert not (tmp_path / "killed.h5.parts").exists()
    with h5py.File(whole) as first, h5py.File(killed) as again:
        names: list[str] = []
        first.visit(names.append)
        for name in names:
            if isinstance(first[name], h5py.Dataset):
                np.testing.assert_array_equal(first[name][()], again[name][()], err_msg=name)
        assert dict(first.attrs) == dict(again.attrs)


def test_another_student_is_refused_and_the_cache_stays(cached: Path, sounds: Path) -> None:
    before = cached.read_bytes()
    torch.manual_seed(1)
    with pytest.raises(RunConflictError, match=r"already holds a different run \(student\.sha256 was"):
        extract(sounds, SoundNet8({"objects": 3, "scenes": 2}), cached, layers=LAYERS, sequences=True, device="cpu")
    assert cached.read_bytes() == before


def test_other_settings_are_refused_by_name(cached: Path, sounds: Path, student: Path) -> None:
    with pytest.raises(RunConflictError, match=r"settings\.layers was .*settings\.sequences was true, now false"):
        extract(sounds, student, cached, layers=["conv1"], device="cpu")


def test_the_same_again_does_nothing(cached: Path, sounds: Path, student: Path) -> None:
    before = cached.stat().st_mtime_ns
    result = extract(sounds, student, cached, layers=LAYERS, sequences=True, device="cpu")
    assert cached.stat().st_mtime_ns == before
    assert result.clips == 7
    assert list(result.failures) == ["rain/broken.wav"]


def test_nothing_readable_is_an_error(student: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match="none of the 1 sounds could be read"):
        extract(tmp_path / "broken.wav", student, tmp_path / "out.h5", workers=0, device="cpu")
    assert not (tmp_path / "out.h5").exists()


def test_unknown_layers_and_files_are_named(cached: Path, sounds: Path, student: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'conv5'"):
        extract(sounds, student, tmp_path / "out.h5", layers=["con5"])
    with FeatureCache(cached) as cache, pytest.raises(SettingsError, match="did you mean 'pool5'"):
        cache["pol5"]
    with pytest.raises(FormatError, match="there is no feature cache"):
        FeatureCache(tmp_path / "none.h5")
    with pytest.raises(FormatError, match="not a readable feature cache"):
        FeatureCache(student)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = 1
    with pytest.raises(FormatError, match="no feature cache of format 1"):
        FeatureCache(tmp_path / "other.h5")
