"""What a command imports: no more than it needs, since most of a short run is its start."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet5, write_network

NEEDLESS = frozenset(
    {
        "librosa",
        "lightning",
        "matplotlib",
        "numba",
        "pandas",
        "PIL",
        "requests",
        "scipy",
        "sklearn",
        "sympy",
        "torch._dynamo",
        "torch._inductor",
        "torchvision",
        "umap",
    }
)
"""What hearing a few sounds does without; PyTorch imports its compiler, and SymPy with it, where it first needs it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student, and two sounds."""
    made = tmp_path_factory.mktemp("start")
    write_network(SoundNet5({"objects": 2}).eval(), made / "student.safetensors", {})
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 0.1, 22_050).astype(np.float32)
        write_audio(made / "sounds" / f"{number}.wav", noise, 22_050)
    return made


def imported(folder: Path, words: str) -> set[str]:
    """Give the names of all modules that a process has imported when its command is done."""
    script = f"import sys; from soundnet_kd.cli import main; status = main({words.split()!r}); print(*sys.modules); "
    done = subprocess.run(
        [sys.executable, "-c", f"{script}sys.exit(status)"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words", ["predict sounds/0.wav --student student.safetensors", "extract sounds --student . --out f.h5"]
)
def test_to_hear_sounds_takes_torch_and_little_else(folder: Path, words: str) -> None:
    modules = imported(folder, words)
    assert "torch" in modules
    assert modules & NEEDLESS == set()
