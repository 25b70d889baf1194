"""The teacher stage: from a folder of videos to a folder of targets."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import joblib
from torch import nn
from tqdm import tqdm

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS
from soundnet_kd.data.parts import FORMAT_VERSION, Part, next_part_number, part_file, part_files, write_part
from soundnet_kd.data.targets import SETTINGS_FILE, Targets
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import Sampling, find_media
from soundnet_kd.models import choose_device, state_sha256
from soundnet_kd.storage import FAILURES_FILE, claim, locked, versions, write_failures
from soundnet_kd.teachers.decoding import DecodedClip, Decoder, decoding
from soundnet_kd.teachers.loading import load_teacher
from soundnet_kd.teachers.panel import Panel
from soundnet_kd.teachers.teacher import Teacher, Transform

SAMPLE_RATE = 22_050
"""Of the stored sound, in Hz: SoundNet's."""
VIDEOS_WORTH_A_WORKER = 8
"""A process takes some seconds to start, in which this one could decode a few videos itself."""
SPOOL = ".decoded"
"""Folder of what is decoded but not labelled yet."""


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
    frames: Sampling = "exact",
    clips_per_video: int | None = None,
    clips_per_part: int = 128,
    workers: int | None = None,
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
        (resnet50:IMAGENET1K_V2), published ones (resnet18:PLACES365) or a file (mobilenet_v2:weights.pth).
    scenes : str, optional
        Network that names scenes, given in the same way. At least one of the two is needed.
    object_classes : Path, optional
        Text file with one class a line, for weights in a file. [default: ImageNet's 1000]
    scene_classes : Path, optional
        The same for the scenes.
    frames : {"exact", "keyframe"}
        exact: the frame in the middle of each 5 s; keyframe: the key frame nearest to it, many times faster.
    clips_per_video : int, optional
        Clips of 20 s, from its start on, that a video gives at most. [default: all]
    clips_per_part : int
        Clips in each file of targets; a killed run loses at most the part in hand.
    workers : int, optional
        Processes that decode beside the networks; 0 decodes and labels in turn. [default: one for each core, none for
        a handful of videos]
    device : str
        Where the networks run: auto, cpu, cuda, cuda:1, mps.
    """
    specs = {"objects": (objects, object_classes), "scenes": (scenes, scene_classes)}
    teachers = {name: load_teacher(spec, classes) for name, (spec, classes) in specs.items() if spec is not None}
    for teacher in teachers.values():
        teacher.network.to(choose_device(device))
    return label_videos(
        videos,
        teachers,
        out,
        frames=frames,
        clips_per_video=clips_per_video,
        clips_per_part=clips_per_part,
        workers=workers,
    )


def label_videos(
    videos: Path,
    teachers: Mapping[str, Teacher],
    out: Path,
    *,
    frames: Sampling = "exact",
    clips_per_video: int | None = None,
    clips_per_part: int = 128,
    workers: int | None = 0,
) -> TeachResult:
    """Do what `teach` does, with teachers that are already there: any number, any network.

    Parameters
    ----------
    videos : Path
    teachers : mapping from name to Teacher
        The names become the student's heads.
    out : Path
    frames : {"exact", "keyframe"}
    clips_per_video : int, optional
    clips_per_part : int
    workers : int, optional
        With processes, the teachers' transforms have to be picklable, and a script needs its `__main__` guard. None
        takes one for each core, and none where starting them would take longer than they save.

    Returns
    -------
    TeachResult

    Raises
    ------
    SettingsError
        If there is no teacher, or a number is below what it counts.
    RunConflictError
        If `out` was made by other teachers, from other videos or with other settings.
    MediaError
        If not a single video could be labelled.
    """
    if not teachers:
        raise SettingsError(
            "teach needs at least one teacher: give --objects or --scenes, such as --objects resnet50:IMAGENET1K_V2"
        )
    for name, value, least in (
        ("clips_per_part", clips_per_part, 1),
        ("clips_per_video", clips_per_video, 1),
        ("workers", workers, 0),
    ):
        if value is not None and value < least:
            raise SettingsError(f"{name} is {value}; it is at least {least}")
    files = find_media(videos)
    root = videos if videos.is_dir() else videos.parent
    settings = {
        "format_version": FORMAT_VERSION,
        "videos": str(root.resolve()),
        "teachers": {
            name: {
                **teacher.identity,
                "state_sha256": state_sha256(teacher.network),
                "transform": _described(teacher.transform),
                "class_names_sha256": _hash(teacher.class_names),
            }
            for name, teacher in teachers.items()
        },
        "frame_sampling": {
            "clip_seconds": CLIP_SECONDS,
            "step_seconds": STEP_SECONDS,
            "frame": "middle of the step",
            "frames": frames,
            "clips_per_video": clips_per_video,
        },
        "sample_rate": SAMPLE_RATE,
        "clips_per_part": clips_per_part,
        "versions": versions(),
    }
    claim(out / SETTINGS_FILE, settings)
    labelled = set().union(*(_sources(part) for part in part_files(out)))
    sources = {file: file.relative_to(root).as_posix() for file in files}
    todo = [file for file in files if sources[file] not in labelled]
    if workers is None:
        cores = joblib.cpu_count()
        workers = cores if len(todo) >= VIDEOS_WORTH_A_WORKER * cores else 0
    panel = Panel.of(teachers)
    names = {name: teacher.class_names for name, teacher in teachers.items()}
    failures: dict[str, str] = {}

    with (
        locked(out),
        tqdm(total=len(files), initial=len(files) - len(todo), desc="teach", unit="video") as progress,
        decoding(
            Decoder(SAMPLE_RATE, panel.transforms, frames, clips_per_video), todo, out / SPOOL, workers
        ) as decoded,
    ):

        def clips_of_a_part() -> Iterator[tuple[str, DecodedClip]]:
            """Give the clips of whole videos, until there are enough of them."""
            given = 0
            while given < clips_per_part:
                video, clips = next(decoded, (None, None))
                if video is None:
                    return
                progress.update()
                if isinstance(clips, MediaError):
                    failures[sources[video]] = str(clips)
                    progress.set_postfix(refused=len(failures))
                    continue
                for clip in clips or ():
                    yield sources[video], clip
                    given += 1
                labelled.add(sources[video])

        for number in count(next_part_number(out)):
            if not write_part(part_file(out, number), panel.label(clips_of_a_part()), names, SAMPLE_RATE, settings):
                break
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


def _described(transform: Transform) -> str:
    """Tell a transform from others: with its settings if it is a module, as torchvision's are, else by its name."""
    if isinstance(transform, nn.Module):
        return " ".join(repr(transform).split())
    named = transform if hasattr(transform, "__qualname__") else type(transform)
    return f"{named.__module__}.{named.__qualname__}"


def _sources(path: Path) -> set[str]:
    part = Part(path)
    try:
        return set(part.sources())
    finally:
        part.close()
