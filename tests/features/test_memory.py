"""An hour of sound in bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8
from soundnet_kd.media import write_audio
from soundnet_kd.models import read_student, write_student

RATE = 22_050
HOUR = 3600 * RATE

EXTRACT = """
import sys
from pathlib import Path
from soundnet_kd import extract
extract(*sys.argv[1:], device="cpu")
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""
# getrusage would also count what the process that forked this one held.


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_hour_takes_less_than_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_student(SoundNet8(), tmp_path / "student.safetensors", {})
    second = (np.random.default_rng(0).normal(size=RATE) * 0.1).astype(np.float32)
    write_audio(tmp_path / "hour.flac", np.resize(second, HOUR), RATE)
    command = [sys.executable, "-c", EXTRACT, "hour.flac", "student.safetensors", "out.h5"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    peak_mb = int(done.stdout) * 1024 / 1e6
    assert peak_mb < 1500
    # An hour of the same second: conv1 answers as it does to 20 s of it.
    network = read_student(tmp_path / "student.safetensors")
    sound = network.preprocessing(np.resize(second, 20 * RATE))[None]
    with FeatureCache(tmp_path / "out.h5") as cache, torch.inference_mode():
        assert cache.layers == network.layers
        np.testing.assert_allclose(
            cache["conv1"][0], network(sound, ["conv1"])["conv1"][0].mean(dim=-1).numpy(), rtol=1e-2, atol=1e-3
        )
