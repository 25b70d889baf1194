"""What jobs share of the videos of a targets folder, and how what they and all others have labelled is joined."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundnet_kd.data.parts_index import INDEX_FILE, PartsIndex
from soundnet_kd.data.target_clips import RefusedVideo
from soundnet_kd.data.target_parts import PARTS_FOLDER, PartPlace, part_file
from soundnet_kd.data.targets import SETTINGS_FILE, Targets, require_readable
from soundnet_kd.errors import FormatError, RunConflictError, none_readable
from soundnet_kd.media import DECODED_FOLDER, MediaSource, Sampling
from soundnet_kd.media.output_folder import OutputFolder, output_folder
from soundnet_kd.media.uploading import set_object_aside
from soundnet_kd.shards.jobs import NOTE_FILE, Job, JobsNote, claim
from soundnet_kd.shards.shard import Shard
from soundnet_kd.storage import FAILURES_FILE, lock_folder, read_json, read_settings, rename_damaged, write_json
from soundnet_kd.teachers.known_videos import holds_for, read_refusals, write_refusals
from soundnet_kd.teachers.result import TeachResult

if TYPE_CHECKING:
    from soundnet_kd.teachers.shard_work import Labelling

PLAN_FILE = "shards.json"
"""The names of the videos of each shard that jobs share."""


READ_FILES = (SETTINGS_FILE, FAILURES_FILE, PLAN_FILE, NOTE_FILE)
"""What earlier runs have left beside parts."""


def read_parts(out: OutputFolder) -> PartsIndex:
    """Return what the parts of a targets folder hold; those that are damaged are set aside."""

    def set_aside(part: PartPlace) -> None:
        set_part_aside = rename_damaged if isinstance(part, Path) else set_object_aside
        set_part_aside(str(part), "its videos are labelled again")

    return PartsIndex.of(str(out), set_aside)


def require_once(index: PartsIndex) -> None:
    """Check that no video is labelled in two parts.

    Raises
    ------
    FormatError
        If one is, as where two runs over other lists write to the same bucket, where they see no lock of each other.
    """
    if twice := index.twice():
        raise FormatError(twice)


def keep_index(index: PartsIndex, out: OutputFolder) -> None:
    """Keep what the parts of a targets folder hold."""
    index.write(out.path)
    out.publish(INDEX_FILE)


def remembered(
    out: OutputFolder, index: PartsIndex, video_of: Mapping[str, MediaSource] | None = None
) -> dict[str, RefusedVideo]:
    """Return the refusals of earlier runs and of jobs; whoever removes their table has all tried again.

    Parameters
    ----------
    out : OutputFolder
        The targets folder.
    index : PartsIndex
    video_of : mapping from name to Path or StoredMedia, optional
        The videos that are there: only what still holds of them counts. [default: nobody looks at them]
    """
    labelled = index.labelled()
    refusals = list(read_refusals(out.path / FAILURES_FILE).values())
    if (out.path / PLAN_FILE).exists():
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
    out = work.out.path

    def begin() -> None:
        write_refusals(out / FAILURES_FILE, refusals.values())
        work.out.publish(FAILURES_FILE)
        # Jobs of an older version have one, and note nothing else.
        if not (out / PLAN_FILE).exists():
            write_json(out / PLAN_FILE, [shard.ids for shard in shards])
            work.out.claim(PLAN_FILE)

    claim(out, job, begin, (out / PLAN_FILE).exists)
    work.out.publish(NOTE_FILE)
    shared = _read_plan(work.out, video_of)
    _require_videos(work.out, work.left(shared), video_of)
    return shared


def shards_left(out: OutputFolder, shards: Sequence[Shard]) -> list[Shard]:
    """Return the shards whose parts are not in a targets folder."""
    there = out.names(PARTS_FOLDER)
    return [shard for shard in shards if part_file(Path(), shard.name).name not in there]


def is_planned(out: OutputFolder) -> bool:
    """Return whether jobs have begun to share a targets folder."""
    return (out.path / PLAN_FILE).exists()


def is_shared(out: OutputFolder) -> bool:
    """Return whether jobs share a targets folder, and have written down all that others need to know."""
    return is_planned(out) and JobsNote.of(out.path) is not None


def shared_left(out: OutputFolder, video_of: Mapping[str, MediaSource]) -> list[Shard]:
    """Return the shards that jobs share whose parts are not there; what is in the others is not looked at.

    Raises
    ------
    RunConflictError
        If a video of them is not there any more.
    """
    left = shards_left(out, _read_plan(out, video_of))
    _require_videos(out, left, video_of)
    return left


def _read_plan(out: OutputFolder, video_of: Mapping[str, MediaSource]) -> list[Shard]:
    plan = read_json(out.path / PLAN_FILE)
    return [Shard(0, tuple(ids), tuple(video_of.get(name, Path(name)) for name in ids)) for ids in plan]


def _require_videos(out: OutputFolder, shards: Sequence[Shard], video_of: Mapping[str, MediaSource]) -> None:
    gone = next((name for shard in shards for name in shard.ids if name not in video_of), None)
    if gone is not None:
        raise RunConflictError(
            f"{gone}, which the jobs of {out} are to label, is not there any more; bring it back, or run the command "
            "without --shard"
        )


def share_no_more(out: OutputFolder) -> None:
    """End what jobs share: what is missing is done by whoever goes on, and shared anew by other jobs."""
    for name in (PLAN_FILE, NOTE_FILE):
        (out.path / name).unlink(missing_ok=True)
        out.publish(name)


def join_parts(out: OutputFolder, refusals: Mapping[str, RefusedVideo]) -> PartsIndex:
    """Join all parts that are there, and remove what jobs and processes that were killed have left.

    Parameters
    ----------
    out : OutputFolder
        The targets folder.
    refusals : mapping from name to RefusedVideo
        All videos that could not be used.

    Raises
    ------
    FormatError
        If a video is labelled in two parts.
    """
    index = read_parts(out)
    require_once(index)
    keep_index(index, out)
    write_refusals(out.path / FAILURES_FILE, refusals.values())
    out.publish(FAILURES_FILE)
    for folder in out.path.glob(f"{DECODED_FOLDER}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (out.path / PARTS_FOLDER).glob(".partial-*"):
        file.unlink(missing_ok=True)
    return index


def summarize(
    out: OutputFolder,
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
    out : OutputFolder
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
    labelled = index.labelled()
    failures = {source: refusals[source].reason for source in sorted(refusals)}
    if not labelled:
        cure = "; remove it to try them again" if remembered else ""
        what = f"{files} files in {videos}"
        raise none_readable(what, failures, f"{out}/{FAILURES_FILE}", done="labelled", cure=cure)
    targets = Targets(str(out))
    totals = index.totals()
    if frames != "keyframe":
        # An exact frame may have been on show for long.
        totals["stray_steps"] = 0
    return TeachResult(
        out.place,
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
        The targets folder, or its address.

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
    with output_folder(out, names=READ_FILES) as folder:
        return _join_targets(folder)


def _join_targets(out: OutputFolder) -> TeachResult | None:
    settings = read_settings(out.path / SETTINGS_FILE)
    if settings is None:
        raise FormatError(f"{out} is not a targets folder (no {SETTINGS_FILE}); give what the jobs were given as --out")
    require_readable(str(out), settings)
    with lock_folder(out.path):
        if not (out.path / PLAN_FILE).exists():
            return None
        note = JobsNote.of(out.path)
        if note is None:
            raise FormatError(
                f"{out} is shared by jobs of an older version, which did not note all that there is to join; run their "
                "command without --shard, which joins too"
            )
        plan = read_json(out.path / PLAN_FILE)
        index = read_parts(out)
        shards = [Shard(0, tuple(ids), ()) for ids in plan]
        there = out.names(PARTS_FOLDER)
        parts = [part_file(Path(), shard.name).name for shard in shards]
        missing = [(place, shards[place].ids[0]) for place, part in enumerate(parts) if part not in there]
        note.require_done(str(out), missing, len(plan))
        refusals = remembered(out, index)
        index = join_parts(out, refusals)
        share_no_more(out)
    files = len(index.labelled() | refusals.keys())
    frames = settings["frame_sampling"]["frames"]
    return summarize(out, settings["videos"], files, frames, index, refusals, len(refusals))
