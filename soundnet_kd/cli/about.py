"""What `soundnet-kd --version --verbose` says: what makes numbers and failures differ from one machine to another."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

DISTRIBUTION = "soundnet-kd"
DEVELOPMENT = ("test", "dev", "docs")
"""Extras that no command needs."""


def version_line() -> str:
    """Return the package's name and version."""
    return f"{DISTRIBUTION} {version(DISTRIBUTION)}"


def describe_installation() -> str:
    """Return the versions of everything that a command may run, the codecs, and the devices, one a line."""
    import h5py
    import torch

    from soundnet_kd.media.container import describe_ffmpeg
    from soundnet_kd.system.cache_folders import cache_folder, home_folder

    cache, home = cache_folder(), home_folder()
    if home is not None and cache.is_relative_to(home):
        # What is shown in public need not name anybody.
        cache = Path("~") / cache.relative_to(home)
    instructions = torch.backends.cpu.get_cpu_capability()
    lines = [
        version_line(),
        f"Python      {platform.python_version()} ({platform.python_implementation()}), {platform.platform()}",
        *(f"FFmpeg      {line}" for line in describe_ffmpeg()),
        f"HDF5        {h5py.version.hdf5_version}",
        f"processor   {platform.machine()}, {_processors()} cores, {instructions}{_memory()}",
        f"devices     {', '.join(_devices())}",
        f"CUDA        {torch.version.cuda or 'none in this PyTorch'}",
        f"cache       {cache}",
        "libraries   " + ", ".join(_libraries("")),
    ]
    for extra in metadata(DISTRIBUTION).get_all("Provides-Extra") or []:
        if extra not in DEVELOPMENT:
            lines.append(f"{f'[{extra}]':<11} {', '.join(_libraries(extra))}")
    return "\n".join(lines)


def _libraries(extra: str) -> Iterator[str]:
    """Return what an extra requires, or the package itself, with the version that is installed."""
    from packaging.requirements import Requirement

    for each in map(Requirement, requires(DISTRIBUTION) or []):
        of_extra = each.marker is not None and not each.marker.evaluate({"extra": ""})
        if of_extra != bool(extra) or (extra and each.marker and not each.marker.evaluate({"extra": extra})):
            continue
        try:
            yield f"{each.name} {version(each.name)}"
        except PackageNotFoundError:
            yield f"{each.name} not installed"


def _devices() -> Iterator[str]:
    import torch

    yield "cpu"
    for number in range(torch.cuda.device_count()):
        yield f"cuda:{number} {torch.cuda.get_device_name(number)}"
    if torch.backends.mps.is_available():
        yield "mps"


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory() -> str:
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= names.keys():
        return ""
    return f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
