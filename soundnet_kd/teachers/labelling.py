"""From a folder of videos to a folder of targets."""

import hashlib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS
from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.sources.stored import find_sources
from soundnet_kd.data.target_clips import RefusedVideo, count_clip_steps
from soundnet_kd.data.target_parts import FORMAT_VERSION, TargetsPart, part_place
from soundnet_kd.data.targets import SETTINGS_FILE, require_readable
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.inference.backends import Backend, BackendOrAuto, backend_version, choose_backend
from soundnet_kd.media import DEADLINE_MINUTES, DECODED_FOLDER, MediaSource, Sampling
from soundnet_kd.media.output_folder import OutputFolder, output_folder
from soundnet_kd.media.tar_index import INDEX_FOLDER
from soundnet_kd.models import state_sha256
from soundnet_kd.shards.here import do_here
from soundnet_kd.shards.jobs import Job, JobResult
from soundnet_kd.shards.ray_engine import RayEngine
from soundnet_kd.shards.shard import Shard, cut
from soundnet_kd.storage import (
    FAILURES_FILE,
    ensure_same_settings,
    escape_name,
    lock_folder,
    read_settings,
    require_same_settings,
    versions,
)
from soundnet_kd.system.workers import video_decoders
from soundnet_kd.teachers.decoding import Decoder, require_picklable
from soundnet_kd.teachers.disk_sizes import describe_sizes, estimate_hours, megabytes_per_hour
from soundnet_kd.teachers.ensemble import TeacherEnsemble
from soundnet_kd.teachers.joining import (
    READ_FILES,
    claim_shards,
    is_planned,
    is_shared,
    join_parts,
    keep_index,
    read_parts,
    remembered,
    require_once,
    share_no_more,
    shared_left,
    summarize,
)
from soundnet_kd.teachers.known_videos import require_moved, write_refusals
from soundnet_kd.teachers.network import device_of
from soundnet_kd.teachers.result import TeachResult
from soundnet_kd.teachers.shard_work import Labelling
from soundnet_kd.teachers.teacher import Teacher
from soundnet_kd.teachers.transforms import Transform

log = logging.getLogger(__name__)

SAMPLE_RATE = 22_050
"""Sample rate of the stored sound, that of SoundNet, in Hz."""
VIDEOS_WORTH_AN_ENGINE = 64
"""While an engine compiles a network, PyTorch looks at the frames of some dozens of short videos."""
CLIPS_PER_PART = "clips_per_part"
"""How older versions counted: their parts end after so many clips, and are gone on with by so many videos."""
MAY_DIFFER = ("videos", "backends", CLIPS_PER_PART)
"""What targets may go on with that was otherwise when they were begun."""
VIDEOS_PER_PART = 32
SHORT_TABLE = 10_000
"""Refusals; a table of no more is written after each part that has some."""
PARTS_PER_INDEX = 256
"""After so many parts more they are indexed, so that a killed run need not open them all when it starts again."""
OUTPUT = "its answer"
"""How the settings name what is kept of a network that has no classes, where that is no layer's input."""


def label_videos(
    videos: str | Path,
    teachers: Mapping[str, Teacher],
    out: str | Path,
    *,
    frames: Sampling = "exact",
    clips_per_video: int | None = None,
    videos_per_part: int = VIDEOS_PER_PART,
    workers: int | None = 0,
    deadline_minutes: float = DEADLINE_MINUTES,
    backend: BackendOrAuto = "auto",
    step_seconds: float = STEP_SECONDS,
    frames_per_step: int = 1,
    keep_frames: bool = False,
    shard: str | None = None,
    ray: RayEngine | None = None,
) -> TeachResult:
    """Do what `teach` does, with teachers that are already there: any number, any network.

    Parameters
    ----------
    videos : str or Path
    teachers : mapping from name to Teacher
        The names become the student's heads: letters, digits and underscores, such as `vit_b_32`.
    out : str or Path
    frames : {"exact", "keyframe"}
    clips_per_video : int, optional
    videos_per_part : int
    workers : int, optional
        With processes, the teachers' transforms have to be picklable, and a script needs its `__main__` guard. None
        takes one for each core, and none where starting them would take longer than they save.
    deadline_minutes : float
        For one video, in these processes.
    backend : {"auto", "torch", "openvino", "onnxruntime"}
        What runs the networks. auto takes the fastest that is installed where there are enough videos, and goes on with
        the one that targets were begun with.
    step_seconds : float
        Length of a step, 20 s divided by a whole number, from 0.5 to 5 s.
    frames_per_step : int
        How many frames of a step are looked at; what is seen in them is averaged.
    keep_frames : bool
        Keep what is seen in each of them too.
    shard : str, optional
        Which of several jobs this is, as 3/64.
    ray : RayEngine, optional
        Label on a Ray cluster, to which networks on this machine's CPU are handed.

    Returns
    -------
    TeachResult

    Raises
    ------
    SettingsError
        If there is no teacher, or one by a name that no head can have, a number is below what it counts, there is no
        such step, or `backend` is not installed.
    RunConflictError
        If `out` was made by other teachers, from other videos or with other settings. A moved folder of the same videos
        is no other one, nor are weights of the same content in a file of another name.
    MediaError
        If not a single video could be labelled.
    """
    job = None if shard is None else Job.parse(shard)
    if not teachers:
        raise SettingsError(
            "teach needs at least one teacher: give --objects or --scenes, such as --objects resnet50:IMAGENET1K_V2"
        )
    for name, value, least in (
        ("videos_per_part", videos_per_part, 1),
        ("clips_per_video", clips_per_video, 1),
        ("workers", workers, 0),
    ):
        if value is not None and value < least:
            raise SettingsError(f"{name} is {value}; it has to be at least {least}")
    require_steps(step_seconds, frames_per_step, keep_frames)
    with output_folder(out, "" if job is None else job.name, READ_FILES, INDEX_FOLDER) as folder:
        return _label_videos(
            videos,
            teachers,
            folder,
            frames,
            clips_per_video,
            videos_per_part,
            workers,
            deadline_minutes,
            backend,
            step_seconds,
            frames_per_step,
            keep_frames,
            job,
            ray,
        )


def _label_videos(
    videos: str | Path,
    teachers: Mapping[str, Teacher],
    folder: OutputFolder,
    frames: Sampling,
    clips_per_video: int | None,
    videos_per_part: int,
    workers: int | None,
    deadline_minutes: float,
    backend: BackendOrAuto,
    step_seconds: float,
    frames_per_step: int,
    keep_frames: bool,
    job: Job | None,
    ray: RayEngine | None,
) -> TeachResult:
    out = folder.path
    before = read_settings(out / SETTINGS_FILE) or {}
    if before:
        require_readable(out, before)
    _require_names(teachers, before.get("teachers", {}))
    found = find_sources(videos, folder.index_folder)
    video_of = found.sources
    teachers = {
        name: _keep_begun_transform(teacher, before.get("teachers", {}).get(name, {}))
        for name, teacher in teachers.items()
    }
    settings: dict[str, Any] = {
        # What was begun in an older version goes on, in parts that are named after shards.
        "format_version": before.get("format_version", FORMAT_VERSION),
        "videos": found.root,
        "teachers": {
            name: {
                **teacher.identity,
                "state_sha256": state_sha256(teacher.network),
                "transform": _describe_transform(teacher.transform),
                "class_names_sha256": _hash_names(teacher.class_names),
                **({"features": teacher.features or OUTPUT} if teacher.has_features else {}),
            }
            for name, teacher in teachers.items()
        },
        "frame_sampling": {
            "clip_seconds": CLIP_SECONDS,
            "step_seconds": step_seconds,
            "frame": "middle of the step",
            "frames": frames,
            "clips_per_video": clips_per_video,
            # What was begun before there was more than one frame goes on.
            **({} if frames_per_step == 1 else {"frames_per_step": frames_per_step, "keep_frames": keep_frames}),
        },
        "sample_rate": SAMPLE_RATE,
        "videos_per_part": videos_per_part,
        "versions": versions(),
    }
    may_differ = (*MAY_DIFFER, *(("videos_per_part",) if CLIPS_PER_PART in before else ()))
    require_same_settings(out / SETTINGS_FILE, settings, besides=may_differ)
    # What is there is looked at when nobody else can change it.
    with lock_folder(out, "" if job is None else job.name):
        moved = bool(before) and before["videos"] != settings["videos"]
        # Another job has seen what is there; the run that joins sees whether it is whole.
        shared_before = job is not None and not moved and is_shared(folder)
        index = PartsIndex(()) if shared_before else read_parts(folder)
        require_once(index)
        if moved:
            require_moved(out, before["videos"], str(settings["videos"]), index, video_of)
        refusals = remembered(folder, index, video_of)
        known = len(refusals)
        refusals |= {source: RefusedVideo(source, escape_name(reason)) for source, reason in found.failures.items()}
        if shared_before:
            new, again = shared_left(folder, video_of), list[Shard]()
        else:
            new, again = _waiting(index, refusals, video_of, videos_per_part)
        # Jobs leave refused ones to the run that joins what they did.
        shards = new + again if job is None else new
        waiting = [video for shard in shards for video in shard.sources]
        if workers is None:
            workers = video_decoders(len(waiting))
        begun_with = before.get("backends", {})
        on_gpus = ray is not None and ray.gpus_per_network > 0

        def device_for(teacher: Teacher) -> torch.device:
            return torch.device("cuda") if on_gpus else device_of(teacher.network)

        backends = {
            name: _choose_backend(backend, device_for(teacher), begun_with.get(name), len(waiting))
            for name, teacher in teachers.items()
        }
        ensemble = TeacherEnsemble(teachers, backends, step_seconds, keep_frames)
        decoder = Decoder(SAMPLE_RATE, ensemble.transforms, frames, clips_per_video, step_seconds, frames_per_step)
        if workers or ray is not None:
            require_picklable(decoder)
        if waiting:
            ensemble.compile()
            sizes = megabytes_per_hour(
                SAMPLE_RATE,
                step_seconds,
                {name: len(each) for name, each in ensemble.class_names.items()},
                ensemble.feature_sizes(),
                frames_per_step if keep_frames else 0,
            )
            while_it_runs = 0.0
            if (step_seconds, frames_per_step) != (STEP_SECONDS, 1):
                while_it_runs = frames_per_step * 3600 / step_seconds * ensemble.frame_bytes() / 1e6
            log.info(describe_sizes(sizes, len(waiting), estimate_hours(waiting, clips_per_video), while_it_runs))
        settings["backends"] = ensemble.backends
        settings["versions"] = versions() | {name: backend_version(name) for name in ensemble.backends.values()}
        ensure_same_settings(out / SETTINGS_FILE, settings, besides=may_differ)
        # Of jobs on machines that share a store the first one's are kept there.
        folder.claim(SETTINGS_FILE)
        require_same_settings(out / SETTINGS_FILE, settings, besides=may_differ)
        work = Labelling(folder.absolute(), ensemble, decoder, settings, None if ray is None else ray.device)
        if job is not None:
            # Where all is joined there is nothing to share, and the table of refusals stays all that is known of them.
            joined = not shards and bool(index.parts) and not is_planned(folder)
            shared = [] if joined else claim_shards(job, work, shards, refusals, video_of)
            return _do_job(job, work, shared, workers, deadline_minutes)
        # What jobs have refused is in the table from now on.
        write_refusals(out / FAILURES_FILE, refusals.values())
        folder.publish(FAILURES_FILE)
        share_no_more(folder)
        done = len(video_of) - len(waiting)
        with tqdm(total=len(video_of), initial=done, desc="teach", unit="video") as progress:
            results = (
                do_here(
                    work, shards, out / DECODED_FOLDER, workers, deadline_minutes, heard=lambda _: progress.update()
                )
                if ray is None
                else ray.do(work, shards, deadline_minutes, heard=progress.update)
            )
            for number, result in enumerate(results, start=1):
                if result.failures:
                    with closing(TargetsPart(part_place(str(folder), result.name))) as part:
                        refusals |= {each.source: each for each in part.refused()}
                    progress.set_postfix(refused=len(refusals))
                if number % PARTS_PER_INDEX == 0:
                    keep_index(read_parts(folder), folder)
                # A long table takes a second to write.
                if number % PARTS_PER_INDEX == 0 or (result.failures and len(refusals) <= SHORT_TABLE):
                    write_refusals(out / FAILURES_FILE, refusals.values())
                    folder.publish(FAILURES_FILE)
        index = join_parts(folder, refusals)
        left, _ = _waiting(index, refusals, video_of, videos_per_part)
        if left:
            raise FormatError(
                f"parts of {folder} are damaged, {sum(map(len, left))} videos long; run the same command again"
            )
    return summarize(folder, videos, len(video_of) + len(found.failures), frames, index, refusals, known)


def _do_job(job: Job, work: Labelling, shards: Sequence[Shard], workers: int, deadline_minutes: float) -> TeachResult:
    own = job.share(shards)
    waiting = work.left(own)
    total = sum(map(len, waiting))
    with tqdm(total=total, desc=f"teach {job}", unit="video") as progress:
        decoded = work.out.path / f"{DECODED_FOLDER}-{job.name}"
        results = list(do_here(work, waiting, decoded, workers, deadline_minutes, heard=lambda _: progress.update()))
    failures = {name: reason for result in results for name, reason in result.failures.items()}
    used = sum(result.used for result in results)
    done = JobResult(
        work.out.place,
        job,
        len(results),
        used,
        len(failures),
        len(own) - len(waiting),
        len(work.left(shards)),
        len(shards),
    )
    return TeachResult(work.out.place, used, sum(result.clips for result in results), failures, job=done)


def _waiting(
    index: PartsIndex, remembered: Collection[str], video_of: Mapping[str, MediaSource], videos_per_part: int
) -> tuple[list[Shard], list[Shard]]:
    """Return the shards of videos that are in no part, and those of refused ones that are to be tried again."""
    labelled = index.labelled()
    refused = {each.source for part in index.parts for each in part.refused} - labelled
    new = [
        source for source in video_of if source not in labelled and source not in refused and source not in remembered
    ]
    again = [source for source in video_of if source in refused and source not in remembered]
    shards = [cut(names, [video_of[name] for name in names], videos_per_part) for names in (new, again)]
    return shards[0], shards[1]


def require_steps(step_seconds: float, frames_per_step: int, keep_frames: bool) -> None:
    """Check how the steps of a clip are looked at.

    Raises
    ------
    SettingsError
        If there is no such step, no frame of it, or a single one that is to be kept beside itself.
    """
    count_clip_steps(step_seconds)
    if frames_per_step < 1:
        raise SettingsError(f"frames_per_step is {frames_per_step}; it has to be at least 1")
    if keep_frames and frames_per_step == 1:
        raise SettingsError(
            "keep_frames keeps each of several frames of a step; add --frames_per_step, or leave it out"
        )


def _require_names(names: Collection[str], begun: Collection[str]) -> None:
    """Check that teachers' names can be those of a student's heads, or are those that targets were begun with."""
    for name in names:
        # No part that has been begun with a / in a name can be read.
        if not _can_name_head(name) and ("/" in name or name not in begun):
            fitting = re.sub(r"\W", "_", name).lower()
            if not _can_name_head(fitting):
                fitting = f"teacher_{fitting}"
            raise SettingsError(
                f"a teacher cannot be named {name!r}, since a head of the student is named after it; take letters, "
                f"digits and underscores, such as {fitting}"
            )


def _can_name_head(name: str) -> bool:
    """Return whether files of students can name a head so, and PyTorch a module among others."""
    return name.isidentifier() and not hasattr(nn.ModuleDict(), name)


def _choose_backend(asked: BackendOrAuto, device: torch.device, begun_with: Backend | None, videos: int) -> Backend:
    """Return what runs a network for some videos, where targets may have been begun with something."""
    if asked == "auto" and device.type == "cpu":
        if begun_with is not None and find_spec(begun_with):
            return begun_with
        if videos < VIDEOS_WORTH_AN_ENGINE:
            return "torch"
    return choose_backend(asked, device)


def _keep_begun_transform(teacher: Teacher, before: Mapping[str, str]) -> Teacher:
    """Keep a preset of torchvision unconverted where the targets were begun with it so."""
    begun = before.get("transform")
    as_given = begun == _describe_transform(teacher.given_transform) != _describe_transform(teacher.transform)
    return teacher.as_given() if as_given else teacher


def _hash_names(names: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _describe_transform(transform: Transform) -> str:
    """Describe a transform: with its settings if it is a module, as torchvision's are, else by its name."""
    if isinstance(transform, nn.Module):
        return " ".join(repr(transform).split())
    named = transform if hasattr(transform, "__qualname__") else type(transform)
    return f"{named.__module__}.{named.__qualname__}"
