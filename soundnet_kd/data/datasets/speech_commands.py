"""Speech Commands (Warden, arXiv 1804.03209): spoken words of a second, in the layout in which it is published."""

import hashlib
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.data.manifest import Clip, Manifest, Split
from soundnet_kd.data.sources.csv_files import read_text
from soundnet_kd.data.splits import WITHOUT_FOLDS, FileSegment, SplitSounds
from soundnet_kd.errors import MediaError, SettingsError, nearest
from soundnet_kd.media import find_media, stream_audio
from soundnet_kd.storage import escape_name

log = logging.getLogger(__name__)

NOISE_FOLDER = "_background_noise_"
UNKNOWN, SILENCE = "unknown", "silence"
LISTS: Mapping[str, Split] = {"validation_list.txt": "validation", "testing_list.txt": "test"}
RATE = 16_000
"""Sample rate of the data set, in Hz."""
HELD_OUT_PERCENT = 10.0
"""Per cent of the speakers for validation, and as many for the test, where there are no lists."""
MAX_CLIPS_PER_WORD = 2**27 - 1
"""The number in the published rule."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
NOISE_SHARES: Mapping[Split, tuple[float, float]] = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
"""The range of every noise recording that each split draws its seconds from, so that no two splits share any."""


@dataclass(frozen=True)
class SpeechCommands:
    """A folder with a sub-folder for each word, and _background_noise_.

    Attributes
    ----------
    words : tuple of str
        Each is a class of its own; all other words are "unknown".
    unknown_share : float
        How many clips of other words are drawn, for each clip of these; 0.1 in the published benchmark.
    silence_share : float
        How many random seconds of the noise recordings are "silence", for each clip of these; 0.1 in the benchmark.
    """

    words: tuple[str, ...] = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
    unknown_share: float = 0.1
    silence_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("unknown_share", "silence_share"):
            if not getattr(self, name) >= 0:
                raise SettingsError(
                    f"data.speech_commands.{name} is {getattr(self, name)}; it has to be at least 0, which is none"
                )

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Find the clips.

        The speakers of validation and test are those of validation_list.txt and testing_list.txt where they are, or
        else those that the published hash of their names chooses, which is the same. No speaker is in two splits.

        Raises
        ------
        SettingsError
            If there is no such folder, a word has none, or there is no noise to take "silence" from.
        """
        place = Path(place)
        if not place.is_dir():
            raise SettingsError(f"{place} is no folder; give one with a sub-folder for each word")
        folders = sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith((".", "_")))
        for word in self.words:
            if word not in folders:
                raise SettingsError(f"{place} has no folder of the word {word!r}{nearest(word, folders)}")
        others = [word for word in folders if word not in self.words] if self.unknown_share else []
        files = [file for word in (*self.words, *others) for file in _sounds(place / word)]
        split_of = _splits_of_speakers(place, files)
        rng = np.random.default_rng(seed)
        names = (*self.words, *([UNKNOWN] if others else []), *([SILENCE] if self.silence_share else []))
        chosen: list[tuple[Clip, Split]] = []
        segments: dict[str, FileSegment] = {}
        noises = self._noises(place)
        for split in SPLITS:
            mine = [file for file in files if split_of[_speaker(file)] == split]
            wanted = [file for file in mine if file.parent.name in self.words]
            rest = [file for file in mine if file.parent.name not in self.words]
            count = min(len(rest), math.ceil(self.unknown_share * len(wanted)))
            drawn = [rest[place] for place in sorted(rng.permutation(len(rest))[:count].tolist())]
            chosen += [(_clip(file, place, names, split), split) for file in (*wanted, *drawn)]
            for number in range(math.ceil(self.silence_share * len(wanted))):
                clip, segment = _second(noises, split, number, names.index(SILENCE), place, rng)
                chosen.append((clip, split))
                segments[clip.id] = segment
        clips = tuple(clip for clip, _ in chosen)
        return SplitSounds(
            Manifest(clips, names, ("speaker", "split")),
            {WITHOUT_FOLDS: [split for _, split in chosen]},
            segments=segments,
        )

    def _noises(self, place: Path) -> dict[Path, float]:
        """Return the noise recordings that can be read, with their lengths in seconds."""
        if not self.silence_share:
            return {}
        cure = 'it is needed for "silence"; --set data.speech_commands.silence_share=0 does without'
        noises: dict[Path, float] = {}
        for file in _sounds(place / NOISE_FOLDER):
            try:
                noises[file] = sum(map(len, stream_audio(file, RATE))) / RATE
            except MediaError as error:
                log.warning("%s is left out: %s", file, error)
        # A tenth of a recording has to hold a second.
        noises = {file: seconds for file, seconds in noises.items() if seconds >= 10.0}
        if not noises:
            raise SettingsError(f"{place / NOISE_FOLDER} holds no recording of ten seconds; {cure}")
        return noises


def split_by_hash(speaker: str) -> Split:
    """Return the split that the published rule puts a speaker into (`which_set` in the data set's README)."""
    digest = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = digest % (MAX_CLIPS_PER_WORD + 1) * (100.0 / MAX_CLIPS_PER_WORD)
    if percent < HELD_OUT_PERCENT:
        return "validation"
    return "test" if percent < 2 * HELD_OUT_PERCENT else "train"


def read_split_lists(folder: str | Path) -> dict[str, Split]:
    """Return the splits that the lists of a folder name, by the paths of its sounds; empty where there are no lists.

    Raises
    ------
    FormatError
        If a list is no text.
    """
    files = {Path(folder) / name: split for name, split in LISTS.items()}
    lists = {file: split for file, split in files.items() if file.is_file()}
    return {line.strip(): split for file, split in lists.items() for line in read_text(file).splitlines()}


def _splits_of_speakers(place: Path, files: list[Path]) -> dict[str, Split]:
    listed = read_split_lists(place)
    if not listed:
        return {_speaker(file): split_by_hash(_speaker(file)) for file in files}
    sides: dict[str, set[Split]] = {}
    for file in files:
        sides.setdefault(_speaker(file), set()).add(listed.get(f"{file.parent.name}/{file.name}", "train"))
    parted = sum(len(each) > 1 for each in sides.values())
    if parted:
        log.warning(
            "The lists of %s put %d speakers on two sides; all clips of these are taken for the test or validation.",
            place,
            parted,
        )
    # What is held out once is not learned from.
    return {speaker: max(each, key=SPLITS.index) for speaker, each in sides.items()}


def _speaker(file: Path) -> str:
    return re.sub(r"_nohash_.*$", "", file.stem)


def _sounds(folder: Path) -> list[Path]:
    try:
        return find_media(folder)
    except MediaError:
        return []


def _clip(file: Path, place: Path, names: tuple[str, ...], split: Split) -> Clip:
    word = file.parent.name
    label = names.index(word if word in names else UNKNOWN)
    return Clip(escape_name(file.relative_to(place).as_posix()), file, label, carried=(_speaker(file), split))


def _second(
    noises: Mapping[Path, float],
    split: Split,
    number: int,
    label: int,
    place: Path,
    rng: np.random.Generator,
) -> tuple[Clip, FileSegment]:
    """Draw a second from the range of a noise recording that belongs to a split."""
    file = list(noises)[int(rng.integers(len(noises)))]
    first, last = (edge * noises[file] for edge in NOISE_SHARES[split])
    start = round(float(rng.uniform(first, last - 1.0)), 4)
    # Another seed draws another second under the same number; each is a clip of its own.
    name = f"{escape_name(file.relative_to(place).as_posix())}#{split}-{number}@{start}"
    clip = Clip(name, file, label, carried=("", split))
    return clip, FileSegment(start, 1.0)
