"""Data sets that are folders: what a sound is, which fold and which split it is in, is said by where it lies."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from soundnet_kd.data.known_names import ESC50_CLASSES, URBANSOUND8K_CLASSES, said_by_names
from soundnet_kd.data.manifest import NO_FOLD, SPLIT, UNLABELED, Clip, Manifest
from soundnet_kd.data.speech_commands import LISTS, NOISE_FOLDER, without_noise
from soundnet_kd.data.split_names import split_of
from soundnet_kd.errors import FormatError
from soundnet_kd.media import FoundMedia, search_folder
from soundnet_kd.storage import text_of

log = logging.getLogger(__name__)

SOURCE_COLUMN = "src_file"
"""ESC-50's name of the recording that a clip was cut from."""
GTZAN_FOLDERS = ("genres", "genres_original")
"""In which GTZAN's classes lie; they are no part of their names."""
BACKGROUND_NOISE = "background noise, which is no class"
"""Why such recordings are left out."""
_FOLD = re.compile(r"fold[ _-]?(\d{1,9})", re.IGNORECASE)

Places = dict[str, tuple[str, ...]]
"""Of each sound, by its name, the folders that it lies in."""


def read_folder(folder: str | Path) -> Manifest:
    """Find the sounds of a folder.

    A sound's class is the sub-folder that it lies in; what lies in none has none. Folders that are called train,
    validation and test (or otherwise, see `split_of`), above those of the classes or in them, are a split, and fold1,
    fold2 … are folds. Names of files that are all ESC-50's, or in folds UrbanSound8K's, say what these data sets say by
    them.

    Raises
    ------
    MediaError
        If there are no sounds.
    FormatError
        If a split lies among other folders, or two classes are the same folder.
    """
    folder = Path(folder)
    found = search_folder(folder)
    found.require_media(folder)
    ids = [text_of(file.relative_to(folder).as_posix()) for file in found.files]
    parents: Places = {name: PurePosixPath(name).parts[:-1] for name in ids}
    noise = [name for name in ids if NOISE_FOLDER in parents[name]]
    inside = {name: parts for name, parts in parents.items() if parts and name not in noise}
    splits, inside = _level(inside, _splits_named)
    if not splits:
        _refuse_a_part_of_a_split(folder, inside)
    folds, inside = _level(inside, _folds_named)
    if splits or folds or {parts[0] for parts in inside.values()} in ({name} for name in GTZAN_FOLDERS):
        inside = _without_shared(inside)
    labels = {name: "/".join(parts) for name, parts in inside.items()}
    loose = [name for name in ids if not parents[name]]
    if loose and len(set(labels.values())) == 1 and not splits:
        log.warning(
            "%s: %d sounds lie in no sub-folder, such as %s, and the others in a single one, which makes no classes; "
            "none is given a label", folder, len(loose), loose[0],
        )  # fmt: skip
        labels = {}
    _refuse_classes_of_one_folder(folder, found, labels)
    labels |= dict.fromkeys(noise, NOISE_FOLDER)
    sources: dict[str, str] = {}
    order: Sequence[str] = ()
    said = said_by_names([PurePosixPath(name).stem for name in ids], bool(folds)) if not splits else None
    if said is not None:
        sources = {name: each.source for name, each in zip(ids, said, strict=True)}
        folds = folds or {name: each.fold for name, each in zip(ids, said, strict=True)}
        if not any(labels.values()):
            labels = {name: each.label for name, each in zip(ids, said, strict=True)}
            order = URBANSOUND8K_CLASSES if all(not each.fold for each in said) else ESC50_CLASSES
    if not splits and any(labels.values()):
        splits = _listed_splits(folder, [name for name in ids if labels.get(name)])
    names = sorted(set(labels.values()) - {""}, key=lambda name: (order.index(name) if name in order else -1, name))
    carried = {column: values for column, values in ((SPLIT, splits), (SOURCE_COLUMN, sources)) if values}
    numbers = {name: int(fold) for name, fold in folds.items()}
    folds_from = 0 if 0 in numbers.values() else 1
    clips = tuple(
        Clip(
            id=name,
            path=file,
            label=names.index(labels[name]) if labels.get(name) else UNLABELED,
            fold=numbers.get(name, NO_FOLD if folds_from else -1),
            carried=tuple(values.get(name, "") for values in carried.values()),
        )
        for name, file in zip(ids, found.files, strict=True)
    )
    split_column = SPLIT if splits and not numbers else ""
    words, left_out = without_noise(Manifest(clips, tuple(names), tuple(carried), folds_from, split_column))
    return replace(words, left_out=_left_out(folder, found, left_out))


def _level(places: Places, meanings: Callable[[Sequence[str]], Mapping[str, str]]) -> tuple[dict[str, str], Places]:
    """Find the level of folders whose names all have a meaning, and at least two have another one.

    Returns
    -------
    dict from sound to meaning
        Empty if there is no such level.
    Places
        Without the level.
    """
    for level in range(min(map(len, places.values()), default=0)):
        meaning = meanings(sorted({parts[level] for parts in places.values()}))
        if len(set(meaning.values())) > 1:
            return (
                {name: meaning[parts[level]] for name, parts in places.items()},
                {name: (*parts[:level], *parts[level + 1 :]) for name, parts in places.items()},
            )
    return {}, places


def _splits_named(names: Sequence[str]) -> Mapping[str, str]:
    """Give what folders are for, if all are called after a split, such as train and test, or nsynth-train and -test."""
    found: dict[str, str] = {}
    others = set()
    for name in names:
        words = re.split(r"[\W_]+", name)
        splits = [split for word in words if (split := split_of(word)) is not None]
        whole = split_of(name)
        others.add("" if whole else " ".join(word for word in words if split_of(word) is None))
        if whole is None and len(splits) != 1:
            return {}
        found[name] = whole or splits[0]
    return found if len(others) == 1 else {}


def _folds_named(names: Sequence[str]) -> Mapping[str, str]:
    matches = {name: _FOLD.fullmatch(name) for name in names}
    return {name: match[1] for name, match in matches.items() if match} if all(matches.values()) else {}


def _without_shared(places: Places) -> Places:
    """Leave out the folders that all sounds lie in, such as audio."""
    while places and all(places.values()) and len({parts[0] for parts in places.values()}) == 1:
        places = {name: parts[1:] for name, parts in places.items()}
    return places


def _refuse_a_part_of_a_split(folder: Path, places: Places) -> None:
    deep = {parts[0] for parts in places.values() if len(parts) > 1}
    parts_of_split = {name: split for name in sorted(deep) if (split := split_of(name)) is not None}
    others = sorted({parts[0] for parts in places.values()} - parts_of_split.keys())
    if len(set(parts_of_split.values())) > 1 and others:
        raise FormatError(
            f"{folder} is split into {' and '.join(parts_of_split)}, each with folders of its own, but holds sounds in "
            f"{', '.join(others[:3])}, too; put these into one of the parts, or elsewhere"
        )


def _refuse_classes_of_one_folder(folder: Path, found: FoundMedia, labels: Mapping[str, str]) -> None:
    """Refuse classes that are links to the same folder outside: nobody can say which one its sounds are of."""
    classes = set(labels.values())
    for path, first in found.twice.items():
        second, name = (text_of(each.relative_to(folder).as_posix()) for each in (path, first))
        if path.is_symlink() and first.is_symlink() and name in classes and name != second:
            raise FormatError(
                f"{second} and {name} in {folder} are links to the same folder, so that its sounds would be of two "
                "classes; remove one of them"
            )


def _listed_splits(folder: Path, ids: Sequence[str]) -> dict[str, str]:
    """Give what Speech Commands's lists say that sounds are for; nothing where there are none."""
    listed: dict[str, str] = {}
    for file, split in LISTS.items():
        if (folder / file).is_file():
            lines = (folder / file).read_text(encoding="utf-8-sig", errors="replace").splitlines()
            listed |= dict.fromkeys((line.strip() for line in lines), split)
    named = [name for name in ids if name in listed]
    return {name: listed.get(name, "train") for name in ids} if named else {}


def _left_out(folder: Path, found: FoundMedia, noise: Sequence[str]) -> dict[str, tuple[str, ...]]:
    def told(path: Path) -> str:
        return text_of(path.relative_to(folder).as_posix())

    reasons = {
        BACKGROUND_NOISE: tuple(noise),
        "the same folder as another": tuple(
            f"{told(path)}, which is {told(first)}" for path, first in found.twice.items()
        ),
        "not to be read": tuple(f"{told(path)} {reason}" for path, reason in found.unread.items()),
        "no sound": tuple(map(told, found.others)),
    }
    return {reason: names for reason, names in reasons.items() if names}
