"""A user without a home folder, as in a container that runs under a foreign number."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from soundnet_kd.cli import main
from soundnet_kd.errors import SettingsError
from soundnet_kd.pretrained import fetching
from soundnet_kd.system import cache_folders as home
from soundnet_kd.system.cache_folders import NUMBA_VARIABLE, home_folder, provide_caches
from soundnet_kd.teachers import load_teacher


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "SOUNDNET_KD_CACHE", NUMBA_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_homeless")
def test_weights_are_listed_and_their_place_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert home_folder() is None
    assert main(["weights", "list"]) == 0
    assert "soundnet8" in capsys.readouterr().out
    assert main(["weights", "fetch", "soundnet8"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "let SOUNDNET_KD_CACHE name another folder" in err
    with pytest.raises(SettingsError, match="let TORCH_HOME name a folder"):
        load_teacher("resnet18:IMAGENET1K_V1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_homeless")
def test_a_cache_that_is_named_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetching.CACHE_VARIABLE, str(tmp_path / "cache"))
    assert fetching.cache_folder() == tmp_path / "cache"


@pytest.mark.usefixtures("_homeless")
def test_numba_gets_a_folder_only_where_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NUMBA_VARIABLE, "given")
    with provide_caches("umap"):
        assert os.environ["XDG_CACHE_HOME"]
    assert "XDG_CACHE_HOME" not in os.environ
    assert os.environ[NUMBA_VARIABLE] == "given"
    monkeypatch.delenv(NUMBA_VARIABLE)
    monkeypatch.setattr(home, "_is_writable", lambda _: True)
    with provide_caches("umap"):
        assert os.environ["XDG_CACHE_HOME"]
    assert "XDG_CACHE_HOME" not in os.environ
    assert NUMBA_VARIABLE not in os.environ
    monkeypatch.setattr(home, "_is_writable", lambda _: False)
    with provide_caches("umap"):
        assert os.environ["XDG_CACHE_HOME"]
    assert "XDG_CACHE_HOME" not in os.environ
    folder = Path(os.environ[NUMBA_VARIABLE])
    assert folder.is_dir()
    shutil.rmtree(folder)
    monkeypatch.delenv(NUMBA_VARIABLE)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from soundnet_kd.analysis.maps.projection import umap_map
from soundnet_kd.models.front_ends.spectra import MelSpectrogram
MelSpectrogram(16_000)
from soundnet_kd.system.cache_folders import provide_caches
with provide_caches("umap"):
    import umap
# To compile it takes long; with a home folder that cannot be written to, Numba would refuse before that.
print(umap_map(np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)).shape if sys.argv[1:] else (12, 2))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become a foreign user, by setpriv"
)
@pytest.mark.parametrize("variables", [{}, {"HOME": "/"}], ids=str)
def test_maps_and_mel_bands_of_a_foreign_user(variables: dict[str, str], tmp_path: Path) -> None:
    """With the packages read-only to it: it may read all, but write to its own folder only."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    try:
        done = subprocess.run(
            ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", "--inh-caps", "+dac_read_search",
             "--ambient-caps", "+dac_read_search", sys.executable, "-B", script,
             *(["fit"] if not variables else [])],
            env={**variables, "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "(12, 2)\n"), done.stderr
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder)
