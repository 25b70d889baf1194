"""Sounds that are heard many times: each is decoded once."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from soundnet_kd.data import Manifest
from soundnet_kd.errors import MediaError
from soundnet_kd.media import DECODED_FOLDER, RawAudioDecoder, RawAudioFile, decode_in_processes
from soundnet_kd.storage import read_own_json, write_json
from soundnet_kd.system.workers import sound_decoders

SAMPLE_BYTES = 4
FAILURES = "failures.json"


def decode_sounds(
    manifest: Manifest, store: RawAudioDecoder, folder: Path
) -> tuple[Mapping[str, RawAudioFile], Mapping[str, str]]:
    """Decode the sounds of a data set into a folder, where they stay.

    Stopped and started again, it decodes only what is missing.

    Parameters
    ----------
    manifest : Manifest
    store : RawAudioDecoder
        How they are decoded; the same for a folder each time.
    folder : Path
        5 s at 22 050 Hz take 0.44 MB there.

    Returns
    -------
    sounds : mapping from id to RawAudioFile
        All sounds that could be read.
    failures : mapping from id to str
        Why the others could not.
    """
    places = {clip.id: folder / f"{hashlib.sha256(clip.id.encode()).hexdigest()[:32]}.f32" for clip in manifest.clips}
    done = folder / FAILURES
    told = read_own_json(done, (), "the sounds that are missing are decoded again")
    failures: dict[str, str] = told or {}
    missing = [clip for clip in manifest.clips if clip.id not in failures and not _is_whole(places[clip.id])]
    if told is None or missing:
        workers = sound_decoders(len(missing))
        with decode_in_processes(store, (clip.path for clip in missing), folder / DECODED_FOLDER, workers) as files:
            progress = tqdm(
                files, desc="decode", unit="sound", total=len(manifest), initial=len(manifest) - len(missing)
            )
            for clip, (_, file) in zip(missing, progress, strict=True):
                if isinstance(file, MediaError):
                    failures[clip.id] = str(file)
                    progress.set_postfix(skipped=len(failures))
                else:
                    with file.open("rb+") as handle:
                        os.fsync(handle.fileno())
                    file.replace(places[clip.id])
        write_json(done, failures)
    return {name: RawAudioFile(place) for name, place in places.items() if name not in failures}, failures


def _is_whole(place: Path) -> bool:
    """Tell whether a decoded sound is there; one that a crash of the machine cut off has no whole samples, or none."""
    return place.is_file() and place.stat().st_size > 0 and place.stat().st_size % SAMPLE_BYTES == 0
