"""Joining the parts of a cache: what jobs share while they write them, and what is left when all are there.

While jobs share an extraction, `shared.h5` beside their parts is the cache as it will be, without layers, of all
sounds, and it holds `shards`, (shards, 3) int64: at which speed each is heard, as a place among the speeds, and which
of the sounds, first and end.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from soundnet_kd.data import Clip, Manifest
from soundnet_kd.errors import FormatError, counted, none_readable
from soundnet_kd.features.cache import FORMAT_VERSION, FeatureCache, pooled_name, poolings_in, read_failures
from soundnet_kd.features.cache_parts import (
    CACHE_COMPRESSION,
    append,
    computed_by,
    part_failures,
    write_failed,
    written_parts,
)
from soundnet_kd.hdf5 import open_hdf5
from soundnet_kd.media import address_of, place_name
from soundnet_kd.shards.jobs import Job, JobResult, JobsNote, claim
from soundnet_kd.shards.shard import Shard
from soundnet_kd.storage import (
    FAILURES_SUFFIX,
    atomic_write,
    failures_file,
    lock_folder,
    read_settings,
    rename_damaged,
    require_equal,
    versions,
    write_failures,
)
from soundnet_kd.system.machine_errors import machine_error

IDENTITY_FILE = "identity.json"
"""What the parts are of."""
SHARED_FILE = "shared.h5"
COPIED_BYTES = 1 << 26
"""Sequences of any length are joined in pieces of about this size."""


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
    job: JobResult | None = None
    """What one of several jobs did; there is no cache yet then."""

    def __str__(self) -> str:
        if self.job is not None:
            return str(self.job)
        if self.reading:
            return self.reading
        out = address_of(self.out) or self.out
        skipped = f", {len(self.failures)} skipped (see {out}{FAILURES_SUFFIX})" if self.failures else ""
        if self.found and self.failures:
            skipped += "; remove it to try them again"
        done = "there was already" if self.found else "wrote"
        return f"{done} {out}: {counted(len(self.layers), 'layer')} of {counted(self.clips, 'sound')}{skipped}"


def parts_folder(out: str | Path) -> Path:
    """Return where the parts of a cache are written."""
    out = Path(out)
    return out.with_name(f"{out.name}.parts")


def pass_folders(out: str | Path, speeds: Sequence[float]) -> list[Path]:
    """Return where the parts are written of each time that the sounds are heard, once at each speed."""
    first = parts_folder(out)
    return [first / f"speed-{speed:g}" if number else first for number, speed in enumerate(speeds)]


def begun_identity(out: str | Path) -> Mapping[str, Any] | None:
    """Return what the features are of that are there, or that were begun; None where there are none."""
    out = Path(out)
    if out.is_file():
        with suppress(FormatError), FeatureCache(out) as cache:
            return cache.identity
        return None
    return read_settings(parts_folder(out) / IDENTITY_FILE)


def found_cache(out: str | Path, identity: Mapping[str, Any]) -> ExtractResult:
    """Return what lies there already, if it is what is wanted.

    Raises
    ------
    RunConflictError
        If it is not.
    """
    out = Path(out)
    with FeatureCache(out) as cache:
        require_equal(str(out), cache.identity, identity)
        # A run that was killed when it had just finished leaves its parts.
        if parts_folder(out).exists():
            _remove(parts_folder(out))
        write_failures(failures_file(out), cache.failures)
        return ExtractResult(out, len(cache.ids), cache.layers, cache.failures, found=True)


def finish_cache(
    out: str | Path,
    passes: Sequence[Sequence[str | Path]],
    manifest: Manifest,
    identity: Mapping[str, Any],
    step_samples: Mapping[str, int],
) -> ExtractResult:
    """Write a cache of which all parts are there, and the table of what failed beside it, and remove the parts.

    The arguments are those of `join_parts`.

    Raises
    ------
    MediaError
        If not a single sound could be read.
    FormatError
        If a part is damaged, which is set aside.
    """
    out = Path(out)
    parts = [part for several in passes for part in several]
    identity = {**identity, "versions": versions() | {"computed by": computed_by(parts)}}
    failures = {clip: reason for part in parts for clip, reason in part_failures(part).items()}
    failures |= manifest.failures
    count = sum(clip.id not in failures for clip in manifest.clips)
    write_failures(failures_file(out), failures)
    if count:
        join_parts(out, passes, manifest, failures, identity, step_samples)
    _remove(parts_folder(out))
    if not count:
        raise none_readable(f"{len(manifest)} sounds", failures, failures_file(out))
    return ExtractResult(out, count, tuple(identity["settings"]["layers"]), failures)


def _remove(parts: Path) -> None:
    """Remove the parts, the last ones first, so that what a kill leaves is the start; then what says whose they are."""
    for part in sorted(parts.rglob("part-*.h5"), reverse=True):
        part.unlink(missing_ok=True)
    shutil.rmtree(parts, ignore_errors=True)


def join_parts(
    path: str | Path,
    passes: Sequence[Sequence[str | Path]],
    manifest: Manifest,
    failures: Mapping[str, str],
    identity: Mapping[str, Any],
    step_samples: Mapping[str, int] | None = None,
) -> None:
    """Write the cache from its parts, whole or not at all; a small piece of them at a time is in memory.

    Parameters
    ----------
    path : str or Path
    passes : sequence of sequences of str or Path
        The parts, in order, of each time that the sounds were heard. What was pooled is averaged over these.
    manifest : Manifest
        All sounds that the parts are about.
    failures : mapping from id to reason
        Those of them, and others, that the cache leaves out, since they failed in a pass.
    identity : mapping
        As in the cache.
    step_samples : mapping from layer to int, optional
        From one step to the next.
    """
    files = [[Path(part) for part in parts] for parts in passes]
    layers = identity["settings"]["layers"]
    with atomic_write(path) as partial, open_hdf5(partial, "w") as cache:
        _write_sounds(cache, manifest, failures, identity, step_samples or {})
        poolings = poolings_in(identity["settings"])
        for pooling in poolings:
            for layer in layers:
                _join_pooled(cache, files, pooled_name(layer, pooling, poolings), manifest.clips, failures)
        if identity["settings"]["sequences"]:
            (only,) = files
            for layer in layers:
                _join_sequences(cache, only, layer)


def _write_sounds(
    cache: h5py.File,
    manifest: Manifest,
    failures: Mapping[str, str],
    identity: Mapping[str, Any],
    step_samples: Mapping[str, int],
) -> None:
    """Write what a cache holds but for layers."""
    clips = [clip for clip in manifest.clips if clip.id not in failures]
    text = h5py.string_dtype()
    cache.attrs["format_version"] = FORMAT_VERSION
    cache.attrs["identity"] = json.dumps(identity)
    cache.attrs["step_samples"] = json.dumps(step_samples)
    if manifest.folds_from != 1:
        cache.attrs["folds_from"] = manifest.folds_from
    if manifest.split_column:
        cache.attrs["split_column"] = manifest.split_column
    cache["id"] = np.array([clip.id for clip in clips], dtype=text)
    cache["path"] = np.array([place_name(clip.path) for clip in clips], dtype=text)
    cache["label"] = np.array([clip.label for clip in clips], dtype=np.int64)
    cache["fold"] = np.array([clip.fold for clip in clips], dtype=np.int64)
    cache["class_names"] = np.array(list(manifest.class_names), dtype=text)
    if manifest.columns:
        cache["columns/name"] = np.array(list(manifest.columns), dtype=text)
        cache["columns/value"] = np.array([clip.carried for clip in clips], dtype=text)
    write_failed(cache, failures)
    cache.create_group("layers")


def _join_pooled(
    cache: h5py.File,
    passes: Sequence[Sequence[Path]],
    name: str,
    heard: Sequence[Clip],
    failures: Mapping[str, str],
) -> None:
    sounds = sum(clip.id not in failures for clip in heard)
    for parts in passes:
        begin = row = 0
        for path in parts:
            with _open_part(path) as part:
                about = heard[begin : begin + int(part.attrs["sounds"])]
                begin += len(about)
                if name not in part:
                    continue
                unread = read_failures(part)
                rows = part[name][:][[clip.id not in failures for clip in about if clip.id not in unread]]
            joined = cache.require_dataset(name, (sounds, rows.shape[1]), np.float32)
            joined[row : row + len(rows)] += rows / len(passes)
            row += len(rows)


def _join_sequences(cache: h5py.File, parts: Sequence[Path], layer: str) -> None:
    ends: list[int] = []
    for path in parts:
        with _open_part(path) as part:
            for number in sorted(part.get("sequences", ()), key=int):
                sequence = part[f"sequences/{number}/{layer}"]
                steps_at_once = max(1, COPIED_BYTES // (4 * sequence.shape[1]))
                for start in range(0, max(1, len(sequence)), steps_at_once):
                    append(cache, f"sequences/{layer}", sequence[start : start + steps_at_once], CACHE_COMPRESSION)
                ends.append(len(cache[f"sequences/{layer}"]))
    cache[f"step_end/{layer}"] = np.array(ends, dtype=np.int64)


@contextmanager
def _open_part(path: Path) -> Iterator[h5py.File]:
    """Open a part whose arrays are read.

    Raises
    ------
    FormatError
        If they cannot be; the part is set aside.
    """
    with open_hdf5(path) as part:
        try:
            yield part
        except OSError as error:
            if "Can't synchronously read data" not in str(error) or machine_error(error, path) is not None:
                raise
            reason = error
        else:
            return
    rename_damaged(path, "the same command hears its sounds again")
    raise FormatError(f"{path} is damaged ({reason}); run the same command again") from reason


def claim_shards(
    job: Job,
    out: str | Path,
    shards: Sequence[Sequence[Shard]],
    manifest: Manifest,
    identity: Mapping[str, Any],
    step_samples: Mapping[str, int],
) -> list[list[Shard]]:
    """Return the shards that all jobs share, which the first of them finds.

    Parameters
    ----------
    job : Job
    out : str or Path
        The cache that there will be.
    shards : sequence of sequences of Shard
        Those of each time that the sounds are heard, as this job cuts them.
    manifest, identity, step_samples
        As in `join_parts`.
    """
    folder = parts_folder(out)
    file = folder / SHARED_FILE

    def begin() -> None:
        rows = [(number, each.first, each.first + len(each)) for number, some in enumerate(shards) for each in some]
        with atomic_write(file) as partial, open_hdf5(partial, "w") as shared:
            _write_sounds(shared, manifest, manifest.failures, identity, step_samples)
            shared["shards"] = np.array(rows, dtype=np.int64).reshape(-1, 3)

    claim(folder, job, begin, file.exists)
    return _shards_of(file, manifest.clips, len(shards))


def _shards_of(file: Path, clips: Sequence[Clip], passes: int) -> list[list[Shard]]:
    """Read the shards that jobs share, of each time that the sounds are heard."""
    with open_hdf5(file) as shared:
        rows = shared["shards"][:].tolist()
    found: list[list[Shard]] = [[] for _ in range(passes)]
    for number, first, end in rows:
        some = clips[first:end]
        found[number].append(Shard(first, tuple(clip.id for clip in some), tuple(clip.path for clip in some)))
    return found


def join_features(out: str | Path) -> ExtractResult:
    """Join what jobs have extracted, as the run does that ends their work, without sounds and network.

    Parameters
    ----------
    out : str or Path
        The cache that there will be.

    Raises
    ------
    RunConflictError
        If jobs still run, or shards are missing.
    FormatError
        If no jobs share it, or those of an older version did, which did not note what they are.
    """
    out = Path(out)
    folder = parts_folder(out)
    file = folder / SHARED_FILE
    with lock_folder(folder):
        note = JobsNote.of(folder)
        if note is None or not file.exists():
            raise FormatError(
                f"the parts of {out} are of a run without --shard, or of jobs of an older version, which did not note "
                "what there is to join; run that command without --shard, which joins too"
            )
        with FeatureCache(file) as shared:
            identity, step_samples = shared.identity, shared.step_samples
            manifest = replace(shared.manifest, failures=shared.failures)
            speeds = shared.speeds
        passes, missing, count = [], [], 0
        shards = _shards_of(file, manifest.clips, len(speeds))
        for parts_of_pass, of_pass in zip(pass_folders(out, speeds), shards, strict=True):
            parts = written_parts(parts_of_pass)
            heard = np.zeros(len(manifest), bool)
            for about in parts.values():
                heard[about.start : about.stop] = True
            lacking = [
                (place, shard.ids[0])
                for place, shard in enumerate(of_pass)
                if not heard[shard.first : shard.first + len(shard)].all()
            ]
            if not lacking and not heard.all():
                raise FormatError(
                    f"parts in {parts_of_pass} are damaged that were written before jobs shared the rest; run the "
                    "command of the jobs without --shard, which hears their sounds again"
                )
            missing += lacking
            count += len(of_pass)
            passes.append(list(parts))
        note.require_done(out, missing, count)
        return finish_cache(out, passes, manifest, identity, step_samples)
