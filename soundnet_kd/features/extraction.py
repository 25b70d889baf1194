"""From sounds and a student to a feature cache."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from soundnet_kd.data import Clip, Manifest, read_manifest
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.features.cache import FeatureCache
from soundnet_kd.features.parts import join_parts, part_failures, write_part
from soundnet_kd.models import Preprocessing, SoundNet, choose_device
from soundnet_kd.pretrained import load_student
from soundnet_kd.storage import claim, refuse_different, versions, write_failures

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
    sounds: str | Path | Manifest,
    student: str | Path | SoundNet,
    out: str | Path,
    layers: Sequence[str] | None = None,
    sequences: bool = False,
    batch_size: int = 8,
    workers: int = 0,
    device: str = "auto",
) -> ExtractResult:
    """Keep the layers of a student for every sound of a data set.

    Stopped and started again with the same settings, it goes on where it was. Sounds that cannot be read are left out
    and named, with the reason, in a table beside the cache.

    Parameters
    ----------
    sounds : str or Path or Manifest
        Folder in ESC-50's layout, CSV file with a column "path" and optionally "label" and "fold", any other folder (a
        sound's label is the sub-folder that it lies in), or one sound.
    student : str or Path or SoundNet
        A student.safetensors, or the run folder that holds one.
    out : str or Path
        File to write, such as features.h5.
    layers : sequence of str, optional
        Which layers, such as [conv5, pool5]. [default: all]
    sequences : bool
        Keep the whole sequences over time beside their averages.
    batch_size : int
        Sounds of equal length that the network hears together.
    workers : int
        Processes that decode; 0 decodes in the main process.
    device : str
        Where the network runs: auto, cpu, cuda, cuda:1, mps.

    Raises
    ------
    RunConflictError
        If `out` holds the features of another student, of other sounds, or made with other settings.
    MediaError
        If not a single sound could be read.
    """
    out = Path(out)
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; --out names the file to write, such as {out / 'features.h5'}")
    if batch_size < 1:
        raise SettingsError(f"batch_size is {batch_size}; a batch has at least one sound")
    manifest = sounds if isinstance(sounds, Manifest) else read_manifest(Path(sounds))
    network = student.eval() if isinstance(student, SoundNet) else load_student(student)
    wanted = network.layers if layers is None else tuple(layers)
    if not wanted:
        raise SettingsError(f"no layers are asked for; {type(network).__name__} has {', '.join(network.layers)}")
    wanted = tuple(sorted(wanted, key=network.depth))
    identity = _identity(network, manifest, wanted, sequences)
    if out.exists():
        with FeatureCache(out) as cache:
            refuse_different(str(out), cache.identity, identity)
            return ExtractResult(out, len(cache.ids), wanted, cache.failures)

    parts_folder = out.with_name(f"{out.name}.parts")
    claim(parts_folder / "identity.json", identity)
    parts = _write_parts(parts_folder, network.to(choose_device(device)), manifest, identity, batch_size, workers)
    failures = {clip_id: reason for part in parts for clip_id, reason in part_failures(part).items()}
    clips = [clip for clip in manifest.clips if clip.id not in failures]
    write_failures(failures_file(out), failures)
    if not clips:
        shutil.rmtree(parts_folder)
        raise MediaError(
            f"none of the {len(manifest)} sounds could be read, such as: {next(iter(failures.values()))} "
            f"(see {failures_file(out)})"
        )
    join_parts(out, parts, clips, manifest.class_names, failures, identity)
    shutil.rmtree(parts_folder)
    return ExtractResult(out, len(clips), wanted, failures)


def failures_file(out: Path) -> Path:
    """Give the table of the sounds that a cache lacks."""
    return out.with_suffix(".failures.csv")


def _write_parts(
    folder: Path, student: SoundNet, manifest: Manifest, identity: Mapping[str, Any], batch_size: int, workers: int
) -> list[Path]:
    """Write what is missing of the parts."""
    runs = [manifest.clips[first : first + CLIPS_PER_PART] for first in range(0, len(manifest), CLIPS_PER_PART)]
    parts = [folder / f"part-{number:05d}.h5" for number in range(len(runs))]
    missing = [(part, run) for part, run in zip(parts, runs, strict=True) if not part.exists()]
    waiting = [clip for _, run in missing for clip in run]
    sounds = iter(_read(waiting, student.preprocessing, workers))
    layers, sequences = identity["settings"]["layers"], identity["settings"]["sequences"]
    with tqdm(total=len(manifest), initial=len(manifest) - len(waiting), desc="extract", unit="sound") as progress:
        for part, run in missing:
            rows: dict[str, dict[str, NDArray[np.float32]]] = {}
            failures: dict[str, str] = {}
            for batch in _batches(islice(sounds, len(run)), batch_size, failures):
                rows |= _listen(student, batch, layers, sequences)
                progress.update(len(batch))
            progress.update(len(failures))
            heard = [rows[clip.id] for clip in run if clip.id not in failures]
            write_part(part, {layer: [row[layer] for row in heard] for layer in layers}, failures, sequences)
    return parts


class _Sounds(Dataset[tuple[str, NDArray[np.float32] | str]]):
    """Sounds as the student wants to be given them: (id, waveform), or (id, reason) for one that cannot be read."""

    def __init__(self, clips: Sequence[Clip], preprocessing: Preprocessing) -> None:
        self.clips = clips
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[str, NDArray[np.float32] | str]:
        clip = self.clips[index]
        try:
            return clip.id, self.preprocessing.read(clip.path)
        except MediaError as error:
            return clip.id, str(error)


def _read(
    clips: Sequence[Clip], preprocessing: Preprocessing, workers: int
) -> Iterable[tuple[str, NDArray[np.float32] | str]]:
    return DataLoader(
        _Sounds(clips, preprocessing), batch_size=None, num_workers=workers if clips else 0, collate_fn=_as_is
    )


def _as_is(sound: Any) -> Any:
    return sound


def _batches(
    sounds: Iterable[tuple[str, NDArray[np.float32] | str]], batch_size: int, failures: dict[str, str]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Gather sounds of equal length; what could not be read goes to `failures`."""
    gathered: dict[int, dict[str, NDArray[np.float32]]] = {}
    for clip_id, sound in sounds:
        if isinstance(sound, str):
            failures[clip_id] = sound
            continue
        batch = gathered.setdefault(len(sound), {})
        batch[clip_id] = sound
        if len(batch) == batch_size:
            yield gathered.pop(len(sound))
    yield from gathered.values()


@torch.inference_mode()
def _listen(
    student: SoundNet, batch: Mapping[str, NDArray[np.float32]], layers: Sequence[str], sequences: bool
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Give each sound's layers, (steps, channels) each; without `sequences` their average, (1, channels)."""
    device = next(student.parameters()).device
    waveforms = torch.stack([student.preprocessing(waveform) for waveform in batch.values()])
    answers = {
        layer: answer.transpose(1, 2).cpu().numpy() for layer, answer in student(waveforms.to(device), layers).items()
    }
    return {clip_id: {layer: answers[layer][index] for layer in layers} for index, clip_id in enumerate(batch)}


def _identity(student: SoundNet, manifest: Manifest, layers: Sequence[str], sequences: bool) -> dict[str, Any]:
    rows = [(clip.id, clip.label, clip.fold) for clip in manifest.clips]
    return {
        "student": {"architecture": type(student).__name__, "sha256": student.fingerprint()},
        "sounds": {
            "count": len(manifest),
            "sha256": hashlib.sha256(json.dumps([rows, manifest.class_names]).encode()).hexdigest(),
        },
        "settings": {
            "preprocessing": asdict(student.preprocessing),
            "layers": list(layers),
            "pooling": "mean",
            "sequences": sequences,
        },
        "versions": versions(),
    }
