"""Sounds in tars give what the same sounds in a folder give, in every command that hears them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8, extract
from soundnet_kd.commands.peel import peel
from soundnet_kd.commands.predict import predict
from soundnet_kd.data import read_manifest
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import StoredMedia, local_file, write_audio
from soundnet_kd.models import write_network
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.sounds import PlayableSound, write_sounds
from tests.tars import write_tar

RATE = 22_050
MISSING = b'{"status": "failed_to_download", "error_message": "gone"}'


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    write_network(SoundNet8({"objects": 3, "scenes": 2}), path, {})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four noises of two classes, and a sound that is none."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = (rng.normal(size=RATE) * 0.1).astype(np.float32)
        write_audio(folder / ("rain" if number % 2 else "wind") / f"{number}.wav", noise, RATE)
    (folder / "rain" / "broken.wav").write_bytes(b"RIFF but not really")
    return folder


@pytest.fixture
def tars(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    files = sorted(folder.rglob("*.wav"))
    members = [(file.relative_to(folder).as_posix(), file.read_bytes()) for file in files]
    write_tar(tmp_path / "tars" / "0.tar", members[:2])
    write_tar(tmp_path / "tars" / "1.tar", [*members[2:], ("rain/missing.json", MISSING)])
    return tmp_path / "tars"


def test_what_was_begun_before_cls_files_named_classes_goes_on(
    folder: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was begun, finished or not; what begins now has the classes."""
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    members = []
    for number, file in enumerate(sorted(folder.rglob("[0-9].wav"))):
        members += [(file.name, file.read_bytes()), (f"{file.stem}.cls", str(number % 2).encode())]
    tar = write_tar(tmp_path / "a.tar", members)
    options: dict[str, Any] = {"layers": ["conv3"], "device": "cpu", "workers": 0}
    before = read_manifest(tar, class_files=False)
    assert not before.class_names
    extract(before, student, tmp_path / "whole.h5", **options)
    extract(before, student, tmp_path / "half.h5", shard="1/2", **options)
    assert str(extract(tar, student, tmp_path / "whole.h5", **options)).startswith("there was already")
    extract(tar, student, tmp_path / "half.h5", **options)
    assert (tmp_path / "half.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    extract(tar, student, tmp_path / "new.h5", **options)
    with FeatureCache(tmp_path / "new.h5") as cache:
        assert cache.class_names == ("0", "1")
        assert cache.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_features(folder: Path, tars: Path, student: Path, tmp_path: Path, workers: int) -> None:
    layers = ("conv5", "pool5")
    whole = extract(folder, student, tmp_path / "folder.h5", layers=layers, workers=0, device="cpu")
    result = extract(
        f"{tars}/{{0..1}}.tar", student, tmp_path / "tars.h5", layers=layers, workers=workers, device="cpu"
    )
    with FeatureCache(whole.out) as expected, FeatureCache(result.out) as found:
        assert tuple(name.partition("/")[2] for name in found.ids) == expected.ids
        assert found.class_names == expected.class_names == ("rain", "wind")
        np.testing.assert_array_equal(found.labels, expected.labels)
        for layer in layers:
            np.testing.assert_array_equal(found[layer], expected[layer])
        assert {name.partition("/")[2]: reason for name, reason in found.failures.items()} == {
            "rain/broken.wav": expected.failures["rain/broken.wav"],
            "rain/missing": "it was not downloaded (failed_to_download: gone)",
        }
        first = found.paths[0]
        assert isinstance(first, StoredMedia)
        assert str(first) == f"tar://rain/1.wav::{tars / '0.tar'}"
        with local_file(first) as file:
            assert file.read_bytes() == (folder / "rain" / "1.wav").read_bytes()
        clips = Clips.of_cache(found, None)
    assert "rain/missing" in (tmp_path / "tars.h5.failures.csv").read_text()
    # The page plays them from where the cache says they are.
    (tmp_path / "page").mkdir()
    played = write_sounds(clips, 20.0, tmp_path / "page")
    assert len(played) == 4
    assert all(isinstance(sound, PlayableSound) for sound in played)
    again = extract(tars, student, tmp_path / "tars.h5", layers=layers, device="cpu")
    assert again.found


def test_one_sound_of_a_tar(folder: Path, tars: Path, student: Path, tmp_path: Path) -> None:
    one = f"tar://rain/1.wav::{tars / '0.tar'}"
    from_file, from_tar = peel(folder / "rain" / "1.wav", student, tmp_path / "a"), peel(one, student, tmp_path / "b")
    np.testing.assert_array_equal(from_tar.peeled.layers["pool5"].pooled, from_file.peeled.layers["pool5"].pooled)
    assert next(iter(predict(one, student, device="cpu").rows()))[0] == one
    with pytest.raises(SettingsError, match=r"0\.tar may hold many sounds; name one of them, such as tar://"):
        peel(tars / "0.tar", student, tmp_path / "c")


def test_guesses(folder: Path, tars: Path, student: Path) -> None:
    from_folder, from_tars = predict(folder, student, device="cpu"), predict(tars, student, device="cpu")
    rows = [row[1:] for row in from_folder.rows()]
    assert [row[1:] for row in from_tars.rows()] == rows
    assert next(iter(from_tars.rows()))[0] == f"tar://rain/1.wav::{tars / '0.tar'}"
    assert len(from_tars.failures) == 1
