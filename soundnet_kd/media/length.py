"""How long the pictures of a file go on: what its header says, unless the pictures themselves go on for longer."""

from pathlib import Path

from av.container import InputContainer

from soundnet_kd.media.container import clock_start, fraction, open_media, picture_track
from soundnet_kd.media.track import DEFAULT_FRAME_RATE, PictureTrack, SeekError

# Their index names every picture, so that their length is no guess.
INDEXED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})
# Where a picture is looked for that begins before the end that the header states.
MARGIN_SECONDS = 1.0


def duration_seconds(path: str | Path) -> float:
    """Seconds from the start of a file until its last picture is over.

    A header may be wrong, and that of an MPEG program stream is FFmpeg's estimate: where the pictures of a file go on
    beyond the stated end, they are followed to their own.

    Raises
    ------
    MediaError
        If the file is missing, is not a media file, or has no picture track.
    """
    path = Path(path)
    with open_media(path) as container:
        stated = _stated_seconds(container, path)
        if stated and container.format.name in INDEXED:
            return stated
    if stated:
        try:
            return max(stated, _last_end(path, stated - MARGIN_SECONDS))
        except SeekError:
            pass
    return max(stated, _last_end(path, None))


def _stated_seconds(container: InputContainer, path: Path) -> float:
    """Give what the header says, or FFmpeg guesses; 0 for nothing."""
    stream = picture_track(container, path)
    if stream.duration:
        ticks = (stream.start_time or 0) + stream.duration
        return float(ticks * fraction(stream.time_base) - clock_start(container))
    return container.duration / 1e6 if container.duration else 0.0


def _last_end(path: Path, from_seconds: float | None) -> float:
    """Read the picture track, from a time or from its start on, without decoding it, and give when it ends.

    Raises
    ------
    SeekError
        If the file cannot be sought.
    """
    with open_media(path) as container:
        track = PictureTrack(container, path, threads=1)
        if from_seconds is not None:
            track.seek(track.ticks(max(0.0, from_seconds)))
        interval = float(1 / (track.stream.average_rate or DEFAULT_FRAME_RATE))
        last = 0.0
        pictures = 0
        for packet in track.packets():
            pictures += 1
            begin = track.seconds(packet)
            if begin is not None:
                last = max(last, begin + float((packet.duration or 0) * fraction(packet.time_base)))
    # Raw streams have no times: their pictures are shown one after the other.
    return last if last or from_seconds is not None else pictures * interval
