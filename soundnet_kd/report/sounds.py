"""Sounds on the page: a small file for each clip, and the envelope of its waveform."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.errors import MediaError
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.report.clips import Clips

FOLDER = "sounds"
PEAKS = 96
"""Number of bars of a drawn waveform."""

_LONGEST_NAME = 40


@dataclass(frozen=True)
class PlayableSound:
    """A sound on the page.

    Attributes
    ----------
    file : str
        Name of the file in the folder of sounds.
    seconds : float
        Length of the file.
    peaks : (PEAKS,) float32
        The largest magnitude in each bar, relative to the largest of all.
    """

    file: str
    seconds: float
    peaks: NDArray[np.float32]


def write_sounds(clips: Clips, longest_seconds: float, out: str | Path) -> list[PlayableSound | MediaError]:
    """Write a small file for each clip into the page's folder, unless it is there; remove all other sounds there.

    Parameters
    ----------
    clips : Clips
    longest_seconds : float
        Length of a clip on the page, at most, from its start.
    out : str or Path
        Folder of the page.

    Returns
    -------
    list of PlayableSound or MediaError
        One per clip; an error if it cannot be read.
    """
    out = Path(out)
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # FFmpeg releases the GIL while it works.
    written = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
        delayed(_written)(clip, path, longest_seconds, folder)
        for clip, path in zip(clips.ids, clips.paths, strict=True)
    )
    sounds = list(_with_progress(written, len(clips.ids)))
    wanted = {sound.file for sound in sounds if isinstance(sound, PlayableSound)}
    for file in folder.iterdir():
        if file.is_file() and file.name not in wanted:
            file.unlink()
    return sounds


def _with_progress(sounds: Iterator[PlayableSound | MediaError], count: int) -> Iterator[PlayableSound | MediaError]:
    failed = 0
    with tqdm(total=count, desc="sounds", unit="sound") as progress:
        for sound in sounds:
            if isinstance(sound, MediaError):
                failed += 1
                progress.set_postfix(silent=failed, refresh=False)
            progress.update()
            yield sound


def _written(clip: str, path: Path | None, longest_seconds: float, folder: Path) -> PlayableSound | MediaError:
    if path is None:
        return MediaError(f"nobody knows where {clip} lies; give the sounds with --sounds")
    try:
        waveform, sample_rate = read_audio(path, longest_seconds=longest_seconds)
        file = folder / _name(clip, waveform, sample_rate)
        if not file.is_file():
            write_audio(file, waveform, sample_rate)
    except MediaError as error:
        return error
    return PlayableSound(file.name, len(waveform) / sample_rate, _peaks(waveform))


def _name(clip: str, waveform: NDArray[np.float32], sample_rate: int) -> str:
    """Name a file after the clip, and after a hash of its samples, so that different sounds have different names."""
    known = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(clip).stem)[:_LONGEST_NAME].strip("_")
    digest = hashlib.sha256(f"{clip}\0{sample_rate}\0".encode("utf-8", "surrogateescape") + waveform.tobytes())
    return f"{known or 'sound'}.{digest.hexdigest()[:10]}.mp3"


def _peaks(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    edges = np.linspace(0, len(waveform), PEAKS + 1).astype(int)
    peaks = np.array(
        [np.abs(waveform[start : max(end, start + 1)]).max(initial=0) for start, end in pairwise(edges)],
        dtype=np.float32,
    )
    largest = peaks.max()
    return peaks / largest if largest > 0 else peaks
