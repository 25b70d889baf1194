"""What jobs share of the videos of a targets folder, and how what they and all others have labelled is joined."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.target_clips import RefusedVideo
from soundnet_kd.data.target_parts import part_file
from soundnet_kd.data.targets import SETTINGS_FILE, Targets, require_readable
from soundnet_kd.errors import FormatError, RunConflictError, none_readable
from soundnet_kd.media import DECODED_FOLDER, MediaSource, Sampling
from soundnet_kd.shards.jobs import NOTE_FILE, Job, JobsNote, claim
from soundnet_kd.shards.shard import Shard
from soundnet_kd.storage import FAILURES_FILE, lock_folder, read_json, read_settings, rename_damaged, write_json
from soundnet_kd.teachers.known_videos import holds_for, read_refusals, write_refusals
from soundnet_kd.teachers.result import TeachResult

if TYPE_CHECKING:
    from soundnet_kd.teachers.shard_work import Labelling

PLAN_FILE = "shards.json"
"""The names of the videos of each shard that jobs share."""


def read_parts(out: str | Path) -> PartsIndex:
    """Return what the parts of a targets folder hold; those that are damaged are set aside."""
    return PartsIndex.of(out, lambda part: rename_damaged(part, "its videos are labelled again"))


def remembered(
    out: str | Path, index: PartsIndex, video_of: Mapping[str, MediaSource] | None = None
) -> dict[str, RefusedVideo]:
    """Return the refusals of earlier runs and of jobs; whoever removes their table has all tried again.

    Parameters
    ----------
    out : str or Path
        The targets folder.
    index : PartsIndex
    video_of : mapping from name to Path or StoredMedia, optional
        The videos that are there: only what still holds of them counts. [default: nobody looks at them]
    """
    out = Path(out)
    labelled = index.labelled()
    refusals = list(read_refusals(out / FAILURES_FILE).values())
    if (out / PLAN_FILE).exists():
        # Jobs write no table.
        refusals += [refused for part in index.parts for refused in part.refused]
    found: dict[str, RefusedVideo] = {}
    for refused in refusals:
        source = refused.source
        if source in labelled or source in found:
            continue
        if video_of is None or (source in video_of and holds_for(refused, video_of[source])):
            found[source] = refused
    return found


def claim_shards(
    job: Job,
    work: "Labelling",
    shards: Sequence[Shard],
    refusals: Mapping[str, RefusedVideo],
    video_of: Mapping[str, MediaSource],
) -> list[Shard]:
    """Return the shards that all jobs share, which the first of them finds: others may find some of them done.

    Parameters
    ----------
    job : Job
    work : Labelling
    shards : sequence of Shard
        What is to be labelled, as this job sees it.
    refusals : mapping from name to RefusedVideo
        What is known before any of them is done; it is in the table from now on.
    video_of : mapping from name to Path or StoredMedia
        The videos that are there.

    Raises
    ------
    RunConflictError
        If a video that is still to be labelled is not there any more.
    """
    out = work.out

    def begin() -> None:
        write_refusals(out / FAILURES_FILE, refusals.values())
        # Jobs of an older version have one, and note nothing else.
        if not (out / PLAN_FILE).exists():
            write_json(out / PLAN_FILE, [shard.ids for shard in shards])

    claim(out, job, begin, (out / PLAN_FILE).exists)
    plan = read_json(out / PLAN_FILE)
    shared = [Shard(0, tuple(ids), tuple(video_of.get(name, Path(name)) for name in ids)) for ids in plan]
    waiting = (shard for shard in shared if not work.is_done(shard))
    gone = next((name for shard in waiting for name in shard.ids if name not in video_of), None)
    if gone is not None:
        raise RunConflictError(
            f"{gone}, which the jobs of {out} are to label, is not there any more; bring it back, or run the command "
            "without --shard"
        )
    return shared


def share_no_more(out: str | Path) -> None:
    """End what jobs share: what is missing is done by whoever goes on, and shared anew by other jobs."""
    for name in (PLAN_FILE, NOTE_FILE):
        (Path(out) / name).unlink(missing_ok=True)


def join_parts(out: str | Path, refusals: Mapping[str, RefusedVideo]) -> PartsIndex:
    """Join all parts that are there, and remove what jobs and processes that were killed have left.

    Parameters
    ----------
    out : str or Path
        The targets folder.
    refusals : mapping from name to RefusedVideo
        All videos that could not be used.
    """
    out = Path(out)
    index = read_parts(out)
    index.write(out)
    write_refusals(out / FAILURES_FILE, refusals.values())
    for folder in out.glob(f"{DECODED_FOLDER}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (out / "parts").glob(".partial-*"):
        file.unlink(missing_ok=True)
    return index


def summarize(
    out: str | Path,
    videos: str | Path,
    files: int,
    frames: Sampling,
    index: PartsIndex,
    refusals: Mapping[str, RefusedVideo],
    remembered: int,
) -> TeachResult:
    """Return what a targets folder holds.

    Parameters
    ----------
    out : str or Path
    videos : str or Path
        Where the videos lie.
    files : int
        How many they are.
    frames : {"exact", "keyframe"}
    index : PartsIndex
    refusals : mapping from name to RefusedVideo
    remembered : int
        How many of these were known before this run.

    Raises
    ------
    MediaError
        If not a single video could be labelled.
    """
    out = Path(out)
    labelled = index.labelled()
    failures = {source: refusals[source].reason for source in sorted(refusals)}
    if not labelled:
        cure = "; remove it to try them again" if remembered else ""
        what = f"{files} files in {videos}"
        raise none_readable(what, failures, out / FAILURES_FILE, done="labelled", cure=cure)
    targets = Targets(out)
    totals = index.totals()
    if frames != "keyframe":
        # An exact frame may have been on show for long.
        totals["stray_steps"] = 0
    return TeachResult(
        out,
        len(labelled),
        len(targets),
        failures,
        remembered=remembered,
        steps=int(targets.step_counts.sum()),
        step_seconds=targets.step_seconds,
        **totals,
    )


def is_targets(folder: str | Path) -> bool:
    """Return whether a folder holds targets, or what will be some."""
    return (Path(folder) / SETTINGS_FILE).is_file()


def join_targets(out: str | Path) -> TeachResult | None:
    """Join what jobs have labelled, as the run does that ends their work, without videos and teachers.

    Parameters
    ----------
    out : str or Path
        The targets folder.

    Returns
    -------
    TeachResult or None
        None where no jobs share it, or do no more.

    Raises
    ------
    RunConflictError
        If jobs still run, or shards are missing.
    FormatError
        If it is of a newer version, or was shared by jobs of an older one, which did not note what they are.
    """
    out = Path(out)
    settings = read_settings(out / SETTINGS_FILE) or {}
    require_readable(out, settings)
    with lock_folder(out):
        if not (out / PLAN_FILE).exists():
            return None
        note = JobsNote.of(out)
        if note is None:
            raise FormatError(
                f"{out} is shared by jobs of an older version, which did not note all that there is to join; run their "
                "command without --shard, which joins too"
            )
        plan = read_json(out / PLAN_FILE)
        index = read_parts(out)
        shards = [Shard(0, tuple(ids), ()) for ids in plan]
        parts = [part_file(out, shard.name) for shard in shards]
        missing = [(place, shards[place].ids[0]) for place, part in enumerate(parts) if not part.exists()]
        note.require_done(out, missing, len(plan))
        refusals = remembered(out, index)
        index = join_parts(out, refusals)
        share_no_more(out)
    files = len(index.labelled() | refusals.keys())
    frames = settings["frame_sampling"]["frames"]
    return summarize(out, settings["videos"], files, frames, index, refusals, len(refusals))
