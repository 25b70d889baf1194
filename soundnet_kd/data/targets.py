"""What the teachers leave for the student: a folder of parts and the settings that made it.

`targets.json`
    The settings: teachers, frame sampling, sample rate, versions.
`parts/part-00000.h5` …
    The labelled clips (the layout stands in `soundnet_kd/data/parts.py`).
"""

import hashlib
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data.parts import FORMAT_VERSION, LabelledClip, Part, part_files
from soundnet_kd.errors import FormatError
from soundnet_kd.storage import read_json

SETTINGS_FILE = "targets.json"
OPEN_PARTS = 16
"""How many parts a reader keeps open."""


class Targets:
    """A folder of targets, read lazily: parts are opened when a clip of theirs is asked for.

    It may be handed to worker processes: open files stay behind and are opened anew there.

    Parameters
    ----------
    folder : str or Path
        What `soundnet-kd teach` wrote.

    Raises
    ------
    FormatError
        If `folder` is no targets folder, is of another format version, or holds no clips.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        self.folder = folder
        if not (folder / SETTINGS_FILE).is_file():
            raise FormatError(
                f"{folder} is not a targets folder (no {SETTINGS_FILE}); make one with `soundnet-kd teach`"
            )
        self.settings: dict[str, Any] = read_json(folder / SETTINGS_FILE)
        if self.settings.get("format_version") != FORMAT_VERSION:
            raise FormatError(
                f"{folder} has format version {self.settings.get('format_version')}, this program reads "
                f"{FORMAT_VERSION}; label the videos again with `soundnet-kd teach`"
            )
        self.parts = part_files(folder)
        self._open: OrderedDict[int, Part] = OrderedDict()
        self._process = os.getpid()
        counts: list[int] = []
        hashes: list[NDArray[np.uint64]] = []
        for index in range(len(self.parts)):
            part = self._part(index)
            counts.append(len(part))
            hashes.append(np.array([_hash(source) for source in part.sources()], np.uint64))
        self._first_clips = [0, *accumulate(counts)]
        if len(self) == 0:
            raise FormatError(f"{folder} holds no labelled clips; run `soundnet-kd teach` to its end")
        self.videos: NDArray[np.uint64] = np.concatenate(hashes)
        """(clips,) hash of the name of each clip's video: equal where the video is the same."""
        first = self._part(0)
        self.sample_rate = first.sample_rate
        self.class_names = first.class_names()

    def __len__(self) -> int:
        return self._first_clips[-1]

    def __iter__(self) -> Iterator[LabelledClip]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> LabelledClip:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has clips 0 to {len(self) - 1}, not {index}")
        part_index = bisect_right(self._first_clips, index) - 1
        return self._part(part_index)[index - self._first_clips[part_index]]

    def identity(self) -> dict[str, Any]:
        """Give what tells these targets from others: their teachers and sampling, and which videos they are of."""
        kept = {key: self.settings[key] for key in ("teachers", "frame_sampling", "sample_rate")}
        sources = hashlib.sha256(self.videos.astype("<u8").tobytes()).hexdigest()
        return {**kept, "clips": len(self), "sources_sha256": sources}

    def sources(self) -> Iterator[str]:
        """Give the video of every clip, in the order of the clips."""
        return (source for index in range(len(self.parts)) for source in self._part(index).sources())

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give, for each labelled step, where it begins in its video, and the time of the frame that was looked at."""
        begins, looked_at = zip(*(self._part(index).steps() for index in range(len(self.parts))), strict=True)
        return np.concatenate(begins), np.concatenate(looked_at)

    def _part(self, index: int) -> Part:
        if self._process != os.getpid():
            self._open, self._process = OrderedDict(), os.getpid()
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        part = Part(self.parts[index])
        self._open[index] = part
        if len(self._open) > OPEN_PARTS:
            self._open.popitem(last=False)[1].close()
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}


def _hash(source: str) -> int:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8])
