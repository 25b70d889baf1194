"""Long sounds in bounded memory."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8, extract
from soundnet_kd.features import extractor
from soundnet_kd.media import write_audio
from soundnet_kd.models import read_student, write_network
from tests.processes import finish, start

RATE = 22_050
SHORT, LONG = 2 * 60, 17 * 60
"""Seconds; both are heard in pieces. What the long one has more takes 79 MB, and its conv1 635 MB."""


def extract_and_tell_peak(sound: Path, student: Path, out: Path, peak: Path) -> None:
    """Write the largest memory that an extraction took, in KiB."""
    extract(sound, student, out, device="cpu")
    # getrusage would also count what the process that forked this one held.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak.write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_sound_eight_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = tmp_path / "student.safetensors"
    write_network(SoundNet8(), student, {})
    second = (np.random.default_rng(0).normal(size=RATE) * 0.1).astype(np.float32)
    peaks_mb = []
    for seconds in (SHORT, LONG):
        assert seconds * RATE > extractor.SAMPLES_AT_ONCE
        sound, out, peak = (tmp_path / f"{seconds}.{ending}" for ending in ("flac", "h5", "txt"))
        write_audio(sound, np.resize(second, seconds * RATE), RATE)
        tries = []
        # On a busy machine those of the same sound are up to 70 MB apart.
        for _ in range(2):
            out.unlink(missing_ok=True)
            assert finish(start(extract_and_tell_peak, sound, student, out, peak)) == 0
            tries.append(int(peak.read_text(encoding="utf-8")) * 1024 / 1e6)
        peaks_mb.append(min(tries))
    # The decoded sound lies in a mapped file, whose pages count once; nothing else grows.
    assert peaks_mb[1] < peaks_mb[0] + 200
    assert peaks_mb[1] < 1500
    # The same second again and again: conv1 answers as it does to 20 s of it.
    network = read_student(student)
    waveform = network.preprocessing(np.resize(second, 20 * RATE))[None]
    with FeatureCache(tmp_path / f"{LONG}.h5") as cache, torch.inference_mode():
        assert cache.layers == network.layers
        np.testing.assert_allclose(
            cache["conv1"][0], network(waveform, ["conv1"])["conv1"][0].mean(dim=-1).numpy(), rtol=1e-2, atol=1e-3
        )
