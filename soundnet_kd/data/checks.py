"""A sentence about how a data set is understood, before any work on it begins; what cannot be meant is refused."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from soundnet_kd.data.manifest import UNLABELED, Clip, Manifest
from soundnet_kd.data.splits import SplitSounds
from soundnet_kd.errors import FormatError, MediaError, SettingsError
from soundnet_kd.media import MediaSource

log = logging.getLogger(__name__)

MAX_CLASSES_NAMED = 12
MAX_FILES_NAMED = 3


def describe_data_set(manifest: Manifest, split: SplitSounds | None = None, decoded: bool = False) -> str:
    """Describe how a data set is understood: sounds, classes, folds or splits, sounds without a class, files left out.

    Parameters
    ----------
    manifest : Manifest
    split : SplitSounds, optional
        What a recipe's layout makes of it.
    decoded : bool
        All of it has been decoded already, so that no file has to be there.
    """
    clips = manifest.clips
    facts = [_count(len(clips), "sound"), _classes(manifest), _folds(manifest, split)]
    without = [clip.id for clip in clips if clip.label == UNLABELED]
    if manifest.class_names and without and not (split and split.tags):
        facts.append(f"{_count(len(without), 'file')} without a class: {_some(without)}")
    if not manifest.class_names and manifest.columns:
        facts.append(f"other columns: {', '.join(manifest.columns)}")
    missing = [] if decoded else _missing(clips)
    if missing:
        facts.append(f"{_count(len(missing), 'file')} not there: {_some(missing)}")
    skipped = [f"{len(names)} as {reason} ({_some(names)})" for reason, names in manifest.skipped.items()]
    if split is not None:
        skipped += [f"{len(names)}, since {reason} ({_some(names)})" for reason, names in _by_reason(split.unusable)]
    return "; ".join([", ".join(facts), *([f"left out: {', '.join(skipped)}"] if skipped else [])])


def describe_files(files: Sequence[MediaSource]) -> str:
    """Describe which files are taken for sounds."""
    return f"{_count(len(files), 'sound')}: {_some([str(file) for file in files])}"


def announce(place: object, manifest: Manifest, split: SplitSounds | None = None, dry_run: bool = False) -> str:
    """Log how a data set is understood, and refuse one of which not a single sound is there.

    Parameters
    ----------
    place : object
        What was named; its path goes before the sentence.
    manifest : Manifest
    split : SplitSounds, optional
    dry_run : bool
        Return the sentence without logging it.

    Raises
    ------
    MediaError
        If none is.
    """
    sentence = describe_data_set(manifest, split)
    name = f"{place}: " if isinstance(place, str | Path) else ""
    if not dry_run:
        log.info("%s%s", name, sentence)
    missing = _missing(manifest.clips)
    if name and len(missing) == len(manifest):
        raise MediaError(
            f"none of the {len(missing)} sounds could be read, such as: {manifest.clips[0].path} is not there; paths "
            "are relative to the file that names them, or to a folder audio beside it"
        )
    return sentence


def require_whole_folds(manifest: Manifest) -> None:
    """Check that of the labelled sounds all are in a fold, or in a part of the split, or none.

    Raises
    ------
    FormatError
        If some are and others are not.
    """
    labelled = [place for place, clip in enumerate(manifest.clips) if clip.label != UNLABELED]
    for what, has in (
        ("fold", [clip.fold != manifest.no_fold for clip in manifest.clips]),
        ("split", [split is not None for split in manifest.splits]),
    ):
        without = [manifest.clips[place].id for place in labelled if has and not has[place]]
        if without and len(without) < len(labelled):
            raise FormatError(
                f"{len(without)} of {len(labelled)} labelled clips have no {what} but others do, such as {without[0]}; "
                f"give every clip a {what}, or none"
            )


def require_classes(manifest: Manifest) -> None:
    """Check that there are at least two classes.

    Raises
    ------
    SettingsError
        If there are not two.
    """
    labels = manifest.labels
    found = np.unique(labels[labels != UNLABELED])
    if not len(found):
        raise SettingsError(
            "none of the sounds has a label; give a folder with a sub-folder per class, or a table with a column label"
        )
    if len(found) < 2:
        name = manifest.class_names[found[0]]
        raise SettingsError(f"all labelled sounds are {name!r}; at least two classes are needed to tell them apart")


def _classes(manifest: Manifest) -> str:
    names = manifest.class_names
    if not names:
        return "no classes"
    shown = names if len(names) <= MAX_CLASSES_NAMED else names[: MAX_CLASSES_NAMED - 2]
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    return f"{_count(len(names), 'class', 'classes')} ({', '.join(shown)}{more})"


def _folds(manifest: Manifest, split: SplitSounds | None) -> str:
    folds = sorted({clip.fold for clip in manifest.clips} - {manifest.no_fold})
    if folds and (split is None or len(split.splits) > 1):
        if len(folds) == 1:
            return f"fold {folds[0]}"
        in_a_row = all(after == before + 1 for before, after in pairwise(folds))
        return "folds " + (f"{folds[0]}–{folds[-1]}" if in_a_row else ", ".join(map(str, folds)))  # noqa: RUF001
    splits: Sequence[str | None] = manifest.splits if split is None else next(iter(split.splits.values()))
    if not splits:
        return "no folds"
    counts = Counter(splits)
    return "split: " + ", ".join(
        f"{counts[each]} {name}"
        for each, name in (("train", "train"), ("validation", "validation"), ("test", "test"), (None, "in none"))
        if counts[each]
    )


def _missing(clips: Sequence[Clip]) -> list[str]:
    # What is no file of this machine was seen where it was listed, or is seen when it is fetched.
    paths = ((clip.id, clip.path) for clip in clips)
    return [name for name, path in paths if isinstance(path, Path) and not os.path.exists(path)]  # noqa: PTH110


def _by_reason(unusable: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in unusable.items():
        reasons.setdefault(reason, []).append(name)
    return list(reasons.items())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_FILES_NAMED]) + (" …" if len(names) > MAX_FILES_NAMED else "")


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
