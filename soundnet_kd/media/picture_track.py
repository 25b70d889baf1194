"""A picture track and its clock: the seconds of its packets and pictures, counted from the start of the file."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from soundnet_kd.media.clock import BACK_SECONDS, DEFAULT_FRAME_RATE, measure_extent
from soundnet_kd.media.container import MP4_FAMILY, clock_start, decode_video, picture_track, read_packets, to_fraction

# Asked times are floats and a container's start is rounded to 1 µs: a frame due this much later counts as shown.
TIME_TOLERANCE_SECONDS = 1e-5
# MPEG program streams stamp some pictures only; FFmpeg counts on from them, and after a seek from a wrong guess.
CLOCKLESS_AFTER_SEEKING = frozenset({"mpeg"})


class TimedFrame(NamedTuple):
    """A decoded picture and how it is shown.

    Attributes
    ----------
    seconds : float
        When it begins to be shown.
    picture : VideoFrame
    pixel_aspect : Fraction
        Width of its pixels over their height.
    display_matrix : (3, 3) int32, optional
        [[a, b, _], [c, d, _], _] takes its column x and row y to column a x + c y and row b x + d y.
    """

    seconds: float
    picture: VideoFrame
    pixel_aspect: Fraction
    display_matrix: NDArray[np.int32] | None


class SeekError(Exception):
    """A frame cannot be reached by seeking, or the file is wrong about where it is."""


class PictureTrack:
    """The pictures of an open file.

    Parameters
    ----------
    container : InputContainer
        Freshly opened.
    path : Path
        Its file, for messages.
    threads : int
        Threads of the decoder; 0 is one for each core.

    Raises
    ------
    MediaError
        If there is no picture track, or no decoder for it.
    """

    def __init__(self, container: InputContainer, path: Path, threads: int) -> None:
        self.path = path
        self.container = container
        self.stream = picture_track(container, path)
        self.stream.thread_count = threads
        self._stated_aspect = to_fraction(self.stream.sample_aspect_ratio)
        # Where the container says nothing of its own, or the same, broadcasts may change it on the way.
        self._aspect_changes = self._stated_aspect == to_fraction(self.stream.codec_context.sample_aspect_ratio)
        self._matrix: NDArray[np.int32] | None = None
        self._time_base = to_fraction(self.stream.time_base)
        self._tolerated_ticks = int(BACK_SECONDS / self._time_base)
        self._start = clock_start(container)
        self._start_seconds = float(self._start)
        for other in container.streams:
            if other.index != self.stream.index:
                other.discard = Discard.all

    def seconds(self, packet: "Packet[Any]") -> float | None:
        """Return when a packet's picture begins to be shown, or None if its file does not say."""
        if packet.pts is None or not packet.time_base:
            return None
        return float(packet.pts * packet.time_base) - self._start_seconds

    def seconds_of(self, ticks: int) -> float:
        """Return a time in the units of the track in seconds."""
        return float(ticks * self._time_base) - self._start_seconds

    def ticks(self, seconds: float) -> int:
        """Return a time in the units of the track, rounded down."""
        return int((Fraction(seconds) + self._start) // self._time_base)

    def seek(self, ticks: int) -> None:
        """Move to the key frame at or before a time in units of the track, as well as the container knows.

        Raises
        ------
        SeekError
            If the container cannot be sought, or not without losing the times.
        """
        if self.container.format.name in CLOCKLESS_AFTER_SEEKING or self._clock_jumps:
            # With two clocks in a file the same time lies at two places.
            raise SeekError
        index = self.stream.index_entries
        if self.container.format.name == "avi" and len(index) and ticks > index[-1].timestamp + self._tolerated_ticks:
            # Of files that were joined it is the index of the first.
            raise SeekError
        try:
            self.container.seek(ticks, stream=self.stream)
        except FFmpegError as error:
            raise SeekError from error

    @cached_property
    def _clock_jumps(self) -> bool:
        return self.container.format.name != MP4_FAMILY and measure_extent(self.path).behind_seconds > 0

    def timed(self, seconds: float, picture: VideoFrame) -> TimedFrame:
        """Put a picture that was just decoded beside its time, and how it is shown."""
        aspect = self._stated_aspect
        if self._aspect_changes:
            aspect = to_fraction(self.stream.codec_context.sample_aspect_ratio)
        stated: Any = picture.side_data.get("DISPLAYMATRIX")
        # One that the pictures state themselves stands at the first of a group, and holds for all of it.
        if stated is not None or picture.key_frame:
            self._matrix = None if stated is None else np.frombuffer(bytes(stated), np.int32).reshape(3, 3)
        return TimedFrame(seconds, picture, aspect, self._matrix)

    def packets(self) -> "Iterator[Packet[Any]]":
        """Return the packets from here on, in the order of decoding."""
        return (packet for packet in read_packets(self.container, self.stream) if packet.size)

    def frames(self) -> Iterator[TimedFrame]:
        """Decode from here to where the clock jumps, with times; frames without one follow at the average rate."""
        clock_jumps = self._clock_jumps
        interval = float(1 / (self.stream.average_rate or DEFAULT_FRAME_RATE))
        seconds = -interval
        for frame in decode_video(self.container, self.stream):
            before = seconds
            seconds = seconds + interval if frame.time is None else frame.time - self._start_seconds
            if clock_jumps and seconds < before - BACK_SECONDS:
                return
            yield self.timed(seconds, frame)
