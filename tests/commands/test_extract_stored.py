"""Features that are written to an address are those of a file, whole or absent."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd.commands.extract import extract
from soundnet_kd.errors import MediaError, RunConflictError, SettingsError
from soundnet_kd.features import cache_writer
from soundnet_kd.features.cache_joining import ExtractResult
from soundnet_kd.media import remote, write_audio
from soundnet_kd.models import SoundNet5, write_network
from soundnet_kd.system.cache_folders import cache_folder
from tests.kills import killed_before_change
from tests.media.faulty_proxy import Faults, proxy
from tests.processes import finish, start
from tests.stores import new_bucket, objects, s3_server, use_s3

RATE = 22_050


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(0)
    write_network(SoundNet5({"objects": 2}).eval(), folder / "student.safetensors", {})
    for number in range(6):
        noise = np.random.default_rng(number).normal(0, 0.1, RATE + 100 * number).astype(np.float32)
        write_audio(folder / "sounds" / f"{number}.wav", noise, RATE)
    (folder / "sounds" / "broken.wav").write_bytes(b"no sound")
    return folder


def features(inputs: Path, out: Path | str, layer: str = "conv3", shard: str | None = None) -> ExtractResult:
    return extract(inputs / "sounds", inputs / "student.safetensors", out, [layer], batch_size=1, shard=shard)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faults(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(cache_writer, "BATCHES_PER_PART", 2)
    with proxy(s3) as faults:
        use_s3(faults.url, monkeypatch)
        yield faults


def of_local(inputs: Path, folder: Path) -> Mapping[str, bytes]:
    features(inputs, folder / "local" / "features.h5")
    return {file.name: file.read_bytes() for file in (folder / "local").iterdir()}


def test_a_file_in_a_bucket(faults: Faults, inputs: Path, tmp_path: Path) -> None:
    out = f"{new_bucket('extracted')}/of me/features.h5"
    faults.busy, faults.cut_uploads = 1, 2
    told = str(features(inputs, out))
    assert told == f"wrote {out}: 1 layer of 6 sounds, 1 skipped (see {out}.failures.csv)"
    assert (faults.busy, faults.cut_uploads) == (0, 0)
    wanted = of_local(inputs, tmp_path)
    assert objects("s3://extracted/of me") == wanted
    assert str(features(inputs, out)).startswith(f"there was already {out}: ")
    with pytest.raises(RunConflictError, match=rf"^{out} already holds a different run"):
        features(inputs, out, "conv4")
    assert objects("s3://extracted/of me") == wanted
    with pytest.raises(
        SettingsError, match=rf"^--shard 1/2 needs an --out that all machines see .*, not {out}; give a"
    ):
        features(inputs, out, shard="1/2")
    with pytest.raises(
        SettingsError, match=r"is a folder; --out names the file to write, such as s3://.*/features\.h5"
    ):
        features(inputs, "s3://extracted/of me/")
    (tmp_path / "none.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match=r"none of the 1 sounds could be read.*see s3://extracted/none/f.h5.failures"):
        extract(tmp_path / "none.wav", inputs / "student.safetensors", "s3://extracted/none/f.h5")
    assert list(objects("s3://extracted/none")) == ["f.h5.failures.csv"]


def killed_features(environment: Mapping[str, str], inputs: Path, out: str, number: int) -> None:
    os.environ.update(environment)
    cache_writer.BATCHES_PER_PART = 2
    killed_before_change(cache_folder(), number)()
    features(inputs, out)


def test_a_run_that_was_killed_or_could_not_put_it_there_goes_on(
    faults: Faults, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{new_bucket('killed')}/x/features.h5"
    assert finish(start(killed_features, dict(os.environ), inputs, out, 25)) == -signal.SIGKILL
    [work] = (path for path in (cache_folder() / "outputs").iterdir() if path.is_dir())
    assert list(work.rglob("part-*.h5"))
    with pytest.raises(RunConflictError, match=rf"^{work}/features.h5.parts already holds a different run"):
        features(inputs, out, "conv4")
    faults.cut_uploads = 1000
    with pytest.raises(SettingsError, match=rf"{out}\S* could not be written in 5 tries"):
        features(inputs, out)
    faults.cut_uploads = 0
    features(inputs, out)
    assert objects("s3://killed/x") == of_local(inputs, tmp_path)
    assert not work.exists()
