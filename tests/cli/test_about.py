"""What `--version --verbose` says is what is installed."""

from importlib.metadata import requires, version

import av
import pytest
import torch
from packaging.requirements import Requirement

from soundnet_kd.cli import main


def test_each_library_is_named_with_the_version_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "--verbose"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"soundnet-kd {version('soundnet-kd')}\n")
    for each in map(Requirement, requires("soundnet-kd") or []):
        if each.marker is None:
            assert f" {each.name} {version(each.name)}" in said
    assert f"torch {torch.__version__.partition('+')[0]}" in said
    assert f"libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}" in said
    assert "decodes sound: aac, mp3" in said
    assert "devices     cpu" in said
    assert "pytest" not in said


def test_an_extra_that_is_there_and_one_that_is_not_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "soundnet_kd.cli.about.requires",
        lambda _: ["numpy>=2", "no-such-library>=1; extra == 'ray'", "fsspec>=1; extra == 's3'"],
    )
    assert main(["--version", "--verbose"]) == 0
    said = capsys.readouterr().out
    assert f"libraries   numpy {version('numpy')}\n" in said
    assert "no-such-library not installed" in said
    assert f"fsspec {version('fsspec')}" in said


def test_nothing_else_goes_with_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "--verbos"]) == 2
    assert "stands alone or with --verbose, not with --verbos" in capsys.readouterr().err
