"""Feature caches of given arrays, written by the real writer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.features.cache_joining import join_parts
from soundnet_kd.features.cache_parts import new_part
from soundnet_kd.models import Preprocessing
from soundnet_kd.storage import versions


def write_cache(
    path: Path,
    layers: Mapping[str, NDArray[np.float32]],
    labels: Sequence[int],
    folds: Sequence[int],
    class_names: Sequence[str],
    paths: Sequence[Path] | None = None,
    architecture: str = "none",
) -> Path:
    """Write a cache whose layers are the given (clips, channels) arrays, as if of a student.

    The clips are called as their files, or clip-0, clip-1, … where none are given.
    """
    identity = {
        "student": {"architecture": architecture, "sha256": "none"},
        "settings": {
            "layers": list(layers),
            "pooling": "mean",
            "sequences": False,
            "preprocessing": asdict(Preprocessing()),
        },
        "versions": versions(),
    }
    names = {} if paths is None else dict(enumerate(paths))
    part = path.with_suffix(".part")
    with new_part(part) as writer:
        writer.finish(len(labels), {f"layers/{layer}": list(rows) for layer, rows in layers.items()}, {})
    clips = tuple(
        Clip(
            id=names[index].name if index in names else f"clip-{index}",
            path=names.get(index, Path(f"clip-{index}.wav")),
            label=label,
            fold=fold,
        )
        for index, (label, fold) in enumerate(zip(labels, folds, strict=True))
    )
    join_parts(path, [[part]], Manifest(clips, tuple(class_names)), {}, identity)
    part.unlink()
    return path
