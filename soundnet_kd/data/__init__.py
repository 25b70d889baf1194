"""What a clip is: sounds with labels and folds, and the targets that the teachers leave for the student."""

from soundnet_kd.data.manifest import Clip, Manifest
from soundnet_kd.data.sources.detect import read_manifest
from soundnet_kd.data.targets import (
    CLIP_SECONDS,
    STEP_SECONDS,
    LabelledClip,
    Targets,
    count_steps,
    tile_to_clip,
    write_part,
)

__all__ = [
    "CLIP_SECONDS",
    "STEP_SECONDS",
    "Clip",
    "LabelledClip",
    "Manifest",
    "Targets",
    "count_steps",
    "read_manifest",
    "tile_to_clip",
    "write_part",
]
