"""The clips, found by their names: their sounds, their nearest neighbors, and the neurons that each excites most."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from soundnet_kd.data.datasets.esc50 import CLASSES_PER_CATEGORY, ESC50_CATEGORIES, is_esc50
from soundnet_kd.errors import MediaError
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.inputs import ReportInputs, preferred_layer
from soundnet_kd.report.page_data import encode_integers, quantize
from soundnet_kd.report.section import Content, Section
from soundnet_kd.report.sections.neighbors import neighbors_data
from soundnet_kd.report.sounds import PlayableSound


def show(inputs: ReportInputs) -> Content | None:
    """Write the clips, and what each layer says of them; return the layers that do."""
    if inputs.clips is None:
        return None
    inputs.data.write("clips", clips_data(inputs.clips, inputs.sounds, inputs.clip_seconds))
    layers: list[str] = []
    channels: list[int] = []
    if inputs.pooled is not None and len(inputs.clips.ids) > 1:
        for layer in tqdm(inputs.pooled.layers, desc="neighbors", unit="layer"):
            features = inputs.pooled[layer]
            found = inputs.skipped.read(f"neighbors in {layer}", neighbors_data, features, inputs.percentile)
            if found is not None:
                inputs.data.write(f"neighbors-{len(layers)}", found)
                layers.append(layer)
                channels.append(features.shape[1])
    first = preferred_layer(layers) if layers else None
    return Content(data={"layers": layers, "channels": channels, "first": first})


def clips_data(clips: Clips, sounds: Sequence[PlayableSound | MediaError], longest_seconds: float) -> dict[str, Any]:
    """Return what the whole page knows of its clips.

    Returns
    -------
    dict
        `ids`, `classes` (their names) and `categories` (None but for ESC-50); of each clip `labels` and `folds`,
        encoded, 0 where there is none, the fold otherwise less `folds_from` - 1; `files` and `seconds` of the sounds,
        null where there is none, and the `reasons` for that by the clip's row; `longest`, the seconds that sounds are
        cut to; `peaks` (clips, pieces), encoded in 8 bit.
    """
    playable = [sound if isinstance(sound, PlayableSound) else None for sound in sounds]
    flat = np.zeros_like(next((sound.peaks for sound in playable if sound), np.zeros(1)))
    return {
        "ids": clips.ids,
        "classes": clips.class_names,
        "categories": _categories(clips.class_names),
        "labels": encode_integers(clips.labels + 1),
        "folds": encode_integers(clips.folds - clips.no_fold),
        "folds_from": clips.no_fold + 1,
        "files": [sound and sound.file for sound in playable],
        "seconds": [sound and round(sound.seconds, 2) for sound in playable],
        "reasons": {str(row): str(error) for row, error in enumerate(sounds) if isinstance(error, MediaError)},
        "longest": longest_seconds,
        "peaks": encode_integers(quantize(np.stack([sound.peaks if sound else flat for sound in playable]), bits=8)),
    }


def _categories(class_names: Sequence[str]) -> dict[str, Any] | None:
    if not is_esc50(class_names):
        return None
    return {"names": ESC50_CATEGORIES, "of": [number // CLASSES_PER_CATEGORY for number in range(len(class_names))]}


CLIPS = Section("clips", "Clips", show)
