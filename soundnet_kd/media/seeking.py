"""Moving forward through a picture track to the frame that is shown at a time."""

from collections.abc import Iterator

from av.error import FFmpegError

from soundnet_kd.errors import MediaError
from soundnet_kd.media.picture_track import TIME_TOLERANCE_SECONDS, PictureTrack, SeekError, TimedFrame

# Some containers land after the time that was sought, by a few reordered frames or a coarse index: aim earlier then.
SEEK_MARGINS_SECONDS = (0.0, 2.0, 10.0)
# Without an index of key frames, seeking pays only over more than the usual distance between two of them, which is this
# until some have been seen.
BLIND_SEEK_SECONDS = 10.0
BLIND_SEEK_FROM_START_SECONDS = 1.0


class FrameSeeker:
    """A position in a picture track that moves forward, by decoding or by seeking, whichever is shorter.

    Parameters
    ----------
    track : PictureTrack
        Freshly opened.
    can_seek : bool
        False decodes every frame from the start.
    """

    def __init__(self, track: PictureTrack, *, can_seek: bool) -> None:
        self._track = track
        self._can_seek = can_seek
        track.stream.thread_type = "AUTO"
        self._frames: Iterator[TimedFrame] = iter(())
        self._shown: TimedFrame | None = None
        self._upcoming: TimedFrame | None = None
        self._last_key_seconds: float | None = None
        self._longest_interval = 0.0

    def frame_at(self, seconds: float) -> TimedFrame:
        """Return the frame shown at a time, and when it began to be shown; no earlier time can be asked afterwards.

        Raises
        ------
        MediaError
            If nothing in the track can be decoded.
        SeekError
            If the file cannot be sought, which `can_seek=False` avoids.
        """
        due = seconds + TIME_TOLERANCE_SECONDS
        if self._can_seek and self._seeking_pays(due):
            self._shown = self._seek(due)
        elif self._shown is None:
            self._shown = self._start()
        while self._upcoming is not None and self._upcoming.seconds <= due:
            self._shown = self._upcoming
            self._upcoming = next(self._frames, None)
            if self._shown.picture.key_frame:
                self._meet_key_frame(self._shown.seconds)
        return self._shown

    def _seeking_pays(self, seconds: float) -> bool:
        """Whether there is a key frame between the position and `seconds`, as far as the file shows."""
        index = self._track.stream.index_entries
        if self._shown is None:
            # From the start no seek leads back.
            position, worth_seconds = index[0].timestamp if len(index) else 0, BLIND_SEEK_FROM_START_SECONDS
        elif self._upcoming is None or seconds < self._upcoming.seconds:
            return False
        else:
            position = self._track.ticks(self._upcoming.seconds)
            worth_seconds = 2 * self._longest_interval if self._longest_interval else BLIND_SEEK_SECONDS
        if len(index) and index[-1].timestamp > position:
            key = index.search_timestamp(self._track.ticks(seconds))
            return key >= 0 and index[key].timestamp > position
        # No index, or one that FFmpeg fills only as it seeks or reads.
        return seconds - self._track.seconds_of(position) > worth_seconds

    def _meet_key_frame(self, seconds: float) -> None:
        if self._last_key_seconds is not None:
            self._longest_interval = max(self._longest_interval, seconds - self._last_key_seconds)
        self._last_key_seconds = seconds

    def _start(self) -> TimedFrame:
        self._frames = self._track.frames()
        first = next(self._frames, None)
        if first is None:
            raise MediaError(f"{self._track.path.name} has a picture track without a single picture")
        self._upcoming = next(self._frames, None)
        return first

    def _seek(self, seconds: float) -> TimedFrame:
        for margin in SEEK_MARGINS_SECONDS:
            try:
                self._track.seek(self._track.ticks(seconds - margin))
                frames = self._track.frames()
                # Decoders show broken pictures when they start between key frames.
                landed = next((timed for timed in frames if timed.picture.key_frame), None)
            except (FFmpegError, MediaError, SeekError):
                continue
            if landed is not None and landed.picture.pts is not None and landed.seconds <= seconds:
                self._frames, self._upcoming = frames, next(frames, None)
                self._last_key_seconds = landed.seconds
                return landed
        raise SeekError
