"""Sound files that FFmpeg takes for something else, or does not know; they are read as they are."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import soundfile
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media.container import open_media, read_packets

Block = tuple[NDArray[np.float32], int]
"""(samples, channels) in ±1, and their rate in Hz."""

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


def read_misread(path: str | Path, container: InputContainer, stream: AudioStream) -> Iterator[Block] | None:
    """Return the sound of a file that FFmpeg would read wrongly, or None if it reads it rightly.

    Raises
    ------
    MediaError
        If nothing reads it rightly.
    """
    path = Path(path)
    name, codec = container.format.name, stream.codec_context.name
    if name in _DOUBTFUL and _reads_otherwise(path, name, codec):
        return read_by_libsndfile(path)
    if name == "ogg":
        links = _links(path)
        late = codec == "vorbis" and len(links) == 1 and _begins_late(path)
        # Of links with other rates or channels than the first FFmpeg reads nothing.
        if (late or len(links) > 1) and all(_found(path, link) for link in links):
            return (block for link in links for block in read_by_libsndfile(path, link))
    if (name, codec) == ("caf", "alac") and stream.codec_context.channels <= 2:
        # FFmpeg cuts off twice what the last packet lacks. More channels than two it puts in order, unlike libsndfile.
        return read_by_libsndfile(path) if known_to_libsndfile(path) else None
    if name in ("wav", "caf"):
        return _unpacked(path, container, stream)
    return None


def known_to_libsndfile(path: str | Path) -> bool:
    """Whether libsndfile knows a file; it knows some that FFmpeg does not."""
    return _found(Path(path)) is not None


def read_by_libsndfile(path: str | Path, part: tuple[int, int] | None = None) -> Iterator[Block]:
    """Read a file, or the part of it between two of its bytes.

    Raises
    ------
    MediaError
        If it cannot be read to its end.
    """
    path = Path(path)
    try:
        with ExitStack() as open_files:
            given = os.fsencode(path) if part is None else open_files.enter_context(_ByteRange(path, *part))
            file = open_files.enter_context(soundfile.SoundFile(given))
            while len(block := file.read(min(_BLOCK_SAMPLES, file.frames), dtype="float32", always_2d=True)):
                yield block, file.samplerate
    except soundfile.LibsndfileError as error:
        raise MediaError(f"{path.name} cannot be read: {error.error_string}") from error


def _found(path: Path, part: tuple[int, int] | None = None) -> "soundfile._SoundFileInfo | None":
    try:
        if part is None:
            return soundfile.info(os.fsencode(path))
        with _ByteRange(path, *part) as given:
            return soundfile.info(given)
    except soundfile.LibsndfileError:
        return None


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
        first = next(read_packets(container, container.streams.audio[0]), None)
        return first is not None and first.pts == 0


def _links(path: Path) -> list[tuple[int, int]]:
    """Return where each of the recordings begins and ends that an Ogg file holds one behind the other."""
    starts: list[int] = []
    began = False
    with path.open("rb") as file:
        place = 0
        # RFC 3533: a page is 27 bytes, the sizes of its segments, and those.
        while (header := file.read(27)).startswith(b"OggS") and len(header) == 27:
            begins = bool(header[5] & 2)
            if begins and not began:
                starts.append(place)
            began = begins
            place += 27 + header[26] + sum(file.read(header[26]))
            file.seek(place)
        end = file.seek(0, os.SEEK_END)
    return list(zip(starts, [*starts[1:], end], strict=True))


class _ByteRange(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb")
        self._start, self._bytes = start, end - start
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._bytes}[whence]
        return self._file.seek(self._start + base + offset) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._bytes - self.tell()))
        read = self._file.read(wanted)
        buffer[: len(read)] = read
        return len(read)

    def close(self) -> None:
        self._file.close()
        super().close()


def _unpacked(path: Path, container: InputContainer, stream: AudioStream) -> Iterator[Block] | None:
    """Read whole numbers that lie left-justified in more bytes than they have bits for; None if they do not."""
    context = stream.codec_context
    found = re.fullmatch(r"pcm_[suf](8|16|24|32)(le|be)?", context.name)
    if (
        found is None
        or context.name.startswith("pcm_f32")
        or (container.format.name == "wav" and known_to_libsndfile(path))
    ):
        # What libsndfile knows it has been asked for.
        return None
    stored_bytes, rest = divmod(context.bit_rate or 0, 8 * context.sample_rate * context.channels)
    if not context.bit_rate or (stored_bytes == int(found[1]) // 8 and not context.name.startswith("pcm_f")):
        return None
    if rest or found[2] is None or stored_bytes not in (2, 3, 4):
        raise MediaError(f"{path.name} has samples of {found[1]} bits in another width; convert it")
    return _wide_samples(container, stream, stored_bytes, ">" if found[2] == "be" else "<")


def _wide_samples(container: InputContainer, stream: AudioStream, width: int, order: str) -> Iterator[Block]:
    channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
    left = b""
    for packet in read_packets(container, stream):
        raw = left + bytes(packet)
        whole = len(raw) // (width * channels) * width * channels
        left = raw[whole:]
        # The bytes that are missing to four are the lowest.
        stored = np.frombuffer(raw[:whole], np.uint8).reshape(-1, width)
        padding = ((0, 0), (0, 4 - width) if order == ">" else (4 - width, 0))
        values = np.pad(stored, padding).view(f"{order}i4").reshape(-1, channels)
        yield (values / 2.0**31).astype(np.float32), rate
