"""The key frame nearest to a time, by decoding key frames only."""

from collections.abc import Iterator
from typing import Any

from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from soundnet_kd.errors import MediaError
from soundnet_kd.media.picture_track import TIME_TOLERANCE_SECONDS, PictureTrack, SeekError, TimedFrame

# Some containers land after the time that was sought, and the key frame there may be broken: aim earlier then.
SEEK_MARGINS_SECONDS = (0.0, 2.0, 10.0, 60.0)

Key = tuple[float, "Packet[Any]"]


class KeyFrameSeeker:
    """Key frames that are found by seeking and decoded each by itself.

    Parameters
    ----------
    track : PictureTrack
        Freshly opened.

    Raises
    ------
    SeekError
        If no packet is said to hold a key frame.
    """

    def __init__(self, track: PictureTrack) -> None:
        self._track = track
        # A single picture gains nothing from pictures that are decoded side by side.
        track.stream.thread_type = "SLICE"
        self._broken: set[int] = set()
        self._shown: TimedFrame | None = None
        packet = next((packet for packet in track.packets() if packet.is_keyframe), None)
        if packet is None:
            raise SeekError
        self._first = self._key(packet)

    def frame_at(self, seconds: float) -> TimedFrame:
        """Return the key frame nearest to a time, of two the earlier one, and when it begins to be shown.

        Raises
        ------
        SeekError
            If the file does not lead to its key frames, or to others than it says.
        """
        while True:
            key_seconds, packet = self._nearest(seconds)
            if self._shown is None or self._shown.seconds != key_seconds:
                picture = self._decode(packet)
                if picture is None:
                    self._broken.add(packet.pts or 0)
                    continue
                self._shown = self._track.timed(key_seconds, picture)
            return self._shown

    def _nearest(self, seconds: float) -> Key:
        due = seconds + TIME_TOLERANCE_SECONDS
        if due < self._first[0] and not self._broken:
            return self._first
        for margin in SEEK_MARGINS_SECONDS:
            before, after = self._around(due, margin)
            if before is not None:
                return after if after is not None and is_nearer(after[0], before[0], seconds) else before
        raise SeekError

    def _around(self, due: float, margin: float) -> tuple[Key | None, Key | None]:
        """Return the last key packet until a time and the next one after it, which is None if it is farther away."""
        self._track.seek(self._track.ticks(due - margin))
        packets = self._track.packets()
        before: Key | None = None
        reached: int | None = None
        while (packet := next(packets, None)) is not None:
            if packet.dts is None or (reached is not None and packet.dts <= reached):
                continue
            # Pictures are shown when they are decoded or later.
            if before is not None and self._track.seconds_of(packet.dts) - due > due - before[0]:
                break
            if not packet.is_keyframe:
                continue
            reached = packet.dts
            if packet.pts not in self._broken:
                key = self._key(packet)
                if key[0] > due:
                    return before, key
                before = key
            if self._index_is_complete():
                index = self._track.stream.index_entries
                following = index.search_timestamp(reached + 1, backward=False)
                if following < 0:
                    break
                next_ticks = index[following].timestamp
                if before is not None and self._track.seconds_of(next_ticks) - due > due - before[0]:
                    break
                self._track.seek(next_ticks)
                packets = self._track.packets()
        return before, None

    def _index_is_complete(self) -> bool:
        # Other indices hold some of the key frames, or only what was read so far.
        return 0 < self._track.stream.frames <= len(self._track.stream.index_entries)

    def _key(self, packet: "Packet[Any]") -> Key:
        seconds = self._track.seconds(packet)
        if seconds is None:
            raise SeekError
        return seconds, packet

    def _decode(self, packet: "Packet[Any]") -> VideoFrame | None:
        """Decode a key packet without its neighbours, or give None if it is broken."""
        stream = self._track.stream
        stream.codec_context.flush_buffers()
        try:
            frames = [*packet.decode(), *stream.decode(None)]
        except FFmpegError:
            return None
        if not frames:
            return None
        picture = next((frame for frame in frames if frame.key_frame), None)
        if picture is None or picture.pts != packet.pts or picture.is_corrupt:
            raise SeekError
        # The second field may lie in the next packet.
        return self._decode_onwards(packet) if picture.interlaced_frame else picture

    def _decode_onwards(self, packet: "Packet[Any]") -> VideoFrame:
        self._track.seek(packet.dts or 0)
        for timed in self._track.frames():
            if timed.picture.key_frame and timed.picture.pts == packet.pts:
                return timed.picture
        raise SeekError


class KeyFrameWalker:
    """Key frames that are found by reading from the start of a file, for files that cannot be sought.

    Parameters
    ----------
    track : PictureTrack
        Freshly opened.
    decode_all : bool
        Decode the other pictures too: they lead to the times of a file that has none, and to pictures of two fields.

    Raises
    ------
    SeekError
        If there is no key frame that can be decoded, or `decode_all` is needed.
    """

    def __init__(self, track: PictureTrack, *, decode_all: bool) -> None:
        track.stream.thread_type = "AUTO" if decode_all else "SLICE"
        if not decode_all:
            track.stream.codec_context.skip_frame = "NONKEY"
        self._keys = _key_frames(track, decode_all)
        before = next(self._keys, None)
        if before is None:
            raise SeekError
        self._before: TimedFrame = before
        self._after = next(self._keys, None)

    def frame_at(self, seconds: float) -> TimedFrame:
        """Return the key frame nearest to a time; no earlier time can be asked afterwards."""
        while self._after is not None and self._after.seconds <= seconds + TIME_TOLERANCE_SECONDS:
            self._before, self._after = self._after, next(self._keys, None)
        if self._after is not None and is_nearer(self._after.seconds, self._before.seconds, seconds):
            return self._after
        return self._before


def is_nearer(after: float, before: float, seconds: float) -> bool:
    """Whether the later of two times is clearly nearer to `seconds`."""
    return abs(after - seconds) + TIME_TOLERANCE_SECONDS < abs(before - seconds)


def _key_frames(track: PictureTrack, decode_all: bool) -> Iterator[TimedFrame]:
    try:
        for timed in track.frames():
            frame = timed.picture
            if not frame.key_frame:
                continue
            if not decode_all and (frame.pts is None or frame.interlaced_frame or frame.is_corrupt):
                raise SeekError
            yield timed
    except MediaError as error:
        raise SeekError from error
