"""Moving forward through a picture track to the frame that is shown at a time."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame

from soundnet_kd.errors import MediaError
from soundnet_kd.media.container import clock_start, decode_video, picture_track

# Asked times are floats and a container's start is rounded to 1 µs: a frame due this much later counts as shown.
TIME_TOLERANCE_SECONDS = 1e-5
# Some containers land after the time that was sought, by a few reordered frames or a coarse index: aim earlier then.
SEEK_MARGINS_SECONDS = (0.0, 2.0, 10.0)
# Without an index of key frames, seeking pays only over more than a usual distance between two of them.
BLIND_SEEK_SECONDS = 10.0
# Raw streams without times and without a rate: the rate that FFmpeg assumes too.
DEFAULT_FRAME_RATE = Fraction(25)

TimedFrame = tuple[float, VideoFrame]


class SeekError(Exception):
    """A file does not take us to a key frame before the wanted time."""


class Player:
    """A position in a picture track that moves forward, by decoding or by seeking, whichever is shorter.

    Parameters
    ----------
    container : InputContainer
        Freshly opened.
    path : Path
        Its file, for messages.
    can_seek : bool
        False decodes every frame from the start.

    Raises
    ------
    MediaError
        If there is no picture track, or nothing in it can be decoded.
    """

    def __init__(self, container: InputContainer, path: Path, *, can_seek: bool) -> None:
        self._container = container
        self._can_seek = can_seek
        self._stream = picture_track(container, path)
        self._stream.thread_type = "AUTO"
        self._time_base = self._stream.time_base or Fraction(1)
        self._start = clock_start(container)
        self.pixel_aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self._frames = self._timed(decode_video(container, self._stream))
        first = next(self._frames, None)
        if first is None:
            raise MediaError(f"{path.name} has a picture track without a single picture")
        self._shown: TimedFrame = first
        self._upcoming = next(self._frames, None)

    def at(self, seconds: float) -> TimedFrame:
        """Give the frame shown at a time, and when it began to be shown; no earlier time can be asked afterwards.

        Raises
        ------
        SeekError
            If the file cannot be sought, which `can_seek=False` avoids.
        """
        due = seconds + TIME_TOLERANCE_SECONDS
        if self._can_seek and self._seeking_pays(due):
            self._seek(due)
        while self._upcoming is not None and self._upcoming[0] <= due:
            self._shown = self._upcoming
            self._upcoming = next(self._frames, None)
        return self._shown

    def _seeking_pays(self, seconds: float) -> bool:
        """Whether a key frame lies between the position and `seconds`, as far as the file tells."""
        if self._upcoming is None or seconds < self._upcoming[0]:
            return False
        position, index = self._ticks(self._upcoming[0]), self._stream.index_entries
        if len(index) and index[-1].timestamp > position:
            key = index.search_timestamp(self._ticks(seconds))
            return key >= 0 and index[key].timestamp > position
        # No index, or one that FFmpeg fills only as far as it has read.
        return seconds - self._upcoming[0] > BLIND_SEEK_SECONDS

    def _seek(self, seconds: float) -> None:
        for margin in SEEK_MARGINS_SECONDS:
            try:
                self._container.seek(self._ticks(seconds - margin), stream=self._stream)
                frames = self._timed(decode_video(self._container, self._stream))
                # Decoders show broken pictures when they start between key frames.
                landed = next((timed for timed in frames if timed[1].key_frame), None)
            except (FFmpegError, MediaError):
                continue
            if landed is not None and landed[1].pts is not None and landed[0] <= seconds:
                self._frames, self._shown, self._upcoming = frames, landed, next(frames, None)
                return
        raise SeekError

    def _timed(self, frames: Iterator[VideoFrame]) -> Iterator[TimedFrame]:
        """Pair frames with their times; frames without one follow at the average rate."""
        interval = float(1 / (self._stream.average_rate or DEFAULT_FRAME_RATE))
        seconds = -interval
        for frame in frames:
            if frame.pts is not None and frame.time_base is not None:
                seconds = float(frame.pts * frame.time_base - self._start)
            else:
                seconds += interval
            yield seconds, frame

    def _ticks(self, seconds: float) -> int:
        return int((Fraction(seconds) + self._start) // self._time_base)
