"""The command `teach`: from videos, and networks named as text, to targets."""

from pathlib import Path

from soundnet_kd.media import DEADLINE_MINUTES, Sampling
from soundnet_kd.models import choose_device
from soundnet_kd.teachers.labelling import TeachResult, label_videos
from soundnet_kd.teachers.loading import load_teacher


def teach(
    videos: Path | str,
    out: Path | str,
    objects: str | None = None,
    scenes: str | None = None,
    object_classes: Path | str | None = None,
    scene_classes: Path | str | None = None,
    frames: Sampling = "exact",
    clips_per_video: int | None = None,
    clips_per_part: int = 128,
    workers: int | None = None,
    deadline_minutes: float = DEADLINE_MINUTES,
    device: str = "auto",
) -> TeachResult:
    """Label the frames of videos with image networks, and keep the labels with the sound.

    Stopped and started again with the same settings, it goes on where it was; the videos may have been moved. Labels
    may then differ in their last digit, as a network's answers do between batches of other sizes. Videos that were
    refused are not tried again as long as they are the same files and stand in failures.csv. Ends too short
    for a step, and silent clips, are left out, and counted.

    Parameters
    ----------
    videos : str or Path
        Folder of videos, searched with its sub-folders, or one video.
    out : str or Path
        Folder to write the targets to.
    objects : str, optional
        Network that names objects: NETWORK:WEIGHTS with a torchvision network and either its own weights
        (resnet50:IMAGENET1K_V2), published ones (resnet18:PLACES365) or a file (mobilenet_v2:weights.pth).
    scenes : str, optional
        Network that names scenes, given in the same way. At least one of the two is needed.
    object_classes : str or Path, optional
        Text file with one class a line, for weights in a file. [default: ImageNet's 1000]
    scene_classes : str or Path, optional
        The same for the scenes.
    frames : {"exact", "keyframe"}
        exact: the frame in the middle of each 5 s; keyframe: the key frame nearest to it, many times faster. Where key
        frames are rare it may lie outside these 5 s; such steps are counted.
    clips_per_video : int, optional
        Clips of 20 s, from its start on, that a video gives at most. [default: all]
    clips_per_part : int
        Clips in each file of targets; a killed run loses at most the part in hand.
    workers : int, optional
        Processes that decode beside the networks; 0 decodes and labels in turn. [default: one for each core, none for
        a handful of videos]
    deadline_minutes : float
        Longest time for decoding one video; it is refused then, as one that gives nothing for ten minutes is. Without
        processes a video at a single packet of which the decoder hangs is not ended.
    device : str
        Where the networks run: auto, cpu, cuda, cuda:1, mps.
    """
    videos = Path(videos)
    out = Path(out)
    object_classes = None if object_classes is None else Path(object_classes)
    scene_classes = None if scene_classes is None else Path(scene_classes)
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
        deadline_minutes=deadline_minutes,
    )
