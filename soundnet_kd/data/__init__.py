"""What a clip is: sounds with labels and folds, and the targets that the teachers leave for the student."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from soundnet_kd.data.manifest import Clip as Clip
    from soundnet_kd.data.manifest import Manifest as Manifest
    from soundnet_kd.data.sources.detect import read_manifest as read_manifest
    from soundnet_kd.data.target_clips import CLIP_SECONDS as CLIP_SECONDS
    from soundnet_kd.data.target_clips import STEP_SECONDS as STEP_SECONDS
    from soundnet_kd.data.target_clips import LabelledClip as LabelledClip
    from soundnet_kd.data.target_clips import count_steps as count_steps
    from soundnet_kd.data.target_clips import tile_to_clip as tile_to_clip
    from soundnet_kd.data.target_parts import write_part as write_part
    from soundnet_kd.data.targets import Targets as Targets

# Each is imported when it is first used, so that who reads features needs no decoder.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "manifest": ["Clip", "Manifest"],
        "sources.detect": ["read_manifest"],
        "target_clips": ["CLIP_SECONDS", "LabelledClip", "STEP_SECONDS", "count_steps", "tile_to_clip"],
        "target_parts": ["write_part"],
        "targets": ["Targets"],
    },
)
