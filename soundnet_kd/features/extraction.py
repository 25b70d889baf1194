"""From sounds and a student to a feature cache."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest, read_manifest
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.cache import FeatureCache
from soundnet_kd.features.listening import Listener
from soundnet_kd.features.parts import Part, join_parts, new_part, part_failures
from soundnet_kd.features.pooling import Pooling
from soundnet_kd.features.reading import HELD_SAMPLES, Reading, Sound, batches_of_equal_length, read_sounds
from soundnet_kd.media import Channel
from soundnet_kd.models import SoundNet, choose_device
from soundnet_kd.pretrained import load_student
from soundnet_kd.storage import claim, locked, refuse_different, versions, write_failures

CLIPS_PER_PART = 256
"""Sounds between two moments at which a killed run can go on."""


@dataclass(frozen=True)
class ExtractResult:
    """What a run of the extraction left."""

    out: Path
    clips: int
    layers: tuple[str, ...]
    failures: Mapping[str, str]

    def __str__(self) -> str:
        skipped = f", {len(self.failures)} skipped (see {failures_file(self.out)})" if self.failures else ""
        return f"wrote {self.out}: {len(self.layers)} layers of {self.clips} sounds{skipped}"


def extract(
    sounds: str | Path | Manifest | Iterable[str | Path],
    student: str | Path | SoundNet,
    out: str | Path,
    layers: Sequence[str] | None = None,
    pooling: Pooling = "mean",
    sequences: bool = False,
    rate: Literal["model", "native"] = "model",
    channel: Channel | None = None,
    batch_size: int = 8,
    workers: int = 0,
    device: str = "auto",
) -> ExtractResult:
    """Keep the layers of a student for every sound of a data set.

    Stopped and started again with the same settings, it goes on where it was. Sounds that cannot be read are left out
    and named, with the reason, in a table beside the cache. Sounds may be hours long.

    Parameters
    ----------
    sounds : str or Path or Manifest, or several paths
        Folder in ESC-50's layout, CSV file with a column "path" and optionally "label", "fold" and others that are
        carried along, text file (.txt) with a path on each line, any other folder (a sound's label is the sub-folder
        that it lies in), or one sound.
    student : str or Path or SoundNet
        A student.safetensors, the run folder that holds one, or a name such as soundnet8 (`soundnet-kd weights list`).
    out : str or Path
        File to write, such as features.h5.
    layers : sequence of str, optional
        Which layers, such as [conv5, pool5]. [default: all]
    pooling : str
        What becomes of a layer's steps over time: mean, max, std (standard deviation), or none (whole sequences only).
    sequences : bool
        Keep the whole sequences over time beside what is pooled.
    rate : str
        Rate at which sounds are heard: model (what the student learned at) or native (each file's own, not resampled,
        as in the ESC-50 notebook).
    channel : str, optional
        How several channels become one: first or mean. [default: as the student learned]
    batch_size : int
        Sounds of equal length that the network hears together.
    workers : int
        Processes that decode; 0 decodes in the main process.
    device : str
        Where the network runs: auto, cpu, cuda, cuda:1, mps.

    Raises
    ------
    RunConflictError
        If `out` holds the features of another student, of other sounds, or made with other settings, or if
        another run is writing to it.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; --out names the file to write, such as {out / 'features.h5'}")
    _check(pooling, rate, channel, batch_size)
    manifest = sounds if isinstance(sounds, Manifest) else read_manifest(sounds)
    # A network that is given stays as it is, wherever this one goes.
    network = deepcopy(student).eval() if isinstance(student, SoundNet) else load_student(student)
    wanted = network.layers if layers is None else tuple(layers)
    if not wanted:
        raise SettingsError(f"no layers are asked for; {type(network).__name__} has {', '.join(network.layers)}")
    wanted = tuple(sorted(set(wanted), key=network.depth))
    preprocessing = network.preprocessing
    reading = Reading(
        sample_rate=None if rate == "native" else preprocessing.sample_rate,
        channel=channel or preprocessing.channel,
        held_samples=max(HELD_SAMPLES, preprocessing.least_samples),
    )
    sequences = sequences or pooling == "none"
    identity = {
        "student": {"architecture": type(network).__name__, "sha256": network.fingerprint()},
        "sounds": {"count": len(manifest), "sha256": _sounds_sha256(manifest)},
        "settings": {
            "preprocessing": asdict(preprocessing) | {"sample_rate": reading.sample_rate, "channel": reading.channel},
            "layers": list(wanted),
            "pooling": pooling,
            "sequences": sequences,
        },
        "versions": versions(),
    }
    parts_folder = out.with_name(f"{out.name}.parts")
    if out.exists():
        with FeatureCache(out) as cache:
            refuse_different(str(out), cache.identity, identity)
            # A run that was killed when it had just finished leaves its parts.
            shutil.rmtree(parts_folder, ignore_errors=True)
            return ExtractResult(out, len(cache.ids), wanted, cache.failures)

    with locked(parts_folder):
        claim(parts_folder / "identity.json", identity)
        listener = Listener(network.to(choose_device(device)), reading, wanted, pooling, sequences)
        parts = _write_parts(parts_folder, listener, manifest, batch_size, workers)
        failures = {clip_id: reason for part in parts for clip_id, reason in part_failures(part).items()}
        clips = [clip for clip in manifest.clips if clip.id not in failures]
        write_failures(failures_file(out), failures)
        if clips:
            join_parts(out, parts, clips, manifest.class_names, failures, identity, manifest.columns)
    shutil.rmtree(parts_folder)
    if not clips:
        raise MediaError(
            f"none of the {len(manifest)} sounds could be read, such as: {next(iter(failures.values()))} "
            f"(see {failures_file(out)})"
        )
    return ExtractResult(out, len(clips), wanted, failures)


def failures_file(out: Path) -> Path:
    """Give the table of the sounds that a cache lacks."""
    return out.with_suffix(".failures.csv")


def _check(pooling: str, rate: str, channel: str | None, batch_size: int) -> None:
    for name, value, known in (
        ("pooling", pooling, get_args(Pooling)),
        ("rate", rate, ("model", "native")),
        ("channel", channel, (None, *get_args(Channel))),
    ):
        if value not in known:
            raise SettingsError(f"{name} is {value!r}; it is one of {', '.join(filter(None, known))}")
    if batch_size < 1:
        raise SettingsError(f"batch_size is {batch_size}; a batch has at least one sound")


def _write_parts(folder: Path, listener: Listener, manifest: Manifest, batch_size: int, workers: int) -> list[Path]:
    """Write what is missing of the parts."""
    runs = [manifest.clips[first : first + CLIPS_PER_PART] for first in range(0, len(manifest), CLIPS_PER_PART)]
    parts = [folder / f"part-{number:05d}.h5" for number in range(len(runs))]
    missing = [(part, run) for part, run in zip(parts, runs, strict=True) if not part.exists()]
    waiting = [clip for _, run in missing for clip in run]
    sounds = read_sounds(waiting, listener.reading, workers)
    with tqdm(total=len(manifest), initial=len(manifest) - len(waiting), desc="extract", unit="sound") as progress:
        for path, run in missing:
            with new_part(path) as part:
                _write_part(part, listener, run, islice(sounds, len(run)), batch_size, progress)
    return parts


def _write_part(
    part: Part,
    listener: Listener,
    run: Sequence[Clip],
    sounds: Iterable[tuple[str, Sound]],
    batch_size: int,
    progress: "tqdm[Any]",
) -> None:
    numbers = {clip.id: number for number, clip in enumerate(run)}
    rows: dict[int, dict[str, NDArray[np.float32]]] = {}
    failures: dict[str, str] = {}
    for batch in batches_of_equal_length(sounds, batch_size, listener.longest, failures):
        heard = [numbers[clip_id] for clip_id in batch]
        try:
            pooled = listener.hear(list(batch.values()), run[heard[0]].path, heard, part)
        except MediaError as error:
            # Only a sound that is read while it is heard, alone, can still fail.
            part.forget(heard[0])
            failures |= dict.fromkeys(batch, str(error))
            continue
        for place, number in enumerate(heard):
            rows[number] = {layer: values[place] for layer, values in pooled.items()}
        progress.update(len(batch))
    progress.update(len(failures))
    part.finish({layer: [rows[number][layer] for number in sorted(rows)] for layer in listener.pooled}, failures)


def _sounds_sha256(manifest: Manifest) -> str:
    rows: list[Any] = [[(clip.id, clip.label, clip.fold) for clip in manifest.clips], manifest.class_names]
    if manifest.columns:
        rows += [manifest.columns, [clip.carried for clip in manifest.clips]]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
