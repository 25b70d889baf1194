"""The command `teach`: from videos, and networks named as text, to targets."""

from pathlib import Path
from typing import Literal

from soundnet_kd.data import STEP_SECONDS
from soundnet_kd.inference.backends import BackendOrAuto, choose_backend
from soundnet_kd.media import DEADLINE_MINUTES, Sampling
from soundnet_kd.media.stored import address_of, local_path
from soundnet_kd.models import choose_device
from soundnet_kd.shards.engine import shard_engine
from soundnet_kd.teachers.labelling import VIDEOS_PER_PART, label_videos, require_steps
from soundnet_kd.teachers.loading import load_teacher
from soundnet_kd.teachers.result import TeachResult


def teach(
    videos: Path | str,
    out: Path | str,
    objects: str | None = None,
    scenes: str | None = None,
    object_classes: Path | str | None = None,
    scene_classes: Path | str | None = None,
    frames: Sampling = "exact",
    step_seconds: float = STEP_SECONDS,
    frames_per_step: int = 1,
    keep_frames: bool = False,
    keep_features: bool = False,
    clips_per_video: int | None = None,
    videos_per_part: int = VIDEOS_PER_PART,
    workers: int | None = None,
    deadline_minutes: float = DEADLINE_MINUTES,
    device: str = "auto",
    backend: BackendOrAuto = "auto",
    shard: str | None = None,
    engine: Literal["here", "ray"] = "here",
    address: str | None = None,
    networks: int | None = None,
    decoders: int | None = None,
) -> TeachResult:
    """Label the frames of videos with image networks, and keep the labels with the sound.

    If it is stopped, the same command continues where it was, even if the videos were moved meanwhile. Labels may then
    differ in the last digit, since a network's outputs depend slightly on the batch size. Videos that could not be used
    are listed in failures.csv and not tried again unless the file changes. Silent clips, ends that are too short for a
    label, and steps without a picture or a finite answer are left out and counted. How much the targets will take on
    disk is said before the work begins.

    Parameters
    ----------
    videos : str or Path
        Folder of videos, searched with its sub-folders, one video, a table (CSV with a column "path", or a text file
        with a path on each line), or tars as WebDataset and video2dataset write them ('shards/*.tar',
        'shards/{00000..01234}.tar', a folder of them); each also under an address such as s3://bucket/videos.
    out : str or Path
        Folder to write the targets to, or an address such as s3://bucket/targets, where each file is put whole.
    objects : str, optional
        Network that recognises objects: NETWORK:WEIGHTS, a torchvision network and either its own weights
        (resnet50:IMAGENET1K_V2), published ones (resnet18:PLACES365) or a file (mobilenet_v2:weights.pth).
    scenes : str, optional
        Network that recognises scenes, written in the same way. At least one of the two is needed.
    object_classes : str or Path, optional
        Text file with the names of the classes, one per line, for weights from a file. [default: ImageNet's 1000]
    scene_classes : str or Path, optional
        The same for the network that recognises scenes.
    frames : {"exact", "keyframe"}
        exact: the frame in the middle of each step; keyframe: the key frame nearest to it, many times faster. Where key
        frames are rare it may lie outside the step; such cases are counted.
    step_seconds : float
        Length of the sound that one label is for: 20 s divided by a whole number, from 0.5 to 5 s (the paper's).
    frames_per_step : int
        Look at this many frames of each step, in the middles of its equal parts, and keep the mean of their
        distributions and features. A key frame that is the nearest for several of these moments counts once.
    keep_frames : bool
        Keep the distributions and features of each of these frames too.
    keep_features : bool
        Also keep the features before each network's last layer, for objectives that compare features.
    clips_per_video : int, optional
        Greatest number of 20 s clips to take from a video, from its start. [default: all]
    videos_per_part : int
        Videos whose clips are in one file of the targets; a run that is killed loses at most the file it was working
        on.
    workers : int, optional
        Processes that decode while the networks run; 0 decodes and labels by turns. [default: one per core, none for a
        handful of videos]
    deadline_minutes : float
        Longest time for decoding one video. A video that takes longer, or gives no data for ten minutes, is given up.
        With --workers 0, a decoder that hangs within a single packet cannot be stopped.
    device : str
        Where the networks run: auto, cpu, cuda, cuda:1, mps.
    backend : {"auto", "torch", "openvino", "onnxruntime"}
        What runs them. OpenVINO and ONNX Runtime take some seconds to begin and are then about twice as fast on a CPU,
        with the same answers; auto takes one that is installed for 64 videos or more.
    shard : str, optional
        Which of several jobs this is, such as 3/64, the third of 64 that share the videos: on other machines of a
        cluster, or in other terminals, with the same --out. When all are done, `soundnet-kd join OUT` joins them; so
        does the same command without --shard, which does what is missing first. The result is the same as that of one
        job.
    engine : {"here", "ray"}
        What does the work: this process and those that it starts, or Ray (`pip install "soundnet-kd[ray]"`): the
        machines of its cluster, or this one. Both write the same.
    address : str, optional
        A running Ray cluster that this machine belongs to, as HOST:PORT, or auto. All its machines have to see the
        videos and --out at the same places. [default: what RAY_ADDRESS says, else a Ray of its own on this machine]
    networks : int, optional
        With Ray: processes with networks. [default: one for each GPU, or one on each machine]
    decoders : int, optional
        With Ray: videos that are decoded at the same time. [default: one for each CPU]
    """
    object_classes = None if object_classes is None else Path(object_classes)
    scene_classes = None if scene_classes is None else Path(scene_classes)
    require_steps(step_seconds, frames_per_step, keep_frames)
    # Machines reach an address each for itself.
    shared = local_path(out) if address_of(out) is None else None
    with shard_engine(engine, shared, device, address, networks, decoders, shard, workers) as ray:
        # Networks are handed to Ray from this machine's CPU.
        where = choose_device(device if ray is None else "cpu")
        # What is not installed is told before weights are fetched.
        choose_backend(backend, where)
        specs = {"objects": (objects, object_classes), "scenes": (scenes, scene_classes)}
        teachers = {name: load_teacher(spec, classes) for name, (spec, classes) in specs.items() if spec is not None}
        for teacher in teachers.values():
            teacher.network.to(where)
        if keep_features:
            teachers = {name: teacher.keep_features() for name, teacher in teachers.items()}
        return label_videos(
            videos,
            teachers,
            out,
            frames=frames,
            clips_per_video=clips_per_video,
            videos_per_part=videos_per_part,
            workers=workers,
            deadline_minutes=deadline_minutes,
            backend=backend,
            step_seconds=step_seconds,
            frames_per_step=frames_per_step,
            keep_frames=keep_frames,
            shard=shard,
            ray=ray,
        )
