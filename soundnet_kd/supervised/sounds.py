"""The sounds of an experiment: decoded once for all of its seeds and folds, and selected for each."""

import hashlib
import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.data.manifest import Split
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.data.voice_activity import VOICE_FILE, VoiceActivity, write_spans
from soundnet_kd.errors import MediaError, SettingsError, none_readable
from soundnet_kd.media import DECODED_FOLDER, RawAudioDecoder, RawAudioFile, decode_in_processes
from soundnet_kd.models.preprocessing import ClipPreprocessing, Preprocessing
from soundnet_kd.storage import FAILURES_FILE, read_own_json, write_failures, write_json
from soundnet_kd.system.workers import sound_decoders
from soundnet_kd.training.segments import LabelledSounds

SAMPLE_BYTES = 4
FAILURES = "failures.json"
"""Name of the file, among the decoded sounds, of those that could not be read."""


def clips_for(data: SplitSounds, fold: int | None, split: Split) -> list[int]:
    """Return the places in the manifest of the clips of a split.

    Parameters
    ----------
    data : SplitSounds
    fold : int or None
        The one that is tested. With None none is: what the first one tests is learned from, too.
    split : {"train", "validation", "test"}
    """
    splits = next(iter(data.splits.values())) if fold is None else data.splits[fold]
    if fold is None:
        splits = ["train" if each == "test" else each for each in splits]
    return [place for place, each in enumerate(splits) if each == split]


def select_sounds(
    data: SplitSounds,
    fold: int | None,
    split: Split,
    sounds: Mapping[str, RawAudioFile],
    outputs: Sequence[int],
    preprocessing: Preprocessing,
    samples: int,
) -> tuple[tuple[str, ...], LabelledSounds]:
    """Select the sounds of a split, as far as they could be read.

    Parameters
    ----------
    data : SplitSounds
    fold, split
        As in `clips_for`.
    sounds : mapping from id to RawAudioFile
        All that could be read.
    outputs : sequence of int
        The classes that there are outputs for.
    preprocessing : Preprocessing
        Of the network.
    samples : int
        Length of the pieces that it learns from.

    Returns
    -------
    ids : tuple of str
    sounds : LabelledSounds
    """
    clips = data.manifest.clips
    places = [place for place in clips_for(data, fold, split) if clips[place].id in sounds]
    standardise = isinstance(preprocessing, ClipPreprocessing) and preprocessing.standardise
    targets = np.ascontiguousarray(data.targets[places][:, list(outputs)])
    ids = tuple(clips[place].id for place in places)
    selected = [sounds[name] for name in ids]
    return ids, LabelledSounds(selected, targets, preprocessing.sample_rate, samples, standardise)


def require_clips(data: SplitSounds, fold: int, readable: Container[str] | None = None, learns: bool = True) -> None:
    """Check that there is something to learn from and something to be tested on.

    Parameters
    ----------
    data : SplitSounds
    fold : int
    readable : container of str, optional
        Ids of the clips that could be read. [default: all, for before any is]
    learns : bool
        Whether anything is learned; else only the test is checked.

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
    for number, name in enumerate(data.manifest.class_names if learns else ()):
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


def decode_sounds(
    manifest: Manifest, store: RawAudioDecoder, folder: Path
) -> tuple[Mapping[str, RawAudioFile], Mapping[str, str]]:
    """Decode the sounds of a data set into a folder, where they stay.

    Stopped and started again, it decodes only what is missing.

    Parameters
    ----------
    manifest : Manifest
    store : RawAudioDecoder
        How they are decoded; the same for a folder each time.
    folder : Path
        5 s at 22 050 Hz take 0.44 MB there.

    Returns
    -------
    sounds : mapping from id to RawAudioFile
        All sounds that could be read.
    failures : mapping from id to str
        Why the others could not.
    """
    places = {clip.id: folder / f"{hashlib.sha256(clip.id.encode()).hexdigest()[:32]}.f32" for clip in manifest.clips}
    done = folder / FAILURES
    told = read_own_json(done, (), "the sounds that are missing are decoded again")
    failures: dict[str, str] = told or {}
    missing = [clip for clip in manifest.clips if clip.id not in failures and not _is_whole(places[clip.id])]
    if told is None or missing:
        workers = sound_decoders(len(missing))
        with decode_in_processes(store, (clip.path for clip in missing), folder / DECODED_FOLDER, workers) as files:
            progress = tqdm(
                files, desc="decode", unit="sound", total=len(manifest), initial=len(manifest) - len(missing)
            )
            for clip, (_, file) in zip(missing, progress, strict=True):
                if isinstance(file, MediaError):
                    failures[clip.id] = str(file)
                    progress.set_postfix(skipped=len(failures))
                else:
                    with file.open("rb+") as handle:
                        os.fsync(handle.fileno())
                    file.replace(places[clip.id])
        write_json(done, failures)
    return {name: RawAudioFile(place) for name, place in places.items() if name not in failures}, failures


def decode_data_sets(
    sets: Mapping[int, SplitSounds],
    decoder: RawAudioDecoder,
    folder: Path,
    out: Path,
    voice: VoiceActivity | None = None,
) -> Mapping[str, RawAudioFile]:
    """Decode the sounds of the data sets of all seeds; what is done stays done.

    Parameters
    ----------
    sets : mapping from seed to SplitSounds
    decoder : RawAudioDecoder
    folder : Path
        For what is decoded.
    out : Path
        Folder of the run, for `failures.csv` and `voice.csv`.
    voice : VoiceActivity, optional
        What is cut off the sounds, and off parts of sounds.

    Returns
    -------
    mapping from id to RawAudioFile
        The clips that could be read.

    Raises
    ------
    MediaError
        If not a single sound could be read.
    """
    clips = {clip.id: clip for data in sets.values() for clip in data.manifest.clips}
    files = {str(clip.path): clip.path for clip in clips.values()}
    stored, unreadable = decode_sounds(
        Manifest(tuple(Clip(name, path) for name, path in files.items())), decoder, folder
    )
    rate = decoder.sample_rate
    assert rate is not None
    parts = {name: part for data in sets.values() for name, part in data.segments.items()}
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
        raise none_readable(f"{len(clips)} sounds", failures, out / FAILURES_FILE)
    return sounds if voice is None else _cut(sounds, voice, rate, out)


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


def _is_whole(place: Path) -> bool:
    """Tell whether a decoded sound is there; one that a crash of the machine cut off has no whole samples, or none."""
    return place.is_file() and place.stat().st_size > 0 and place.stat().st_size % SAMPLE_BYTES == 0
