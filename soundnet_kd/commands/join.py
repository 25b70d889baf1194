"""The command `join`: from what jobs have written to what one of them alone would have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundnet_kd.data import Targets
from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.features.cache import FeatureCache, is_feature_cache
from soundnet_kd.features.cache_joining import IDENTITY_FILE, ExtractResult, found_cache, join_features, parts_folder
from soundnet_kd.media.stored import address_of, local_path
from soundnet_kd.storage import lock_folder, read_settings
from soundnet_kd.teachers.joining import is_targets, join_targets
from soundnet_kd.teachers.result import TeachResult


@dataclass(frozen=True)
class NothingToJoin:
    """What is there, where no jobs share anything.

    Attributes
    ----------
    out : Path
    holds : str
    """

    out: Path
    holds: str

    def __str__(self) -> str:
        out = address_of(self.out) or self.out
        return f"{out} has nothing to join: no jobs share it any more, and it holds {self.holds}"


def join(out: Path | str) -> TeachResult | ExtractResult | NothingToJoin:
    """Join what the jobs of `teach` or `extract` have written, each with --shard.

    It checks that all shards are there, and names those that are missing, with the command that does them. It needs
    neither the videos or sounds nor a network. The jobs' own command without --shard joins too, but looks at all of
    them, and does what is missing. The result is the same as that of one job.

    Parameters
    ----------
    out : str or Path
        What the jobs were given as --out: a folder of targets, also under an address, or a file of features such as
        features.h5, which is not there yet.

    Raises
    ------
    RunConflictError
        If jobs still run, or shards are missing.
    SettingsError
        If it is neither.
    FormatError
        If no jobs share it, or it was shared by an older version.
    """
    if address_of(out) is not None:
        return join_targets(out) or _joined(Targets(out))
    out = local_path(out)
    if out.suffix == ".parts" and out.is_dir():
        out = out.with_suffix("")
    if is_targets(out):
        return join_targets(out) or _joined(Targets(out))
    if out.is_file() and is_feature_cache(out):
        _remove_left(out)
        with FeatureCache(out) as cache:
            return NothingToJoin(out, f"{counted(len(cache), 'layer')} of {counted(len(cache.ids), 'sound')}")
    if not out.exists() and parts_folder(out).is_dir():
        return join_features(out)
    what = "there is nothing" if not out.exists() else "that is something else"
    raise SettingsError(
        f"{out} is neither a folder of targets nor a file of features with its parts beside it ({what}); give what the "
        "jobs of `teach` or `extract` were given as --out"
    )


def _joined(targets: Targets) -> NothingToJoin:
    videos = len(np.unique(targets.videos))
    return NothingToJoin(Path(targets.folder), f"{counted(len(targets), 'clip')} of {counted(videos, 'video')}")


def _remove_left(out: Path) -> None:
    """Remove the parts that a run which was killed when it had just finished has left."""
    parts = parts_folder(out)
    if parts.is_dir():
        with lock_folder(parts):
            if (identity := read_settings(parts / IDENTITY_FILE)) is not None:
                found_cache(out, identity)
