"""Pictures of a video at given moments: exactly those that a player would show, or the key frames beside them."""

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from soundnet_kd.errors import MediaError
from soundnet_kd.media.container import media_errors, open_media
from soundnet_kd.media.keyframes import KeyFrameSeeker, KeyFrameWalker
from soundnet_kd.media.picture_track import PictureTrack, SeekError, TimedFrame
from soundnet_kd.media.seeking import FrameSeeker

Sampling = Literal["exact", "keyframe"]
"""Which picture stands for a time: the one that is shown then, or the key frame nearest to it."""

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


class _Finder(Protocol):
    """Whatever finds the picture for a time, asked in ascending order."""

    def frame_at(self, seconds: float) -> TimedFrame: ...


# Ways to the pictures, the shortest first. A file that the first does not lead through is opened afresh for the next.
_EXACT: list[Callable[[PictureTrack], _Finder]] = [
    partial(FrameSeeker, can_seek=True),
    partial(FrameSeeker, can_seek=False),
]
_WAYS: dict[Sampling, list[Callable[[PictureTrack], _Finder]]] = {
    "exact": _EXACT,
    "keyframe": [
        KeyFrameSeeker,
        partial(KeyFrameWalker, decode_all=False),
        partial(KeyFrameWalker, decode_all=True),
        *_EXACT,
    ],
}


class Video:
    """A video that is open for its pictures, so that many can be asked for, a few at a time.

    Parameters
    ----------
    path : str or Path
    sampling : {"exact", "keyframe"}
        "exact" gives the picture that is shown at a time. "keyframe" gives the key frame whose time is nearest, of two
        the earlier one, which is many times faster and as true to the scene: encoders set a key frame where it changes.
        A key frame that cannot be decoded is passed over; a video without any is read as "exact".
    threads : int
        Threads of the decoder; 0 is one for each core. Give 1 where several processes decode side by side.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track that can be decoded.
    ValueError
        If `sampling` or `threads` is none of those.
    """

    def __init__(self, path: str | Path, sampling: Sampling = "exact", *, threads: int = 0) -> None:
        if sampling not in _WAYS:
            raise ValueError(f'sampling is {sampling!r}; it must be "exact" or "keyframe"')
        if threads < 0:
            raise ValueError(f"threads is {threads}; it must be 0 (one for each core) or more")
        self.path = Path(path)
        self._sampling = sampling
        self._threads = threads
        self._file = ExitStack()
        self._finder: _Finder
        self._last: Frame | None
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def frames(self, times_seconds: Iterable[float]) -> list[Frame]:
        """Read the pictures that are shown at given times, or near them.

        Parameters
        ----------
        times_seconds : iterable of float
            In any order, counted from the start of the file. Before the first picture the first one is given, after
            the last one the last that can be decoded. Times later than those of the calls before cost least.

        Returns
        -------
        list of Frame
            One for each time, in the order of the times.

        Raises
        ------
        MediaError
            If the picture track cannot be decoded.
        """
        times = [float(seconds) for seconds in times_seconds]
        ascending = sorted(set(times))
        with media_errors(self.path):
            if ascending and ascending[0] < self._asked_seconds:
                self._begin()
            while True:
                try:
                    shown = {seconds: self._frame_at(seconds) for seconds in ascending}
                except SeekError:
                    self._take_next_way()
                else:
                    return [shown[seconds] for seconds in times]

    def _frame_at(self, seconds: float) -> Frame:
        shown = self._finder.frame_at(seconds)
        if self._last is None or self._last.time_seconds != shown.seconds:
            self._last = Frame(_upright_rgb(shown, self.path), shown.seconds)
        self._asked_seconds = seconds
        return self._last

    def _begin(self) -> None:
        self._ways = iter(_WAYS[self._sampling])
        self._take_next_way()

    def _take_next_way(self) -> None:
        """Open the file afresh for the next way: its start is the one place that every file can be decoded from."""
        self._asked_seconds = -math.inf
        self._last = None
        for way in self._ways:
            self._file.close()
            track = PictureTrack(self._file.enter_context(open_media(self.path)), self.path, self._threads)
            with suppress(SeekError):
                self._finder = way(track)
                return
        raise AssertionError("the last way needs no seeking")


def read_frames(
    path: str | Path, times_seconds: Iterable[float], sampling: Sampling = "exact", *, threads: int = 0
) -> list[Frame]:
    """Read the pictures that a video shows at given times, or near them: what `Video` does, for a single call.

    Parameters
    ----------
    path : str or Path
    times_seconds : iterable of float
    sampling : {"exact", "keyframe"}
    threads : int

    Returns
    -------
    list of Frame
        One for each time, in the order of the times.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track that can be decoded.
    ValueError
        If `sampling` or `threads` is none of those.
    """
    with Video(path, sampling, threads=threads) as video:
        return video.frames(times_seconds)


def _upright_rgb(shown: TimedFrame, path: Path) -> NDArray[np.uint8]:
    """Convert a picture as a player does before it shows it, (height, width, 3) with square pixels."""
    picture, aspect = shown.picture, shown.pixel_aspect
    plausible = 1 / ODDEST_PIXEL_ASPECT <= aspect <= ODDEST_PIXEL_ASPECT
    width = max(1, round(picture.width * aspect)) if plausible else picture.width
    try:
        # To start threads for it takes several times longer than to do it.
        image = picture.reformat(width=width, height=picture.height, format="rgb24", threads=1).to_ndarray()
    except FFmpegError as error:
        raise MediaError(
            f"{path.name} has pictures whose colours FFmpeg cannot bring to RGB ({picture.format.name}, colour matrix "
            f"{int(picture.colorspace)}: {error.strerror}); convert it"
        ) from error
    if shown.display_matrix is not None:
        image = _laid(image, shown.display_matrix)
    return np.ascontiguousarray(image, dtype=np.uint8)


def _laid(image: NDArray[Any], display_matrix: NDArray[np.int32]) -> NDArray[Any]:
    """Turn and mirror a picture, to the nearest quarter turn; a `VideoFrame.rotation` would not tell the mirror."""
    (a, b), (c, d) = display_matrix[:2, :2].astype(float)
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
