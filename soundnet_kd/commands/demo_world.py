"""The command `demo-world`: made-up videos for the student, frames for the teachers, and labelled sounds for tests."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from soundnet_kd.demo.world import (
    EVENTS,
    SAMPLE_RATE,
    Scenario,
    make_frame,
    make_soundtrack,
    make_video_arrays,
    plan_labelled,
    plan_videos,
)
from soundnet_kd.media import write_audio, write_video
from soundnet_kd.media.writing import VideoCodec
from soundnet_kd.storage import atomic_write, ensure_same_settings, versions, write_csv
from soundnet_kd.system.child_processes import work_for_parent

FOLDS = 5
FRAME_SEEDS, SOUND_SEEDS = 1, 2
"""Added to three times the world's seed, so that videos, frames and sounds have nothing in common."""


REPEATABLE: dict[VideoCodec, dict[str, str]] = {"libx264": {"x264-params": "mbtree=0"}, "mpeg4": {}}
"""With its macroblock tree, libx264 is not repeatable for widths that are not a multiple of 128."""


@dataclass(frozen=True)
class DemoWorldResult:
    """What was made, and where."""

    out: Path
    videos: int
    frames: int
    sounds: int

    def __str__(self) -> str:
        return f"wrote {self.out}: {self.videos} videos, {self.frames} labelled frames, {self.sounds} labelled sounds"


def demo_world(
    out: Path | str,
    videos: int = 160,
    frames_per_event: int = 200,
    sounds_per_event: int = 20,
    seed: int = 0,
    workers: int = 2,
) -> DemoWorldResult:
    """Make the demonstration world: ten kinds of event in four kinds of scene, seen and heard.

    It holds videos/ (20 s MP4s without labels), frames/objects/ and frames/scenes/ (PNG pictures in a folder for each
    class) and sounds.csv with sounds/ (5 s WAVs, labelled, in five folds). Every video, frame and sound has events of
    its own.

    Parameters
    ----------
    out : str or Path
        Folder to write to; files that are already there are kept.
    videos : int
        Number of videos, which have no labels.
    frames_per_event : int
        Number of labelled frames of each kind of event.
    sounds_per_event : int
        Number of labelled sounds of each kind of event.
    seed : int
        The same seed makes the same world.
    workers : int
        Number of processes that draw and encode.
    """
    out = Path(out)
    counts = {"videos": videos, "frames_per_event": frames_per_event, "sounds_per_event": sounds_per_event}
    ensure_same_settings(out / "world.json", {**counts, "seed": seed, "versions": versions()})
    plans = {
        "videos": plan_videos(videos, 3 * seed),
        "frames": plan_labelled(frames_per_event, 3 * seed + FRAME_SEEDS),
        "sounds": plan_labelled(sounds_per_event, 3 * seed + SOUND_SEEDS),
    }
    jobs = [(out, kind, number, plan) for kind, kind_plans in plans.items() for number, plan in enumerate(kind_plans)]
    with ProcessPoolExecutor(max_workers=workers, initializer=work_for_parent) as pool:
        list(tqdm(pool.map(_make, jobs, chunksize=4), total=len(jobs), desc="demo-world", unit="file"))
    rows = [
        (f"sounds/{_name(number, plan)}.wav", plan.events[0], _fold(number, plan))
        for number, plan in enumerate(plans["sounds"])
    ]
    write_csv(out / "sounds.csv", ("path", "label", "fold"), rows)
    return DemoWorldResult(out, *(len(kind_plans) for kind_plans in plans.values()))


def _make(job: tuple[Path, str, int, Scenario]) -> None:
    out, kind, number, plan = job
    name = _name(number, plan)
    if kind == "videos":
        path = out / "videos" / f"{number:04d}.mp4"
        if not path.exists():
            # Two codecs, since real videos have many.
            codec: VideoCodec = "mpeg4" if number % 4 == 0 else "libx264"
            write_video(path, *make_video_arrays(plan), video_codec=codec, video_options=REPEATABLE[codec])
    elif kind == "sounds":
        path = out / "sounds" / f"{name}.wav"
        if not path.exists():
            write_audio(path, make_soundtrack(plan), SAMPLE_RATE)
    else:
        paths = (
            out / "frames" / "objects" / plan.events[0] / f"{name}.png",
            out / "frames" / "scenes" / plan.scene / f"{name}.png",
        )
        if not all(path.exists() for path in paths):
            image = Image.fromarray(make_frame(plan))
            for path in paths:
                with atomic_write(path) as partial:
                    image.save(partial)


def _name(number: int, plan: Scenario) -> str:
    return f"{plan.events[0]}-{number:04d}"


def _fold(number: int, plan: Scenario) -> int:
    """Return the fold of a sound: sounds take turns through all events, so every fold has equally many of each."""
    return number // len(EVENTS) % FOLDS + 1
