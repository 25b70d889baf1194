"""A picture track and its clock: the seconds of its packets and pictures, counted from the start of the file."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame

from soundnet_kd.media.container import clock_start, decode_video, fraction, packets_of, picture_track

# Asked times are floats and a container's start is rounded to 1 µs: a frame due this much later counts as shown.
TIME_TOLERANCE_SECONDS = 1e-5
# Raw streams without times and without a rate: the rate that FFmpeg assumes too.
DEFAULT_FRAME_RATE = Fraction(25)
# MPEG program streams stamp some pictures only; FFmpeg counts on from them, and after a seek from a wrong guess.
CLOCKLESS_AFTER_SEEKING = frozenset({"mpeg"})

TimedFrame = tuple[float, VideoFrame]


class SeekError(Exception):
    """A file does not take us to a frame on a short way, or lies about where it is."""


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
        self.pixel_aspect = fraction(self.stream.sample_aspect_ratio)
        self._time_base = fraction(self.stream.time_base)
        self._start = clock_start(container)
        self._start_seconds = float(self._start)
        for other in container.streams:
            if other.index != self.stream.index:
                other.discard = Discard.all

    def seconds(self, packet: "Packet[Any]") -> float | None:
        """Give when a packet's picture begins to be shown, or None if its file does not tell."""
        if packet.pts is None or not packet.time_base:
            return None
        return float(packet.pts * packet.time_base) - self._start_seconds

    def seconds_of(self, ticks: int) -> float:
        """Give a time in the units of the track in seconds."""
        return float(ticks * self._time_base) - self._start_seconds

    def ticks(self, seconds: float) -> int:
        """Give a time in the units of the track, rounded down."""
        return int((Fraction(seconds) + self._start) // self._time_base)

    def seek(self, ticks: int) -> None:
        """Move to the key frame at or before a time in units of the track, as well as the container knows.

        Raises
        ------
        SeekError
            If the container cannot be sought, or not without losing the times.
        """
        if self.container.format.name in CLOCKLESS_AFTER_SEEKING:
            raise SeekError
        try:
            self.container.seek(ticks, stream=self.stream)
        except FFmpegError as error:
            raise SeekError from error

    def packets(self) -> "Iterator[Packet[Any]]":
        """Give the packets from here on, in the order of decoding."""
        return (packet for packet in packets_of(self.container, self.stream) if packet.size)

    def frames(self) -> Iterator[TimedFrame]:
        """Decode from here on, with times; frames without one follow at the average rate."""
        interval = float(1 / (self.stream.average_rate or DEFAULT_FRAME_RATE))
        seconds = -interval
        for frame in decode_video(self.container, self.stream):
            seconds = seconds + interval if frame.time is None else frame.time - self._start_seconds
            yield seconds, frame
