"""Videos made of real sounds and real pictures: an ESC-50 clip is heard while a picture of its class is seen."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from soundnet_kd.data import read_manifest
from soundnet_kd.media import read_audio, write_video
from soundnet_kd.storage import ensure_same_settings

SIDE = 288
FRAMES_PER_SECOND = 2
SMALLEST_CROP = 0.6
"""Of the picture's shorter side."""
TESTED_FOLD = 5
"""No student hears it."""
HEARD, UNHEARD = "heard", "unheard"
"""Folders of the videos of the folds that students hear, and of the tested fold."""


@dataclass(frozen=True)
class Source:
    """A sound with the pictures that go with it.

    Attributes
    ----------
    name : str
        Of the clip, without suffix.
    sound : Path
    fold : int
    pictures : tuple of Path
        All of its class.
    """

    name: str
    sound: Path
    fold: int
    pictures: tuple[Path, ...]


def sources(data: Path) -> list[Source]:
    """Return the clips of ESC-50 whose class has pictures, in the order of its table."""
    pictures = pictures_of(data)
    manifest = read_manifest(data / "esc50")
    return [
        Source(clip.path.stem, Path(str(clip.path)), clip.fold, pictures[manifest.class_names[clip.label]])
        for clip in manifest.clips
        if manifest.class_names[clip.label] in pictures
    ]


def pictures_of(data: Path) -> dict[str, tuple[Path, ...]]:
    """Return the pictures of each class of ESC-50 that has some."""
    found: dict[str, list[Path]] = {}
    with (data / "pictures" / "pictures.csv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            found.setdefault(row["esc50_class"], []).append(data / "pictures" / row["file"])
    return {name: tuple(sorted(files)) for name, files in found.items()}


def make_videos(data: Path, folder: Path, seed: int, variants: int) -> None:
    """Make the videos that are not there yet.

    Each shows one picture of the class: which one, the way of the crop over it, its size and whether it is mirrored
    are drawn from the seed and the video's name, so that a video does not depend on those before it.

    Parameters
    ----------
    data : Path
        Folder with `esc50` and `pictures`.
    folder : Path
        Gets `HEARD` and `UNHEARD`, the videos of folds 1 to 4 and of fold 5.
    seed : int
    variants : int
        Videos of each clip of folds 1 to 4, which differ in what is seen; of fold 5 there is one of each.
    """
    ensure_same_settings(folder / "videos.json", {"seed": seed, "variants": variants})
    planned = [
        (source, folder / kind / f"{source.name}-{variant}.mp4")
        for source in sources(data)
        for kind, count in [(UNHEARD, 1) if source.fold == TESTED_FOLD else (HEARD, variants)]
        for variant in range(count)
    ]
    for source, path in tqdm(planned, desc="videos", unit="video"):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_video(source, path, seed)


def _make_video(source: Source, path: Path, seed: int) -> None:
    waveform, sample_rate = read_audio(source.sound)
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(path.stem.encode()).digest()[:8])])
    with Image.open(source.pictures[rng.integers(len(source.pictures))]) as picture:
        frames = list(pan(picture.convert("RGB"), round(FRAMES_PER_SECOND * len(waveform) / sample_rate), rng))
    write_video(
        path,
        frames,
        FRAMES_PER_SECOND,
        waveform,
        sample_rate,
        audio_codec="flac",
        # Each frame can be read without another one.
        video_options={"g": "1"},
    )


def pan(picture: Image.Image, frames: int, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames, (288, 288, 3), of a crop that goes over a picture in a straight line and grows or shrinks."""
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # First and last of all: side, left and top of the crop.
    sides = rng.uniform(SMALLEST_CROP, 1, 2) * min(picture.size)
    corners = rng.random((2, 2)) * (np.array(picture.size) - sides[:, None])
    for share in np.linspace(0, 1, frames):
        side = (1 - share) * sides[0] + share * sides[1]
        left, top = (1 - share) * corners[0] + share * corners[1]
        box = (left, top, min(left + side, picture.width), min(top + side, picture.height))
        yield np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box))
