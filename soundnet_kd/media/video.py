"""Pictures of a video at given moments, exactly those that a player would show."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from soundnet_kd.media.container import clock_start, open_media, packets_of, picture_track
from soundnet_kd.media.player import Player, SeekError

# Beyond this the header is wrong: no camera or broadcaster makes such pixels.
ODDEST_PIXEL_ASPECT = 10


@dataclass(frozen=True, eq=False, repr=False)
class Frame:
    """A picture of a video.

    Parameters
    ----------
    image : (height, width, 3) uint8
        RGB, upright, with square pixels.
    time_seconds : float
        When the video begins to show it, counted from the start of the file; not the time that was asked for.
    """

    image: NDArray[np.uint8]
    time_seconds: float

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"image is {self.image.shape} {self.image.dtype}; it must be (height, width, 3) uint8")

    def __repr__(self) -> str:
        return f"Frame(image={self.image.shape} {self.image.dtype}, time_seconds={self.time_seconds:.3f})"


def read_frames(path: str | Path, times_seconds: Iterable[float]) -> list[Frame]:
    """Read the pictures that a video shows at given times.

    Parameters
    ----------
    path : str or Path
    times_seconds : iterable of float
        In any order, counted from the start of the file. Before the first picture the first one is given, after the
        last one the last that can be decoded.

    Returns
    -------
    list of Frame
        One for each time, in the order of the times.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track that can be decoded.
    """
    path = Path(path)
    times = [float(seconds) for seconds in times_seconds]
    with suppress(SeekError), open_media(path) as container:
        return _show(Player(container, path, can_seek=True), times)
    # A fresh start is the one place that every file can be decoded from.
    with open_media(path) as container:
        return _show(Player(container, path, can_seek=False), times)


def duration_seconds(path: str | Path) -> float:
    """Seconds from the start of a file until its last picture is over.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = picture_track(container, path)
        start = clock_start(container)
        time_base = stream.time_base or Fraction(1)
        if stream.duration:
            return float(((stream.start_time or 0) + stream.duration) * time_base - start)
        if container.duration:
            return container.duration / 1e6
        ends = [
            (packet.pts + (packet.duration or 0)) * time_base
            for packet in packets_of(container, stream)
            if packet.pts is not None
        ]
        return float(max(ends, default=start) - start)


def _show(player: Player, times: list[float]) -> list[Frame]:
    frames: dict[float, Frame] = {}
    last: Frame | None = None
    for seconds in sorted(set(times)):
        shown_seconds, picture = player.at(seconds)
        if last is None or last.time_seconds != shown_seconds:
            last = Frame(_upright_rgb(picture, player.pixel_aspect), shown_seconds)
        frames[seconds] = last
    return [frames[seconds] for seconds in times]


def _upright_rgb(picture: VideoFrame, pixel_aspect: Fraction) -> NDArray[np.uint8]:
    """Convert a picture as a player does before it shows it, (height, width, 3) with square pixels."""
    plausible = 1 / ODDEST_PIXEL_ASPECT <= pixel_aspect <= ODDEST_PIXEL_ASPECT
    width = max(1, round(picture.width * pixel_aspect)) if plausible else picture.width
    image = picture.reformat(width=width, height=picture.height, format="rgb24").to_ndarray()
    # FFmpeg's angle and numpy's quarter turns both go anticlockwise.
    return np.ascontiguousarray(np.rot90(image, round(picture.rotation / 90)), dtype=np.uint8)
