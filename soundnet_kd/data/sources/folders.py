"""Data sets that are folders: the folders that a sound lies in name its class, its fold or its split."""

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from soundnet_kd.data.datasets import esc50, urbansound8k
from soundnet_kd.data.datasets.esc50 import ESC50_CLASSES, SOURCE_COLUMN
from soundnet_kd.data.datasets.speech_commands import LISTS, NOISE_FOLDER, read_split_lists
from soundnet_kd.data.datasets.urbansound8k import URBANSOUND8K_CLASSES
from soundnet_kd.data.manifest import NO_FOLD, SPLIT, UNLABELED, Clip, Manifest, parse_split
from soundnet_kd.errors import FormatError
from soundnet_kd.media import FoundMedia, MediaSource, search_folder
from soundnet_kd.storage import escape_name

log = logging.getLogger(__name__)

BACKGROUND_NOISE = "background noise, which is no class"
"""Why such recordings are left out."""
BESIDE = "beside the folders of a split or of folds"
"""Why such sounds are left out."""
_WORDS = re.compile(r"[\W_]+")
_FOLD = re.compile(r"fold[ _-]?(\d{1,9})", re.IGNORECASE)

Places = dict[str, tuple[str, ...]]
"""The folders that each sound lies in, by the sound's path."""


def read_folder(folder: str | Path) -> Manifest:
    """Find the sounds of a folder.

    A sound's class is the sub-folder that it lies in, without the folders that all share; a sound in none has no class.
    Folders that are called train, validation and test (or otherwise, see `parse_split`), above those of the classes or
    in them, are a split, and fold1, fold2 … are folds; a file beside these is left out. Names of files that are mostly
    ESC-50's, or in folds UrbanSound8K's, are read as those of these data sets.

    Raises
    ------
    MediaError
        If there are no sounds.
    FormatError
        If there are sounds beside the folders of a split or of folds, or two classes are the same folder.
    """
    folder = Path(folder)
    found = search_folder(folder)
    found.require_media(folder)
    return read_names(folder, {escape_name(file.relative_to(folder).as_posix()): file for file in found.files}, found)


def read_names(folder: str | Path, files: Mapping[str, MediaSource], found: FoundMedia | None = None) -> Manifest:
    """Read names as `read_folder` does those of files; no file has to be there.

    Parameters
    ----------
    folder : str or Path
        For messages.
    files : mapping from name to Path or StoredMedia
        Names have / between their parts.
    found : FoundMedia, optional
        What else there is in a folder of this machine.
    """
    folder = Path(folder)
    found = FoundMedia((), (), {}, {}) if found is None else found
    parents: Places = {name: tuple(name.split("/")[:-1]) for name in files}
    noise = [name for name, parts in parents.items() if NOISE_FOLDER in parts]
    # A million names are copied only where they become others.
    places = {name: parts for name, parts in parents.items() if NOISE_FOLDER not in parts} if noise else parents
    levels: set[int] = set()
    by_level: list[dict[str, str]] = []
    for verb, meanings in (("is split into", _splits_named), ("has the folds", _folds_named)):
        level, meaning = _level(folder, places, verb, meanings)
        if meaning:
            levels.add(level)
            places = {name: places[name] for name in meaning}
        by_level.append(meaning)
    splits, folds = by_level
    if levels:
        places = {
            name: tuple(part for level, part in enumerate(parts) if level not in levels)
            for name, parts in places.items()
        }
    beside = [name for name, parts in parents.items() if name not in places and NOISE_FOLDER not in parts]
    labels: Mapping[str, str] = {
        name: "/".join(parts) for name, parts in _drop_shared(places, bool(splits or folds)).items()
    }
    sources: dict[str, str] = {}
    order: Sequence[str] = ()
    by_name = {} if splits else read_file_names(places, bool(folds))
    in_classes = len({labels[name] for name in by_name} - {""}) > 1
    if by_name and not (in_classes and len(by_name) < len(places)):
        sources = {name: each.source for name, each in by_name.items()}
        folds = folds or {name: each.fold for name, each in by_name.items()}
    if not in_classes and any(each.label for each in by_name.values()):
        labels = {name: each.label for name, each in by_name.items()}
        order = ESC50_CLASSES if any(each.fold for each in by_name.values()) else URBANSOUND8K_CLASSES
    else:
        labels = _without_a_single_class(folder, labels, [name for name in places if not parents[name]])
        _refuse_classes_of_one_folder(folder, found, {"/".join(parts) for parts in places.values()})
        if not splits and not folds:
            _warn_of_parts(folder, places)
    if not splits and any(labels.values()):
        splits = _listed_splits(folder, found, [name for name in places if labels.get(name)])
    names = sorted(set(labels.values()) - {""}, key=lambda name: (order.index(name) if name in order else -1, name))
    carried = {column: values for column, values in ((SPLIT, splits), (SOURCE_COLUMN, sources)) if values}
    numbers = {name: int(fold) for name, fold in folds.items() if fold and name in places}
    folds_from = 0 if 0 in numbers.values() else 1
    clips = tuple(
        Clip(
            id=name,
            path=files[name],
            label=names.index(labels[name]) if labels.get(name) else UNLABELED,
            fold=numbers.get(name, NO_FOLD if folds_from else -1),
            carried=tuple(values.get(name, "") for values in carried.values()),
        )
        for name in places
    )
    split_column = SPLIT if splits and not numbers else ""
    skipped = _skipped(folder, found, {BACKGROUND_NOISE: noise, BESIDE: beside})
    return Manifest(clips, tuple(names), tuple(carried), folds_from, split_column, skipped)


@dataclass(frozen=True)
class FileName:
    """Fold, recording and label of a sound by the name of its file; empty where the name has none."""

    fold: str = ""
    source: str = ""
    label: str = ""


def read_file_names(files: Collection[str], in_folds: bool) -> dict[str, FileName]:
    """Read the names of files as those of ESC-50 or, where they lie in folders of folds, of UrbanSound8K.

    Parameters
    ----------
    files : collection of str
        Their paths.
    in_folds : bool
        Whether there is a folder for each fold.

    Returns
    -------
    dict from path to FileName
        Of the files that are named so; empty if they are not more than half of all.
    """
    pattern = urbansound8k.FILE_NAME if in_folds else esc50.FILE_NAME
    classes: Sequence[str] = URBANSOUND8K_CLASSES if in_folds else ESC50_CLASSES
    names = {}
    for file in files:
        match = pattern.fullmatch(file.rpartition("/")[2].rpartition(".")[0])
        groups = match.groupdict() if match else {}
        target = int(groups.get("target") or -1)
        if match and target < len(classes):
            label = classes[target] if target >= 0 else ""
            names[file] = FileName(groups.get("fold", ""), groups["source"], label)
    return names if 2 * len(names) > len(files) else {}


def _level(
    folder: Path,
    places: Places,
    verb: str,
    meanings: Callable[[Sequence[str]], Mapping[str, str]],
) -> tuple[int, dict[str, str]]:
    """Find the level of folders that are the parts of a split, or folds.

    Returns
    -------
    int
        The level.
    dict from sound to meaning
        For the sounds in these folders, not those beside them; empty if there is no such level.

    Raises
    ------
    FormatError
        If there are sounds beside these folders.
    """
    for level in range(max(map(len, places.values()), default=0)):
        names = {parts[level] for parts in places.values() if len(parts) > level}
        meaning = meanings(sorted(names))
        if len(set(meaning.values())) < 2:
            continue
        others_split = sorted(name for name in names - meaning.keys() if _words_of_splits(name))
        if others_split and meanings is _splits_named and not any(map(parse_split, meaning)):
            log.warning(
                "%s: %s and %s are taken for no parts of a split, as the rest of their names differs; call them train, "
                "validation and test if they are",
                folder,
                ", ".join(sorted(meaning)),
                others_split[0],
            )
            continue
        inside = {name: parts for name, parts in places.items() if len(parts) > level and parts[level] in meaning}
        above = {parts[:depth] for parts in inside.values() for depth in range(level + 1)}
        others = sorted({parts[: level + 1] for name, parts in places.items() if name not in inside} - above)
        if others:
            raise FormatError(
                f"{folder} {verb} {' and '.join(sorted(meaning))}, but holds sounds in "
                f"{', '.join(map('/'.join, others[:3]))}, too; put these into one of the parts, or elsewhere"
            )
        return level, {name: meaning[parts[level]] for name, parts in inside.items()}
    return 0, {}


def _words_of_splits(name: str) -> list[str]:
    return [split for word in _WORDS.split(name) if (split := parse_split(word)) is not None]


def _splits_named(names: Sequence[str]) -> Mapping[str, str]:
    """Return what folders are for that are called after a split, such as train and test, or nsynth-train and -test."""
    alike: dict[str, dict[str, str]] = {}
    for name in names:
        whole, splits = parse_split(name), _words_of_splits(name)
        rest = "" if whole else " ".join(word for word in _WORDS.split(name) if parse_split(word) is None)
        if whole or len(splits) == 1:
            alike.setdefault(rest, {})[name] = whole or splits[0]
    return max(alike.values(), key=lambda named: len(set(named.values())), default={})


def _folds_named(names: Sequence[str]) -> Mapping[str, str]:
    return {name: match[1] for name in names if (match := _FOLD.fullmatch(name))}


def _drop_shared(places: Places, to_the_end: bool) -> Places:
    """Leave out the folders that all sounds share, such as audio; a single class only if asked to."""
    shared = 0
    while len(names := {parts[shared] for parts in places.values() if len(parts) > shared}) == 1:
        shared += 1
    if not names:
        shared = min(map(len, places.values()), default=0) if to_the_end else 0
    return {name: parts[shared:] for name, parts in places.items()}


def _without_a_single_class(folder: Path, labels: Mapping[str, str], loose: Sequence[str]) -> Mapping[str, str]:
    if loose and len(set(labels.values()) - {""}) == 1:
        log.warning(
            "%s: %d sounds lie in no sub-folder, such as %s, and the others in a single one, which makes no classes; "
            "none is given a label",
            folder,
            len(loose),
            loose[0],
        )
        return {}
    return labels


def _warn_of_parts(folder: Path, places: Places) -> None:
    """Warn where all folders hold the same ones, as the parts of a split with unusual names do."""
    below: dict[str, set[str]] = {}
    for first, *rest in filter(None, _drop_shared(places, to_the_end=False).values()):
        below.setdefault(first, set()).add(rest[0] if rest else "")
    each = next(iter(below.values()), set())
    if len(below) > 1 and len(each - {""}) > 1 and all(names == each for names in below.values()):
        log.warning(
            "%s: each of %s holds the folders %s, and each of these is taken for a class of its own; if the former are "
            "the parts of a split or folds, call them train, validation and test, or fold1, fold2 and so on",
            folder,
            ", ".join(sorted(below)[:3]),
            ", ".join(sorted(each)[:3]),
        )


def _refuse_classes_of_one_folder(folder: Path, found: FoundMedia, classes: Set[str]) -> None:
    """Refuse classes that are links to the same folder elsewhere: its sounds would belong to both."""
    for path, first in found.twice.items():
        second, name = (escape_name(each.relative_to(folder).as_posix()) for each in (path, first))
        if path.is_symlink() and first.is_symlink() and name in classes and name != second:
            raise FormatError(
                f"{second} and {name} in {folder} are links to the same folder, so that its sounds would be of two "
                "classes; remove one of them"
            )


def _listed_splits(folder: Path, found: FoundMedia, ids: Sequence[str]) -> dict[str, str]:
    """Return the splits of sounds by the lists of Speech Commands; nothing where there are no lists."""
    listed: dict[str, str] = {}
    for place in {file.parent for file in found.others if file.name in LISTS}:
        above = escape_name(place.relative_to(folder).as_posix())
        listed |= {str(PurePosixPath(above, name)): split for name, split in read_split_lists(place).items()}
    named = [name for name in ids if name in listed]
    return {name: listed.get(name, "train") for name in ids} if named else {}


def _skipped(folder: Path, found: FoundMedia, sounds: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    def name(path: Path) -> str:
        return escape_name(path.relative_to(folder).as_posix())

    reasons = {
        **{reason: tuple(names) for reason, names in sounds.items()},
        "the same folder as another": tuple(
            f"{name(path)}, which is {name(first)}" for path, first in found.twice.items()
        ),
        "not to be read": tuple(f"{name(path)} {reason}" for path, reason in found.unread.items()),
        "no sound": tuple(map(name, found.others)),
    }
    return {reason: names for reason, names in reasons.items() if names}
