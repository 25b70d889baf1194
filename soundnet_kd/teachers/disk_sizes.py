"""How much room targets take on a disk, told before they are made."""

from collections.abc import Mapping, Sequence

from soundnet_kd.data import CLIP_SECONDS
from soundnet_kd.errors import MediaError
from soundnet_kd.media import MediaSource, StoredMedia, address_of, local_file, stated_seconds

OPENED = 32
"""How many of the videos are opened for the lengths in their headers, which stand for those of all."""
MAX_COPIED_BYTES = 2**28
"""Headers are read from copies of what lies in tars."""
HALF_BYTES, FACTOR_BYTES, SAMPLE_BYTES = 2, 4, 2
"""Of a number of a distribution or feature, of the factor of a feature, and of a sample of sound."""


def megabytes_per_hour(
    sample_rate: int,
    step_seconds: float,
    classes: Mapping[str, int],
    features: Mapping[str, int],
    kept_frames: int = 0,
) -> dict[str, float]:
    """Return the MB that an hour of videos takes, by what takes them.

    Parameters
    ----------
    sample_rate : int
        Of the sound, in Hz.
    step_seconds : float
    classes, features : mapping from teacher to int
        How many numbers its distributions and its features have.
    kept_frames : int
        Frames of a step that are kept one by one, beside their mean.
    """
    rows = 3600 / step_seconds * (1 + kept_frames) / 1e6
    sizes = {"sound": 3600 * sample_rate * SAMPLE_BYTES / 1e6}
    sizes |= {f"distributions of {name}": rows * count * HALF_BYTES for name, count in classes.items()}
    sizes |= {f"features of {name}": rows * (count * HALF_BYTES + FACTOR_BYTES) for name, count in features.items()}
    return sizes


def estimate_hours(videos: Sequence[MediaSource], clips_per_video: int | None = None) -> float:
    """Return how long videos are together, by the headers of some of them that lie evenly among them.

    Where these would first have to be fetched from another machine, or much be copied out of tars, nobody knows: 0.
    """
    step = -(-len(videos) // OPENED) or 1
    stored = [video for video in videos[::step] if isinstance(video, StoredMedia)]
    if any(address_of(each.container) for each in stored) or sum(each.size for each in stored) > MAX_COPIED_BYTES:
        return 0.0
    lengths = []
    for video in videos[::step]:
        try:
            with local_file(video) as file:
                lengths.append(stated_seconds(file))
        except MediaError:
            lengths.append(0.0)
    longest = float("inf") if clips_per_video is None else clips_per_video * CLIP_SECONDS
    total = sum(min(seconds, longest) for seconds in lengths)
    return total / max(1, len(lengths)) * len(videos) / 3600


def describe_sizes(sizes: Mapping[str, float], videos: int, hours: float, decoded: float = 0.0) -> str:
    """Say how much an hour of videos takes, and all of them; without an idea of their length, not the latter.

    Parameters
    ----------
    sizes : mapping from what to MB
        Of an hour.
    videos : int
    hours : float
        How long they are together; 0 where nobody knows.
    decoded : float
        MB that the frames of an hour of one video take until they have been looked at; 0 to say nothing of them.
    """
    parts = ", ".join(f"{what} {_in_three_digits(size)}" for what, size in sizes.items())
    told = f"an hour of video takes {_in_three_digits(sum(sizes.values()))} MB on disk ({parts})"
    if hours > 0:
        whole = _in_three_digits(sum(sizes.values()) * hours)
        long = f"{_in_three_digits(hours)} hours" if hours >= 1 else f"{_in_three_digits(hours * 60)} minutes"
        which = "video to label is" if videos == 1 else f"{videos} videos to label are"
        told += f"; the {which} about {long}, {whole} MB"
    if decoded:
        told += f"; while it runs, an hour of decoded frames takes {_in_three_digits(decoded)} MB"
    return told


def _in_three_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
