"""Labelling shards of videos: from what is decoded of them to a part of the targets."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.data.target_clips import LabelledVideo, RefusedVideo
from soundnet_kd.data.target_parts import part_file, write_part
from soundnet_kd.errors import MediaError
from soundnet_kd.media.output_folder import OutputFolder
from soundnet_kd.models import choose_device
from soundnet_kd.shards.shard import Shard, ShardResult
from soundnet_kd.teachers.clips import Tally, VideoClip
from soundnet_kd.teachers.decoding import Decoder, read_decoded
from soundnet_kd.teachers.ensemble import TeacherEnsemble
from soundnet_kd.teachers.joining import shards_left
from soundnet_kd.teachers.known_videos import fingerprint, refuse
from soundnet_kd.teachers.usable_steps import UsableSteps


@dataclass(frozen=True)
class Labelling:
    """What is done with shards of videos: their frames are labelled, and the labels kept with the sound as a part.

    Attributes
    ----------
    out : OutputFolder
        The targets folder.
    ensemble : TeacherEnsemble
    decode : Decoder
    settings : mapping
        What makes the targets.
    device : str, optional
        Where another process is to run the networks. [default: where they are]
    """

    out: OutputFolder
    ensemble: TeacherEnsemble
    decode: Decoder
    settings: Mapping[str, Any]
    device: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Networks that were made ready on this device are made ready again where the work is done.
        ensemble = self.ensemble
        fresh = TeacherEnsemble(ensemble.teachers, ensemble.backends, ensemble.step_seconds, ensemble.keep_frames)
        return {**self.__dict__, "ensemble": fresh}

    def is_done(self, shard: Shard) -> bool:
        """Return whether its part is there."""
        return not self.left([shard])

    def left(self, shards: Sequence[Shard]) -> list[Shard]:
        """Return the shards whose parts are not there."""
        return shards_left(self.out, shards)

    @contextmanager
    def start(self) -> Iterator["Labeller"]:
        """Return what labels in this process."""
        if self.device is not None:
            self.ensemble.move_to(choose_device(self.device))
        yield Labeller(self)


class Labeller:
    """Labels shards in one process."""

    def __init__(self, work: Labelling) -> None:
        self._work = work

    def do(self, shard: Shard, decoded: Iterator[Path | MediaError]) -> ShardResult:
        """Write the part of a shard."""
        ensemble, sample_rate = self._work.ensemble, self._work.decode.sample_rate
        used: list[LabelledVideo] = []
        refused: list[RefusedVideo] = []

        def clips() -> Iterator[tuple[str, VideoClip]]:
            """Return the clips of the videos, and note what was used of each."""
            for name, video, file in zip(shard.ids, shard.sources, decoded, strict=True):
                identity = ""
                try:
                    identity = "" if isinstance(file, MediaError) else fingerprint(video)
                except MediaError as error:
                    # Its store was lost since it was fetched.
                    file = error
                if isinstance(file, MediaError):
                    refused.append(refuse(name, video, file))
                    continue
                for clip in read_decoded(file, len(ensemble.transforms)):
                    if isinstance(clip, Tally):
                        used.append(LabelledVideo(name, identity, *astuple(clip)))
                    else:
                        yield name, clip

        def all_refused() -> Iterator[RefusedVideo]:
            """Return those that could not be decoded, and those of which nothing could be used."""
            kept = {video.source for video in steps.videos()} | {each.source for each in refused}
            for name, video in zip(shard.ids, shard.sources, strict=True):
                if name not in kept:
                    error = MediaError(f"{name} has no step for which every teacher's answer is finite")
                    refused.append(refuse(name, video, error))
            yield from sorted(refused, key=lambda each: shard.ids.index(each.source))

        steps = UsableSteps(ensemble.label(clips()), used, sample_rate)
        with self._work.out.writing(part_file(Path(), shard.name).as_posix()) as path:
            count = write_part(
                path,
                steps.clips(),
                ensemble.class_names,
                sample_rate,
                self._work.settings,
                steps.videos(),
                all_refused(),
            )
        reasons = {each.source: each.reason for each in refused}
        return ShardResult(shard.name, reasons, len(shard) - len(reasons), count)
