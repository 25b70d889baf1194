"""The sounds of a recipe, decoded once for all of its seeds and folds."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.data.manifest import Split
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VOICE_FILE, VoiceActivity, write_spans
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import RawAudioDecoder, RawAudioFile
from soundnet_kd.storage import FAILURES_FILE, write_failures
from soundnet_kd.training.decoded_sounds import decode_sounds


@dataclass(frozen=True, eq=False)
class DecodedSounds:
    """The decoded sounds of a data set.

    Attributes
    ----------
    sounds : mapping from id to RawAudioFile
        Of all clips that could be read.
    failures : mapping from id to str
        Why the others could not be used.
    """

    sounds: Mapping[str, RawAudioFile]
    failures: Mapping[str, str]

    def places(self, data: SplitSounds, fold: int, split: Split) -> NDArray[np.int64]:
        """Return the numbers of the clips of a split that could be read."""
        return np.array(
            [
                place
                for place, (clip, mine) in enumerate(zip(data.manifest.clips, data.splits[fold], strict=True))
                if mine == split and clip.id in self.sounds
            ],
            dtype=np.int64,
        )

    def of(self, data: SplitSounds, places: NDArray[np.int64]) -> list[RawAudioFile]:
        """Return the sounds of clips."""
        return [self.sounds[data.manifest.clips[place].id] for place in places.tolist()]

    def require_classes(self, data: SplitSounds, fold: int) -> None:
        """Check that there is something to learn from and something to be tested on.

        Raises
        ------
        SettingsError
            If a class, or a tag, has no sound to learn from, or all sounds have a tag, or nothing is tested.
        """
        require_learnable(data, fold, set(self.sounds))


def require_learnable(data: SplitSounds, fold: int, readable: Container[str] | None = None) -> None:
    """Check that there is something to learn from and something to be tested on.

    Parameters
    ----------
    data : SplitSounds
    fold : int
    readable : container of str, optional
        Ids of the clips that could be read. [default: all, for before any is]

    Raises
    ------
    SettingsError
        If a class, or a tag, has no sound to learn from, or all sounds have a tag, or nothing is tested.
    """
    targets = data.targets
    splits = [
        split if readable is None or clip.id in readable else None
        for clip, split in zip(data.manifest.clips, data.splits[fold], strict=True)
    ]
    learned, tested = (np.array([each == split for each in splits], dtype=np.bool_) for split in ("train", "test"))
    for number, name in enumerate(data.manifest.class_names):
        has = targets[learned, number]
        what = f"of {int(targets[:, number].sum())} clips of {name!r}"
        if not has.any():
            raise SettingsError(
                f"{what} none is left to learn from; add sounds, leave {name!r} out, or, where no table says which "
                "sounds are for training, take other seeds"
            )
        if data.tags and has.all():
            raise SettingsError(f"all tracks that are learned from have the tag {name!r}; leave it out")
    if not tested.any():
        raise SettingsError("no clip is left to be tested on; check the data set and the recipe's data")


def decoded_sounds(
    sets: Mapping[int, SplitSounds], store: RawAudioDecoder, folder: Path, out: Path, voice: VoiceActivity | None = None
) -> DecodedSounds:
    """Decode the sounds of the data sets of all seeds; what is done stays done.

    Parameters
    ----------
    sets : mapping from seed to SplitSounds
    store : RawAudioDecoder
    folder : Path
        For what is decoded.
    out : Path
        Folder of the run, for `failures.csv` and `voice.csv`.
    voice : VoiceActivity, optional
        What is cut off the sounds, and off parts of sounds.

    Raises
    ------
    MediaError
        If not a single sound could be read.
    """
    clips = {clip.id: clip for data in sets.values() for clip in data.manifest.clips}
    files = {str(clip.path): clip.path for clip in clips.values()}
    stored, unreadable = decode_sounds(Manifest(tuple(Clip(name, path) for name, path in files.items())), store, folder)
    rate = store.sample_rate
    assert rate is not None
    parts = {name: part for data in sets.values() for name, part in data.parts.items()}
    sounds: dict[str, RawAudioFile] = {}
    failures = {name: reason for data in sets.values() for name, reason in data.unusable.items()}
    for name, clip in clips.items():
        if str(clip.path) in unreadable:
            failures[name] = unreadable[str(clip.path)]
            continue
        sound = stored[str(clip.path)]
        if name in parts:
            part = parts[name]
            sound = RawAudioFile(sound.file, round(part.start_seconds * rate), round(part.seconds * rate))
        if len(sound):
            sounds[name] = sound
        else:
            failures[name] = "the sound ends before its part begins"
    write_failures(out / FAILURES_FILE, failures)
    if not sounds:
        raise MediaError(
            f"none of the {len(clips)} sounds could be read, such as: {next(iter(failures.values()))} "
            f"(see {out / FAILURES_FILE})"
        )
    return DecodedSounds(sounds if voice is None else _cut(sounds, voice, rate, out), failures)


def _cut(sounds: Mapping[str, RawAudioFile], voice: VoiceActivity, rate: int, out: Path) -> dict[str, RawAudioFile]:
    """Cut sounds to their voice; write what is kept of each."""
    spans = {name: voice.span(sound.read(), rate) for name, sound in tqdm(sounds.items(), desc="voice", unit="sound")}
    write_spans(out / VOICE_FILE, spans, rate)
    return {
        name: sound if span is None else RawAudioFile(sound.file, sound.first + span[0], span[1] - span[0])
        for (name, sound), span in zip(sounds.items(), spans.values(), strict=True)
    }


def merged_identity(sets: Mapping[int, SplitSounds]) -> dict[str, Any]:
    """Tell the sounds of all seeds from others."""
    identities = {seed: data.identity for seed, data in sets.items()}
    first, *others = identities.values()
    if all(other == first for other in others):
        return first
    return {str(seed): identity for seed, identity in identities.items()}
