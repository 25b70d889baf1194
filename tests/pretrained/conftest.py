"""A cache of a test's own, a mirror, and a teacher's file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pretrained.places365 import constants, write_published
from tests.pretrained.serving import Site, serve

NAME = "resnet18:PLACES365"
FILE = "resnet18_places365.pth.tar"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that this machine's pip is set up for."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def mirror(tmp_path: Path, cache: Path, pip: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A mirror, and no way to any other site: a proxy at a port where nobody listens."""
    with serve(tmp_path / "site") as site:
        monkeypatch.setenv("SOUNDNET_KD_MIRROR", f"{site.url}/")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield site


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("published") / FILE, "resnet18", constants("resnet18"))
