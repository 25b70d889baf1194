"""How far the pictures of a file go: to the end in its header, unless its packets go on or its clock jumps."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard

from soundnet_kd.media.container import MP4_FAMILY, clock_start, open_media, picture_track, read_packets, to_fraction

# MPEG transport and program streams: what FFmpeg says of their length is the time between the first and the last stamp
# that it meets there, and a file may be several recordings one behind the other, each with a clock of its own.
WITHOUT_INDEX = frozenset({"mpegts", "mpeg"})
# Where pictures are looked for that begin before the end that a header states.
MARGIN_SECONDS = 1.0
# Raw streams without times and without a rate: the rate that FFmpeg assumes too.
DEFAULT_FRAME_RATE = Fraction(25)
# The stamps of a track's packets go back by the few pictures that a coder reorders. A clock that goes back farther, or
# is ahead by more than sound may be missing (see `timeline`), is another one.
BACK_SECONDS = 1.0
AHEAD_SECONDS = 600.0


@dataclass(frozen=True)
class Extent:
    """How far a video goes.

    Attributes
    ----------
    end_seconds : float
        When the last picture before the first jump of the clock is over, counted from the start of the file.
    behind_seconds : float
        Length of what follows that jump; 0 where there is none.
    """

    end_seconds: float
    behind_seconds: float = 0.0


def has_no_index(container: InputContainer) -> bool:
    """Whether the length of a file and the course of its clock are known from its packets only."""
    return container.format.name in WITHOUT_INDEX


def measure_extent(path: str | Path) -> Extent:
    """Return how far a video goes.

    A header may be wrong, and of an MPEG stream there is only FFmpeg's estimate: where the pictures of a file go on
    beyond the stated end, they are followed to their own, or to where the clock jumps.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track.
    """
    path = Path(path)
    with open_media(path) as container:
        stated_seconds = _stated_seconds(container, path)
        if stated_seconds and container.format.name == MP4_FAMILY:
            return Extent(stated_seconds)
        if stated_seconds and not has_no_index(container) and _sought(container, path, stated_seconds):
            return _extent_by_packets(container, path, stated_seconds)
    status = path.stat()
    return _extent_from_start(path, stated_seconds, (status.st_mtime_ns, status.st_size))


def duration_seconds(path: str | Path) -> float:
    """Seconds from the start of a file until its last picture is over, or until its clock jumps (see `measure_extent`).

    Behind that, as in recordings that were joined byte by byte, no time of the file leads to the pictures of a sound.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track.
    """
    return measure_extent(path).end_seconds


def stated_seconds(path: str | Path) -> float:
    """Return the length of a video as its header has it, right or wrong, at little cost; 0 where it has none.

    Raises
    ------
    MediaError
        As `measure_extent`.
    """
    path = Path(path)
    with open_media(path) as container:
        return max(0.0, _stated_seconds(container, path))


def _stated_seconds(container: InputContainer, path: Path) -> float:
    """Return the length in the header, or FFmpeg's guess; 0 where there is neither."""
    stream = picture_track(container, path)
    if stream.duration:
        ticks = (stream.start_time or 0) + stream.duration
        return float(ticks * to_fraction(stream.time_base) - clock_start(container))
    return container.duration / 1e6 if container.duration else 0.0


def _sought(container: InputContainer, path: Path, stated_seconds: float) -> bool:
    """Whether the last pictures before the stated end could be sought."""
    stream = picture_track(container, path)
    seconds = max(0.0, stated_seconds - MARGIN_SECONDS) + float(clock_start(container))
    try:
        container.seek(int(seconds / to_fraction(stream.time_base)), stream=stream)
    except FFmpegError:
        return False
    return True


@lru_cache(maxsize=16)
def _extent_from_start(path: Path, stated_seconds: float, state: tuple[int, int]) -> Extent:
    """Read all packets: once, as long as the file stays as it is."""
    with open_media(path) as container:
        return _extent_by_packets(container, path, 0.0 if has_no_index(container) else stated_seconds)


def _extent_by_packets(container: InputContainer, path: Path, stated_seconds: float) -> Extent:
    """Follow sound and pictures from the present position to the end."""
    pictures = picture_track(container, path)
    sound = container.streams.best("audio")
    tracks = [pictures, sound] if isinstance(sound, AudioStream) else [pictures]
    clocks = {track.index: _Clock() for track in tracks}
    for track in container.streams:
        if track.index not in clocks:
            track.discard = Discard.all
    interval_seconds = float(1 / (pictures.average_rate or DEFAULT_FRAME_RATE))
    start = clock_start(container)
    counted = 0
    for packet in read_packets(container, *tracks):
        if not packet.size:
            continue
        counted += packet.stream.index == pictures.index
        ticks = packet.pts if packet.dts is None else packet.dts
        if ticks is None:
            continue
        time_base = to_fraction(packet.time_base)
        duration = float((packet.duration or 0) * time_base)
        seconds = float(ticks * time_base - start)
        later_seconds = 0.0 if packet.pts is None else float((packet.pts - ticks) * time_base)
        # The last picture before a jump may carry a stamp from behind it.
        shown_seconds = seconds + (later_seconds if 0 <= later_seconds <= BACK_SECONDS else 0.0)
        clocks[packet.stream.index].add(seconds, shown_seconds + duration)
    seen = clocks[pictures.index]
    jumping = [clock for clock in clocks.values() if clock.jumps]
    end_seconds = min(clock.end_of_first() for clock in (seen, *jumping))
    # Raw streams have no times: their pictures are shown one after the other.
    end_seconds = max(end_seconds or counted * interval_seconds, stated_seconds)
    return Extent(end_seconds, max(0.0, seen.seconds() - end_seconds) if jumping else 0.0)


class _Clock:
    """The clock of a track, from the stamps of its packets as they lie in the file."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []
        self._start = self._end = 0.0
        self._trusted: float | None = None
        self._doubtful: tuple[float, float] | None = None

    @property
    def jumps(self) -> bool:
        return bool(self._spans)

    def end_of_first(self) -> float:
        """Return when the last packet before the first jump is over."""
        return self._spans[0][1] if self._spans else self._end

    def seconds(self) -> float:
        """Return how long all stretches between jumps are together."""
        first, *others = [*self._spans, (self._start, self._end)]
        return first[1] + sum(end - start for start, end in others)

    def add(self, seconds: float, end_seconds: float) -> None:
        """Add the time at which a packet is decoded, and the time at which its content ends."""
        if self._trusted is None or abs(seconds - self._trusted) <= BACK_SECONDS:
            self._trust(seconds, end_seconds)
        elif self._doubtful is None or not -BACK_SECONDS <= seconds - self._doubtful[0] <= AHEAD_SECONDS:
            self._doubtful = seconds, end_seconds
        else:
            # The next one agrees: either much is missing or the clock is another one.
            if not 0 <= self._doubtful[0] - self._trusted <= AHEAD_SECONDS:
                self._spans.append((self._start, self._end))
                self._start = self._end = self._doubtful[0]
            self._trust(*self._doubtful)
            self._trust(seconds, end_seconds)

    def _trust(self, seconds: float, end_seconds: float) -> None:
        self._trusted, self._doubtful = seconds, None
        self._end = max(self._end, end_seconds)
