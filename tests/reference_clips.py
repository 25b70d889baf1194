"""The 40 clips of ESC-10 at 44.1 kHz whose layers the ESC-50 notebook computed with the released network."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd import SoundNet8
from soundnet_kd.media import read_audio

ARRAYS = {
    "pool1": "X_out_1.npy",
    "pool2": "X_out_2.npy",
    "conv3": "X_out_3.npy",
    "conv4": "X_out_4.npy",
    "pool5": "X.npy",
    "conv6": "X_out_6.npy",
}
"""The notebook's averages over time of each layer, a row a clip."""


def hear_clips(student: SoundNet8, real_data: Path, layers: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Average layers over time, of each clip cut or padded to 220 500 samples, x 256, tiled 3 x."""
    folder = real_data / "soundnet_reference"
    found: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
    for row in _rows(folder):
        waveform, sample_rate = read_audio(folder / "esc10_44k" / row["file"])
        assert sample_rate == 44_100
        whole = np.zeros(220_500, dtype=np.float32)
        whole[: len(waveform)] = waveform[:220_500]
        with torch.inference_mode():
            answers = student(student.preprocessing(whole)[None], layers)
        for layer, averages in found.items():
            averages.append(answers[layer].mean(dim=2)[0].numpy())
    return {layer: np.stack(averages) for layer, averages in found.items()}


def notebooks(real_data: Path, layer: str) -> NDArray[np.float32]:
    """Return what the notebook has of the same clips."""
    folder = real_data / "soundnet_reference"
    return np.asarray(np.load(folder / ARRAYS[layer])[[int(row["row"]) for row in _rows(folder)]])


def relative_errors(found: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the error of each clip, as a share of the length of what was expected."""
    return np.asarray(np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1))


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "esc10_rows.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 40
    return rows
