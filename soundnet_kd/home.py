"""Caches of libraries where there is no home folder, or none that can be written to, as in containers."""

import atexit
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

NUMBA_VARIABLE = "NUMBA_CACHE_DIR"


def home_folder() -> Path | None:
    """Give the user's home folder; None where nothing says which it is."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def let_numba_cache(package: str) -> None:
    """Let a package that Numba compiles be imported, also where Numba finds no place to keep what it compiles.

    It would refuse, or make a folder named "~" where one stands; it gets a temporary folder for this process.

    Parameters
    ----------
    package : str
        To be imported, such as umap.
    """
    spec = find_spec(package)
    places = [Path(place) / "__pycache__" for place in (spec and spec.submodule_search_locations) or ()]
    home = home_folder()
    if home is not None:
        # On every system the user's caches lie in the home folder.
        places.append(home / ".cache")
    if os.environ.get(NUMBA_VARIABLE) or any(map(_is_writable, places)):
        return
    folder = tempfile.mkdtemp(prefix="soundnet_kd-numba-")
    atexit.register(_remove, folder, os.getpid())
    os.environ[NUMBA_VARIABLE] = folder
    if "numba" in sys.modules:
        # It has read the variable already.
        sys.modules["numba"].config.CACHE_DIR = folder


def _is_writable(folder: Path) -> bool:
    """Whether a folder is there and can be written to, or can be made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
