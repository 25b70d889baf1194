"""Sounds on the page: a small file for each clip, and the envelope of its waveform."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.errors import MediaError
from soundnet_kd.media import MediaSource, local_file, read_audio, write_audio
from soundnet_kd.media.container import audio_track, open_media
from soundnet_kd.report.clips import Clips
from soundnet_kd.storage import atomic_write

FOLDER = "sounds"
PEAKS = 96
"""Number of bars of a drawn waveform."""

_LONGEST_NAME = 40

_COPIED_FORMATS = ("flac", "mp3")
"""Formats, by FFmpeg's names and endings alike, that all browsers play."""
_COPIED_BYTES_PER_SECOND = 16_000
"""Size up to which a sound in one of these is copied: twice that of the MP3 that would be made of it."""


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

    It is a copy of the clip's own file if that is a small mono FLAC or MP3, and no longer; else an MP3.

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


def _written(clip: str, source: MediaSource | None, longest_seconds: float, folder: Path) -> PlayableSound | MediaError:
    if source is None:
        return MediaError(f"it is not known where {clip} lies; give the sounds with --sounds")
    try:
        with local_file(source) as path:
            return _written_from(path, clip, longest_seconds, folder)
    except MediaError as error:
        return error


def _written_from(path: Path, clip: str, longest_seconds: float, folder: Path) -> PlayableSound:
    waveform, sample_rate = read_audio(path, longest_seconds=longest_seconds)
    seconds = len(waveform) / sample_rate
    copied = _copied_format(path, seconds) if seconds < longest_seconds else None
    file = folder / f"{_stem(clip, waveform, sample_rate)}.{copied or 'mp3'}"
    if copied and not file.is_file():
        with atomic_write(file) as partial:
            shutil.copyfile(path, partial)
    elif not file.is_file():
        write_audio(file, waveform, sample_rate)
    return PlayableSound(file.name, seconds, _peaks(waveform))


def _copied_format(path: Path, seconds: float) -> str | None:
    """Return the format of a file that the page can play as it is; None for all others.

    Of several channels the page plays what the network hears, so that only mono files are copied.
    """
    if path.stat().st_size > _COPIED_BYTES_PER_SECOND * seconds:
        return None
    with open_media(path) as container:
        name = container.format.name
        return name if name in _COPIED_FORMATS and audio_track(container, path).channels == 1 else None


def _stem(clip: str, waveform: NDArray[np.float32], sample_rate: int) -> str:
    """Name a file after the clip, and after a hash of its samples, so that different sounds have different names."""
    known = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(clip).stem)[:_LONGEST_NAME].strip("_")
    digest = hashlib.sha256(f"{clip}\0{sample_rate}\0".encode("utf-8", "surrogateescape") + waveform.tobytes())
    return f"{known or 'sound'}.{digest.hexdigest()[:10]}"


def _peaks(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    starts = np.linspace(0, len(waveform), PEAKS, endpoint=False).astype(int)
    # A bar of a sound with fewer samples than bars has the sample at its start.
    peaks = np.maximum.reduceat(np.abs(waveform), starts)
    largest = peaks.max()
    return peaks / largest if largest > 0 else peaks
