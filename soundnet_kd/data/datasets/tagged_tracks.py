"""Tracks with several tags each, such as the soundtracks of films with their genres: a table of paths and tags."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.data.manifest import Clip, Manifest, Split, parse_split
from soundnet_kd.data.sources.csv_files import Table, read_table
from soundnet_kd.data.sources.named_files import locate_files, normalize_slashes
from soundnet_kd.data.splits import WITHOUT_FOLDS, SplitSounds, require_shares
from soundnet_kd.errors import FormatError, SettingsError, nearest

log = logging.getLogger(__name__)

SEPARATOR = ";"


@dataclass(frozen=True)
class TaggedTracks:
    """A CSV file with the columns path and tags (Drama;Thriller), optionally split (train, validation, test).

    Without that column the seed draws the splits; a track of every tag is left to learn from.

    Attributes
    ----------
    tags : tuple of str
        The tags to learn; all that the table has, if none are named.
    validation_share : float
        Share of the tracks, where the table has no column split.
    test_share : float
        Share of the tracks, where the table has no column split.
    """

    tags: tuple[str, ...] = ()
    validation_share: float = 0.2
    test_share: float = 0.2

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Read the table.

        Raises
        ------
        SettingsError
            If no track has a tag that is wanted, or there are not two tags.
        FormatError
            If the table lacks a column, or a split is none of the three.
        """
        place = Path(place)
        file = place / "tracks.csv" if place.is_dir() else place
        table = read_table(file)
        paths = [normalize_slashes(file, name) for name in table.paths()]
        tags_of = [{tag.strip() for tag in tags.split(SEPARATOR)} - {""} for tags in table.required("tags")]
        found = sorted(set().union(*tags_of))
        for tag in self.tags:
            if tag not in found:
                raise SettingsError(f"no track of {file} has the tag {tag!r}{nearest(tag, found)}")
        names = self.tags or tuple(found)
        if len(names) < 2:
            raise SettingsError(
                f"{file} has {len(names)} tags; at least two are needed, such as Drama{SEPARATOR}Thriller"
            )
        kept = [row for row, tags in enumerate(tags_of) if tags & set(names)]
        without = {
            path: "it has none of the tags" for path, tags in zip(paths, tags_of, strict=True) if not tags & set(names)
        }
        # A table that splits otherwise is another data set to a run.
        stated = _stated_splits(table, kept)
        files = locate_files(file, paths, {}, table.lines)
        clips = tuple(Clip(paths[row], files[row], carried=() if stated is None else (stated[row],)) for row in kept)
        tags = tuple(
            tuple(place for place, name in enumerate(names) if name in each) for each in tags_of if each & set(names)
        )
        splits = self._draw_splits(tags, seed) if stated is None else _parse_splits(clips, file)
        columns = () if stated is None else ("split",)
        return SplitSounds(Manifest(clips, names, columns), {WITHOUT_FOLDS: splits}, tags, unusable=without)

    def _draw_splits(self, tags: Sequence[Sequence[int]], seed: int) -> list[Split]:
        """Draw the shares of all tracks, but leave a track of every tag for training."""
        shares: dict[Split, float] = {"test": self.test_share, "validation": self.validation_share}
        require_shares(shares)
        remaining = np.bincount(np.concatenate(tags))
        splits: list[Split] = ["train"] * len(tags)
        order = np.random.default_rng(seed).permutation(len(tags)).tolist()
        for split, share in shares.items():
            wanted = round(share * len(tags))
            for track in order:
                mine = list(tags[track])
                if wanted and splits[track] == "train" and (remaining[mine] > 1).all():
                    splits[track] = split
                    remaining[mine] -= 1
                    wanted -= 1
        return splits


def _stated_splits(table: Table, kept: Sequence[int]) -> tuple[str, ...] | None:
    """Return the column of splits, or None; one with another name, such as set, may mean something else."""
    values, place = table.values("split"), table.place("split")
    if values is None or place is None or table.columns[place].casefold() == "split":
        return values
    splits = {values[row]: parse_split(values[row]) for row in kept}
    odd = [value for value, split in splits.items() if split is None]
    if odd and any(splits.values()):
        log.warning(
            "%s: column %s holds %r, which is none of train, validation and test, so that it is not taken for a split",
            table.file,
            table.columns[place],
            odd[0],
        )
    return None if odd else values


def _parse_splits(clips: Sequence[Clip], file: Path) -> list[Split]:
    splits: list[Split] = []
    for clip in clips:
        split = parse_split(clip.carried[0])
        if split is None:
            hint = nearest(clip.carried[0], ("train", "validation", "test"))
            raise FormatError(f"{file}: {clip.id} has the split {clip.carried[0]!r}{hint}")
        splits.append(split)
    return splits
