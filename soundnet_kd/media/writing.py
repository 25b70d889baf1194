"""Writing small, real sound and video files."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media.full_scale import as_float
from soundnet_kd.storage import atomic_write

VideoCodec = Literal["libx264", "mpeg4"]

_AUDIO_FILE_CODECS = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame"}
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MP3_BITS_PER_SECOND = 64_000
_AUDIO_BLOCK_SAMPLES = 1024
_VIDEO_OPTIONS = {"libx264": {"preset": "veryfast", "crf": "20"}, "mpeg4": {"q": "3"}}
# FFmpeg's own AAC takes a third of the time so, and LAME half of it, with no more noise.
_AUDIO_OPTIONS = {"aac": {"aac_coder": "fast"}, "libmp3lame": {"compression_level": "7"}}


def write_video(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]] | None,
    frame_rate: float | Fraction = 25,
    waveform: NDArray[np.float32] | None = None,
    sample_rate: int = 44100,
    *,
    video_codec: VideoCodec = "libx264",
    audio_codec: str = "aac",
    video_options: dict[str, str] | None = None,
) -> None:
    """Write a video file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The suffix names the container, such as .mp4 or .mkv.
    frames : iterable of (height, width, 3) uint8, optional
        RGB, all of one size; an odd last row or column is cut off, as the codecs need even sizes. None writes no
        picture track.
    frame_rate : float or Fraction
        Frames per second.
    waveform : (samples,) float32, optional
        Full scale is ±1, more is clipped. None writes no audio track.
    sample_rate : int
        Samples per second.
    video_codec : {"libx264", "mpeg4"}
    audio_codec : str
        Name of an FFmpeg encoder; `aac` takes its fast coder.
    video_options : dict of str to str, optional
        Options of the encoder, on top of a fast preset of good quality.

    Raises
    ------
    MediaError
        If FFmpeg cannot write such a file.
    ValueError
        If there is neither picture nor sound, or an array has the wrong shape.
    """
    path = Path(path)
    pictures = None if frames is None else iter(frames)
    first = None if pictures is None else next(pictures, None)
    if first is None and waveform is None:
        raise ValueError(f"{path.name} would have neither pictures nor sound")
    rate = Fraction(frame_rate).limit_denominator(1001)
    with _writing(path) as container:
        sound = None if waveform is None else _Sound(container, audio_codec, waveform, sample_rate)
        if pictures is not None and first is not None:
            options = _VIDEO_OPTIONS[video_codec] | (video_options or {})
            video = _video_stream(container, video_codec, rate, first, options)
            for index, image in enumerate(itertools.chain([first], pictures)):
                container.mux(video.encode(_video_frame(image, video, index, rate)))
                # Sound beside its pictures, so that players and pipes need not look far.
                if sound is not None:
                    sound.write_until(float((index + 1) / rate))
            container.mux(video.encode(None))
        if sound is not None:
            sound.finish()


def write_audio(path: str | Path, waveform: NDArray[np.float32] | NDArray[np.int16], sample_rate: int) -> None:
    """Write a mono sound file, of 16 bit or as MP3 of 64 kbit/s, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ends in .wav, .flac or .mp3; MP3 knows nine sample rates, up to 48 kHz, of which it takes the nearest.
    waveform : (samples,)
        As `as_float` takes it: float in ±1, what is a little more is clipped, or int16.
    sample_rate : int
        Samples per second.

    Raises
    ------
    MediaError
        If the suffix is another one, or FFmpeg cannot write such a file.
    ValueError
        If `waveform` has the wrong shape.
    """
    path = Path(path)
    codec = _AUDIO_FILE_CODECS.get(path.suffix.lower())
    if codec is None:
        raise MediaError(f"{path.name} has to end in {' or '.join(_AUDIO_FILE_CODECS)}; sounds are written as these")
    with _writing(path) as container:
        _Sound(container, codec, waveform, sample_rate).finish()


class _Sound:
    """A waveform on its way into an audio track."""

    def __init__(
        self,
        container: OutputContainer,
        codec: str,
        waveform: NDArray[np.float32] | NDArray[np.int16],
        sample_rate: int,
    ) -> None:
        if waveform.ndim != 1:
            raise ValueError(f"waveform is {waveform.shape}; it must be (samples,)")
        self._container = container
        self._waveform = as_float(waveform)
        self._sample_rate = sample_rate
        self._written = 0
        is_mp3 = codec == _AUDIO_FILE_CODECS[".mp3"]
        rate = min(_MP3_RATES, key=lambda rate: abs(rate - sample_rate)) if is_mp3 else sample_rate
        stream = container.add_stream(codec, rate=rate, layout="mono", options=_AUDIO_OPTIONS.get(codec))
        if not isinstance(stream, AudioStream):
            raise MediaError(f"{codec} does not encode sound; name an audio codec such as aac")
        if is_mp3:
            stream.bit_rate = _MP3_BITS_PER_SECOND
        self._stream = stream

    def write_until(self, seconds: float) -> None:
        end = min(len(self._waveform), round(seconds * self._sample_rate))
        while self._written < end:
            block = self._waveform[self._written : min(end, self._written + _AUDIO_BLOCK_SAMPLES)]
            # Rounded here as reading divides, by 2^15, so that 16 bit sounds come back unchanged.
            levels = np.clip(np.round(np.asarray(block, np.float64) * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
            frame = AudioFrame.from_ndarray(levels[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = self._sample_rate
            frame.pts = self._written
            frame.time_base = Fraction(1, self._sample_rate)
            self._container.mux(self._stream.encode(frame))
            self._written += len(block)

    def finish(self) -> None:
        self.write_until(len(self._waveform) / self._sample_rate)
        self._container.mux(self._stream.encode(None))


def _video_stream(
    container: OutputContainer, codec: str, rate: Fraction, image: NDArray[np.uint8], options: dict[str, str]
) -> VideoStream:
    stream = container.add_stream(codec, rate=rate, options=options)
    if not isinstance(stream, VideoStream):
        raise MediaError(f"{codec} does not encode pictures; name a video codec such as libx264")
    stream.height, stream.width = (size // 2 * 2 for size in image.shape[:2])
    stream.pix_fmt = "yuv420p"
    return stream


def _video_frame(image: NDArray[np.uint8], stream: VideoStream, index: int, rate: Fraction) -> VideoFrame:
    even = tuple(size // 2 * 2 for size in image.shape[:2])
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or even != (stream.height, stream.width):
        wanted = f"({stream.height}, {stream.width}, 3) uint8"
        raise ValueError(f"frame {index} is {image.shape} {image.dtype}; it must be {wanted} as the first one")
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image[: even[0], : even[1]]), format="rgb24")
    frame.pts = index
    frame.time_base = 1 / rate
    return frame


@contextmanager
def _writing(path: Path) -> Iterator[OutputContainer]:
    try:
        with atomic_write(path) as partial, _output(partial, path) as container:
            yield container
    except FFmpegError as error:
        raise MediaError(f"{path.name} cannot be written: {error.strerror}") from error


def _output(partial: Path, path: Path) -> OutputContainer:
    try:
        return av.open(f"file:{partial}", "w")
    except ValueError as error:
        raise MediaError(f"{path.name} has a suffix that names no media format; use one such as .mp4") from error
