"""What tests of doors to other suites share: the suite itself, and students that hear quickly."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from soundnet_kd import SoundNet8
from soundnet_kd.models import Preprocessing, write_network

REQUIRE_SUITES = "SOUNDNET_KD_REQUIRE_SUITES"
RATE = 22_050


def need(package: str) -> None:
    """Skip a module where its suite is not installed, or fail where CI demands it."""
    # They would ask a server for what a test has on this disk.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        version(package)
    except PackageNotFoundError:
        if os.environ.get(REQUIRE_SUITES) == "1":
            pytest.fail(f"{REQUIRE_SUITES}=1 but {package} is not installed")
        pytest.skip(f"{package} is not installed", allow_module_level=True)


def write_student(path: Path, seed: int) -> str:
    """Write a student of its own weights that hears three seconds; it is small where the module's SoundNet8 is."""
    torch.manual_seed(seed)
    student = SoundNet8({"objects": 3}, Preprocessing(least_samples=3 * RATE)).eval()
    write_network(student, path, {})
    return str(path)


def hum(kind: int, seed: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Make a sound of a class: noise around a tone that is higher in each."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * 300 * 2**kind * rng.uniform(0.7, 1.4) * time)
    return np.asarray(0.2 * tone + rng.normal(0, 0.15, len(time)), np.float32).clip(-1, 1)
