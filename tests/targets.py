"""Small targets folders, written by the real writer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import LabelledClip, write_part
from soundnet_kd.data.target_parts import FORMAT_VERSION, part_file
from soundnet_kd.data.targets import SETTINGS_FILE
from soundnet_kd.storage import ensure_same_settings

CLASSES = {"objects": ("cat", "dog", "car"), "scenes": ("street", "field")}
SAMPLE_RATE = 22_050


def make_clip(
    source: str,
    steps: int,
    rng: np.random.Generator,
    samples: int | None = None,
    sound: NDArray[np.int16] | None = None,
    classes: Mapping[str, Sequence[str]] = CLASSES,
) -> LabelledClip:
    """Give a clip of noise, or of `sound`, with random distributions."""
    if sound is None:
        length = steps * 5 * SAMPLE_RATE if samples is None else samples
        sound = (rng.normal(size=length) * 3000).astype(np.int16)
    rows = {name: rng.dirichlet(np.ones(len(names)), steps).astype(np.float32) for name, names in classes.items()}
    return LabelledClip(source, 0.0, sound, np.arange(steps, dtype=np.float64) * 5 + 2.5, rows)


def make_targets(
    folder: Path,
    clips: list[LabelledClip],
    clips_per_part: int = 4,
    classes: Mapping[str, Sequence[str]] = CLASSES,
    first_part: int = 0,
) -> Path:
    """Write a targets folder, or more parts of one."""
    settings = {
        "format_version": FORMAT_VERSION,
        "teachers": {name: {"network": "by hand"} for name in classes},
        "frame_sampling": {},
        "sample_rate": SAMPLE_RATE,
    }
    ensure_same_settings(folder / SETTINGS_FILE, settings)
    for number, first in enumerate(range(0, len(clips), clips_per_part), start=first_part):
        write_part(part_file(folder, number), clips[first : first + clips_per_part], classes, SAMPLE_RATE, settings)
    return folder
