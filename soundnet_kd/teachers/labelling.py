"""The teacher stage: from a folder of videos to a folder of targets."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from soundnet_kd.data.targets import (
    CLIP_SECONDS,
    FORMAT_VERSION,
    SETTINGS_FILE,
    STEP_SECONDS,
    LabelledClip,
    Targets,
    next_part_file,
    part_files,
    part_sources,
    write_part,
)
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import find_media
from soundnet_kd.models import choose_device
from soundnet_kd.storage import FAILURES_FILE, claim, versions, write_failures
from soundnet_kd.teachers.clips import UnlabelledClip, read_clips
from soundnet_kd.teachers.teacher import Teacher, load_teacher

SAMPLE_RATE = 22_050
"""Of the stored sound, in Hz: SoundNet's."""
CLIPS_PER_BATCH = 8
"""Clips of a video whose frames are looked at together: at most 32 frames."""


@dataclass(frozen=True)
class TeachResult:
    """What a run of the teacher stage left."""

    out: Path
    labelled: int
    clips: int
    failures: Mapping[str, str]

    def __str__(self) -> str:
        refused = f", {len(self.failures)} refused (see {self.out / FAILURES_FILE})" if self.failures else ""
        return f"wrote {self.out}: {self.clips} clips of {self.labelled} videos{refused}"


def teach(
    videos: Path,
    out: Path,
    objects: str | None = None,
    scenes: str | None = None,
    object_classes: Path | None = None,
    scene_classes: Path | None = None,
    clips_per_part: int = 128,
    device: str = "auto",
) -> TeachResult:
    """Label the frames of videos with image networks, and keep the labels with the sound.

    Stopped and started again with the same settings, it goes on where it was.

    Parameters
    ----------
    videos : Path
        Folder of videos, searched with its sub-folders, or one video.
    out : Path
        Folder to write the targets to.
    objects : str, optional
        Network that names objects: NETWORK:WEIGHTS with a torchvision network and either its own weights
        (resnet50:IMAGENET1K_V2) or a file (mobilenet_v2:weights.pth).
    scenes : str, optional
        Network that names scenes, given in the same way. At least one of the two is needed.
    object_classes : Path, optional
        Text file with one class a line, for weights in a file. [default: ImageNet's 1000]
    scene_classes : Path, optional
        The same for the scenes.
    clips_per_part : int
        Clips in each file of targets; a killed run loses at most the part in hand.
    device : str
        Where the networks run: auto, cpu, cuda, cuda:1, mps.
    """
    specs = {"objects": (objects, object_classes), "scenes": (scenes, scene_classes)}
    teachers = {name: load_teacher(spec, classes) for name, (spec, classes) in specs.items() if spec is not None}
    for teacher in teachers.values():
        teacher.network.to(choose_device(device))
    return label_videos(videos, teachers, out, clips_per_part)


def label_videos(videos: Path, teachers: Mapping[str, Teacher], out: Path, clips_per_part: int = 128) -> TeachResult:
    """Do what `teach` does, with teachers that are already there: any number, any network.

    Parameters
    ----------
    videos : Path
    teachers : mapping from name to Teacher
        The names become the student's heads.
    out : Path
    clips_per_part : int

    Returns
    -------
    TeachResult

    Raises
    ------
    SettingsError
        If there is no teacher.
    RunConflictError
        If `out` was made by other teachers or from other videos.
    MediaError
        If not a single video could be labelled.
    """
    if not teachers:
        raise SettingsError(
            "teach needs at least one teacher: give --objects or --scenes, such as --objects resnet50:IMAGENET1K_V2"
        )
    if clips_per_part < 1:
        raise SettingsError(f"clips_per_part is {clips_per_part}; a file of targets holds at least one clip")
    files = find_media(videos)
    root = videos if videos.is_dir() else videos.parent
    settings = {
        "format_version": FORMAT_VERSION,
        "videos": str(root.resolve()),
        "teachers": {
            name: {**teacher.identity, "class_names_sha256": _hash(teacher.class_names)}
            for name, teacher in teachers.items()
        },
        "frame_sampling": {"clip_seconds": CLIP_SECONDS, "step_seconds": STEP_SECONDS, "frame": "middle of the step"},
        "sample_rate": SAMPLE_RATE,
        "clips_per_part": clips_per_part,
        "versions": versions(),
    }
    claim(out / SETTINGS_FILE, settings)
    parts = part_files(out)
    labelled = {source for part in parts for source in part_sources(part)}
    names = {name: teacher.class_names for name, teacher in teachers.items()}

    failures: dict[str, str] = {}
    pending: list[LabelledClip] = []

    def write_pending() -> None:
        write_part(next_part_file(out), pending, names, SAMPLE_RATE, settings)
        labelled.update(clip.source for clip in pending)
        pending.clear()

    progress = tqdm(files, desc="teach", unit="video")
    for file in progress:
        source = file.relative_to(root).as_posix()
        if source in labelled:
            continue
        try:
            pending += list(_label(source, read_clips(file, SAMPLE_RATE), teachers))
        except MediaError as error:
            failures[source] = str(error)
            progress.set_postfix(refused=len(failures))
        if len(pending) >= clips_per_part:
            write_pending()
    if pending:
        write_pending()
    write_failures(out / FAILURES_FILE, failures)
    if not labelled:
        reason = next(iter(failures.values()))
        raise MediaError(
            f"none of the {len(files)} files in {videos} could be labelled, such as: {reason} "
            f"(see {out / FAILURES_FILE})"
        )
    return TeachResult(out, len(labelled), len(Targets(out)), failures)


def _hash(names: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _label(source: str, clips: Iterable[UnlabelledClip], teachers: Mapping[str, Teacher]) -> Iterator[LabelledClip]:
    """Label clips in batches, so that a long video's frames are never all in memory."""
    remaining = iter(clips)
    while batch := list(islice(remaining, CLIPS_PER_BATCH)):
        images = [frame.image for clip in batch for frame in clip.frames]
        answers = {name: teacher.label(images) for name, teacher in teachers.items()}
        first = 0
        for clip in batch:
            steps = slice(first, first + len(clip.frames))
            first = steps.stop
            yield LabelledClip(
                source,
                clip.start_seconds,
                clip.sound,
                frame_seconds=np.array([frame.time_seconds for frame in clip.frames]),
                distributions={name: rows[steps] for name, rows in answers.items()},
            )
