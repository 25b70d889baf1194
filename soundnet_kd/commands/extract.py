"""The command `extract`: a network's layers for every sound of a data set, in a feature cache."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from soundnet_kd.data import Manifest, read_manifest
from soundnet_kd.data.checks import announce, require_whole_folds
from soundnet_kd.errors import MediaError, SettingsError, none_readable
from soundnet_kd.features.cache import FeatureCache
from soundnet_kd.features.cache_parts import join_parts, part_failures
from soundnet_kd.features.cache_writer import write_parts
from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.pooling import PoolingOrNone
from soundnet_kd.media import DEADLINE_MINUTES, Channel, RawAudioDecoder
from soundnet_kd.models import Network, choose_device
from soundnet_kd.pretrained import load_network
from soundnet_kd.storage import (
    ensure_same_settings,
    failures_file,
    lock_folder,
    require_equal,
    versions,
    write_failures,
)


@dataclass(frozen=True)
class ExtractResult:
    """What a run of the extraction left."""

    out: Path
    clips: int
    layers: tuple[str, ...]
    failures: Mapping[str, str]
    found: bool = False
    reading: str = ""
    """What the sounds are taken for, where nothing but this was asked for."""

    def __str__(self) -> str:
        if self.reading:
            return self.reading
        skipped = f", {len(self.failures)} skipped (see {failures_file(self.out)})" if self.failures else ""
        if self.found and self.failures:
            skipped += "; remove it to try them again"
        done = "there was already" if self.found else "wrote"
        return f"{done} {self.out}: {len(self.layers)} layers of {self.clips} sounds{skipped}"


def extract(
    sounds: str | Path | Manifest | Iterable[str | Path],
    student: str | Path | Network = "soundnet8",
    out: str | Path = "features.h5",
    layers: Sequence[str] | None = None,
    pooling: PoolingOrNone = "mean",
    sequences: bool = False,
    rate: Literal["model", "native"] = "model",
    channel: Channel | None = None,
    batch_size: int = 8,
    workers: int | None = None,
    deadline_minutes: float = DEADLINE_MINUTES,
    device: str = "auto",
    dry_run: bool = False,
) -> ExtractResult:
    """Keep the layers of a network for every sound of a data set.

    Stopped and started again with the same settings, it goes on where it was. Sounds that cannot be read are left out
    and named, with the reason, in a table beside the cache. Sounds may be hours long.

    Parameters
    ----------
    sounds : str or Path or Manifest, or several paths
        Folder in the layout of ESC-50 or UrbanSound8K, CSV file with a column "path" and optionally "label", "fold" or
        "split" and others that are carried along, text file (.txt) with a path on each line, any other folder (a
        sound's label is the sub-folder that it lies in; train, validation and test are a split), or one or more files
        and folders.
    student : str or Path or Network
        A network: the file of a student, a fine-tuned network or one from scratch, the run folder of `soundnet-kd
        distill`, `finetune` or `train` that holds one, or a name (`soundnet-kd weights list`); soundnet8, the released
        network, is fetched when it is first needed (54 MB).
    out : str or Path
        File to write.
    layers : sequence of str, optional
        Which layers, such as [conv5, pool5]. [default: all]
    pooling : str
        What becomes of a layer's steps over time: mean, max, std (standard deviation), or none (whole sequences only).
        Of layers over frequency and time the means over frequency are taken first.
    sequences : bool
        Keep the whole sequences over time beside what is pooled.
    rate : str
        Rate at which sounds are heard: model (what the network learned at) or native (each file's own, not resampled,
        as in the ESC-50 notebook).
    channel : str, optional
        How several channels become one: first or mean. [default: as the network learned]
    batch_size : int
        Sounds of equal length that the network hears together.
    workers : int, optional
        Processes that decode beside the network; 0 decodes in turn. [default: one for each core beside a GPU, one
        beside a CPU, none for a handful of sounds]
    deadline_minutes : float
        Longest time for decoding one sound; it is left out then, as one that gives nothing for ten minutes is. Without
        processes a sound at a single packet of which the decoder hangs is not ended.
    device : str
        Where the network runs: auto, cpu, cuda, cuda:1, mps.
    dry_run : bool
        Say what the data set is taken for, and stop: nothing is decoded or written.

    Raises
    ------
    RunConflictError
        If `out` holds the features of another network, of other sounds, or made with other settings, or if
        another run is writing to it.
    MediaError
        If not a single sound could be read.
    FormatError
        If some labelled sounds have a fold and others do not.
    """
    out = Path(out)
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; --out names the file to write, such as {out / 'features.h5'}")
    _check(pooling, rate, channel, batch_size, workers)
    manifest = sounds if isinstance(sounds, Manifest) else read_manifest(sounds)
    if not len(manifest):
        raise MediaError("there are no sounds to extract features of; give files or folders")
    reading = announce(sounds, manifest, dry_run=dry_run)
    require_whole_folds(manifest)
    if dry_run:
        return ExtractResult(out, len(manifest), (), {}, reading=reading)
    network = load_network(student)
    wanted = network.layers if layers is None else (layers,) if isinstance(layers, str) else tuple(layers)
    if not wanted:
        raise SettingsError(f"no layers are asked for; {network.architecture} has {', '.join(network.layers)}")
    wanted = tuple(sorted(set(wanted), key=network.depth))
    preprocessing = network.preprocessing
    store = RawAudioDecoder(None if rate == "native" else preprocessing.sample_rate, channel or preprocessing.channel)
    sequences = sequences or pooling == "none"
    identity = {
        "student": network.identity,
        "sounds": manifest.identity,
        "settings": {
            "preprocessing": asdict(preprocessing) | asdict(store),
            "layers": list(wanted),
            "pooling": pooling,
            "sequences": sequences,
        },
        "versions": versions(),
    }
    parts_folder = out.with_name(f"{out.name}.parts")
    if out.exists():
        return _found(out, identity, parts_folder)
    with lock_folder(parts_folder):
        if out.exists():
            # Another run has finished since.
            return _found(out, identity, parts_folder)
        ensure_same_settings(parts_folder / "identity.json", identity)
        extractor = FeatureExtractor(network.to(choose_device(device)), wanted, pooling)
        parts = write_parts(parts_folder, extractor, store, sequences, manifest, batch_size, workers, deadline_minutes)
        failures = {clip_id: reason for part in parts for clip_id, reason in part_failures(part).items()}
        clips = [clip for clip in manifest.clips if clip.id not in failures]
        write_failures(failures_file(out), failures)
        if clips:
            fields = {layer: network.receptive_field(layer) for layer in wanted}
            steps = {layer: field.stride for layer, field in fields.items() if field is not None}
            join_parts(
                out,
                parts,
                clips,
                manifest.class_names,
                failures,
                identity,
                manifest.columns,
                steps,
                manifest.folds_from,
                manifest.split_column,
            )
        _remove(parts_folder)
    if not clips:
        raise none_readable(f"{len(manifest)} sounds", failures, failures_file(out))
    return ExtractResult(out, len(clips), wanted, failures)


def _found(out: Path, identity: Mapping[str, Any], parts_folder: Path) -> ExtractResult:
    """Return what lies there already, if it is what is wanted."""
    with FeatureCache(out) as cache:
        require_equal(str(out), cache.identity, identity)
        # A run that was killed when it had just finished leaves its parts.
        if parts_folder.exists():
            _remove(parts_folder)
        write_failures(failures_file(out), cache.failures)
        return ExtractResult(out, len(cache.ids), cache.layers, cache.failures, found=True)


def _remove(parts_folder: Path) -> None:
    """Remove the parts, the last ones first, so that what a kill leaves is the start; then what says whose they are."""
    for part in sorted(parts_folder.glob("part-*.h5"), reverse=True):
        part.unlink(missing_ok=True)
    shutil.rmtree(parts_folder, ignore_errors=True)


def _check(pooling: str, rate: str, channel: str | None, batch_size: int, workers: int | None) -> None:
    for name, value, known in (
        ("pooling", pooling, get_args(PoolingOrNone)),
        ("rate", rate, ("model", "native")),
        ("channel", channel, (None, *get_args(Channel))),
    ):
        if value not in known:
            raise SettingsError(f"{name} is {value!r}; it is one of {', '.join(filter(None, known))}")
    if batch_size < 1:
        raise SettingsError(f"batch_size is {batch_size}; a batch has at least one sound")
    if workers is not None and workers < 0:
        raise SettingsError(f"workers is {workers}; it is at least 0, which decodes in turn")
