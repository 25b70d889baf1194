"""Caches of libraries where there is no home folder, or none that can be written to, as in containers."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

CACHE_VARIABLE = "SOUNDNET_KD_CACHE"
"""Environment variable: the folder for what is fetched and found, instead of the user's cache."""
NUMBA_VARIABLE = "NUMBA_CACHE_DIR"
CACHES_VARIABLE = "XDG_CACHE_HOME"


def home_folder() -> Path | None:
    """Return the user's home folder; None where it is unknown."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_folder() -> Path:
    """Return the folder that keeps what was fetched, converted, and found in tars."""
    from platformdirs import user_cache_dir

    if home_folder() is None and not {CACHE_VARIABLE, "XDG_CACHE_HOME"} & os.environ.keys():
        # Nothing is there, and nothing can be kept there: the error of whoever tries names the variable.
        return Path(os.devnull) / "soundnet_kd"
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_dir("soundnet_kd")).expanduser()


@contextmanager
def provide_caches(package: str) -> Iterator[None]:
    """Let a package that Numba compiles be imported in the block, also where its caches have no place.

    Numba would refuse, or make a folder named "~" in the working folder; it gets a temporary folder for this process.
    pooch, which librosa uses, refuses where there is no home folder; for the block it gets a temporary one.

    Parameters
    ----------
    package : str
        Such as umap.
    """
    home = home_folder()
    spec = find_spec(package)
    places = [Path(place) / "__pycache__" for place in (spec and spec.submodule_search_locations) or ()]
    if home is not None:
        # On every system the user's caches lie in the home folder.
        places.append(home / ".cache")
    if not os.environ.get(NUMBA_VARIABLE) and not any(map(_is_writable, places)):
        folder = tempfile.mkdtemp(prefix="soundnet_kd-numba-")
        atexit.register(_remove, folder, os.getpid())
        os.environ[NUMBA_VARIABLE] = folder
        if "numba" in sys.modules:
            # It has read the variable already.
            sys.modules["numba"].config.CACHE_DIR = folder
    set_here = home is None and CACHES_VARIABLE not in os.environ
    if set_here:
        os.environ[CACHES_VARIABLE] = tempfile.gettempdir()
    try:
        yield
    finally:
        if set_here:
            os.environ.pop(CACHES_VARIABLE, None)


def _is_writable(folder: Path) -> bool:
    """Whether a folder is there and can be written to, or can be made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
