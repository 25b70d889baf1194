"""Sound files that FFmpeg takes for something else, or does not know; libsndfile reads them as they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media.container import open_media, packets_of

# In these FFmpeg goes by the valid bits of a sample where their container counts, takes big-endian samples for
# little-endian ones, one ADPCM for another, or the filling up of a chunk for sound.
_DOUBTFUL = frozenset({"wav", "w64", "au", "sds"})
# FFmpeg's names of what libsndfile finds there and both read alike. {} is the byte order.
_CODECS = {
    "PCM_S8": "pcm_s8",
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16{}",
    "PCM_24": "pcm_s24{}",
    "PCM_32": "pcm_s32{}",
    "FLOAT": "pcm_f32{}",
    "DOUBLE": "pcm_f64{}",
}
_MISTAKEN = frozenset({"g726", "g726le", "amrnb", "pcm_u32le"})
_BLOCK_SAMPLES = 1 << 16


def is_known(path: Path) -> bool:
    """Whether libsndfile knows a file; it knows some that FFmpeg does not."""
    return _found(path) is not None


def is_misread(path: Path, container: str, codec: str) -> bool:
    """Whether a file that FFmpeg takes for this container and codec is one that only libsndfile reads rightly."""
    if container in _DOUBTFUL:
        return _reads_otherwise(path, container, codec)
    if (container, codec) == ("ogg", "vorbis"):
        return _begins_late(path) and is_known(path)
    if (container, codec) == ("caf", "alac"):
        # FFmpeg cuts off twice what the last packet lacks. More channels than two it puts in order, unlike libsndfile.
        found = _found(path)
        return found is not None and found.channels <= 2
    return False


def blocks_by_libsndfile(path: Path) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Give (samples, channels) float32, whole numbers scaled to ±1, and their rate in Hz.

    Raises
    ------
    MediaError
        If it cannot be read to its end.
    """
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            while len(block := file.read(min(_BLOCK_SAMPLES, file.frames), dtype="float32", always_2d=True)):
                yield block, file.samplerate
    except soundfile.LibsndfileError as error:
        raise MediaError(f"{path.name} cannot be read: {error.error_string}") from error


def _reads_otherwise(path: Path, container: str, codec: str) -> bool:
    found = _found(path)
    if found is None:
        return False
    if found.subtype not in _CODECS:
        return codec in _MISTAKEN
    order = {"BIG": "be", "LITTLE": "le"}.get(found.endian, "be" if container == "au" else "le")
    return container == "w64" or codec != _CODECS[found.subtype].format(order)


def _begins_late(path: Path) -> bool:
    """Whether FFmpeg lets a file of Vorbis begin at zero with the first block, which carries no sound.

    That lies before zero; where the whole sound is on one page it does not, all that follows is late and the end lost.
    """
    with open_media(path) as container:
        first = next(packets_of(container, container.streams.audio[0]), None)
        return first is not None and first.pts == 0


def _found(path: Path) -> "soundfile._SoundFileInfo | None":
    try:
        return soundfile.info(os.fsencode(path))
    except soundfile.LibsndfileError:
        return None
