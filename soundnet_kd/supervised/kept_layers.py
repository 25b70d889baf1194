"""The layers of a network that stay as they are, computed once for every sound and kept in the folder of a run.

A file is about so many sounds, in their order, and whole or absent: `SOUND/VERSION`, (channels, steps) float32; its
attribute `identity` says what made it. A version is a speed, and at each of these the sound as it is or varied.
"""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.features.extractor import FeatureExtractor
from soundnet_kd.features.reading import batches_of_equal_length
from soundnet_kd.hdf5 import OpenHdf5, open_hdf5
from soundnet_kd.media import RawAudioFile
from soundnet_kd.models.device import choose_device
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.storage import atomic_write, rename_damaged
from soundnet_kd.training.augmentation import Augmentation
from soundnet_kd.training.segments import at_speed

log = logging.getLogger(__name__)

SOUNDS_OF_FILE = 256
"""A run that is killed computes so many sounds again, at most."""
AT_ONCE = 8
"""Sounds of equal length that go through the network together."""


@dataclass(frozen=True)
class Versions:
    """What is heard of each sound.

    Attributes
    ----------
    speeds : tuple of float
    draws : int
        At each speed: the sound as it is, then others of another level and with noise, as `augmentation` draws them.
    samples : int
        A shorter one is repeated up to this length.
    augmentation : Augmentation
        With `shift`, the whole sound is heard, else its beginning only.
    seed : int
        Of the draws.
    """

    speeds: tuple[float, ...]
    draws: int
    samples: int
    augmentation: Augmentation
    seed: int

    def __len__(self) -> int:
        return len(self.speeds) * self.draws

    def hear(self, sound: RawAudioFile, number: int, version: int, sample_rate: int) -> NDArray[np.float32]:
        """Return a version of a sound, (samples,) in ±1."""
        speed, draw = self.speeds[version // self.draws], version % self.draws
        waveform = at_speed(sound.read(), sample_rate, speed)
        whole = self.augmentation.shift and len(waveform) > self.samples
        waveform = waveform if whole else np.resize(waveform, self.samples)
        if draw:
            rng = np.random.default_rng((self.seed, number, version))
            own = Augmentation(gain_db=self.augmentation.gain_db, noise=self.augmentation.noise)
            unmixed = (waveform, {"": np.zeros((1, 1), np.float32)})
            waveform, _ = own(unmixed, lambda: unmixed, sample_rate, rng)
        return waveform


class KeptLayers:
    """What was kept, open for reading.

    Parameters
    ----------
    files : sequence of Path
    ids : sequence of str
        Of the sounds, in the order of the files.
    heard : Versions
    """

    def __init__(self, files: Sequence[Path], ids: Sequence[str], heard: Versions) -> None:
        self.versions = len(heard)
        self.as_they_are = range(0, len(heard), heard.draws)
        """The versions, one of each speed, of an own level and without noise."""
        self.holds_whole_sounds = heard.augmentation.shift
        self.number_of: Mapping[str, int] = {name: number for number, name in enumerate(ids)}
        self._files = [OpenHdf5(file) for file in files]

    def read(self, sound: int, version: int) -> NDArray[np.float32]:
        """Return the steps of a sound, (channels, steps) float32."""
        steps: NDArray[np.float32] = self._files[sound // SOUNDS_OF_FILE].file[f"{sound}/{version}"][:]
        return steps

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def keep_layers(
    network: FinetunedNetwork,
    sounds: Mapping[str, RawAudioFile],
    versions: Versions,
    identity: Mapping[str, Any],
    folder: Path,
    device: str,
) -> KeptLayers:
    """Compute the last layer that stays as it is for all versions of all sounds, as far as it is not there.

    Parameters
    ----------
    network : FinetunedNetwork
    sounds : mapping from id to RawAudioFile
    versions : Versions
    identity : mapping
        What made the sounds and the network; a file of another one is made again.
    folder : Path
    device : str
        As in `choose_device`.
    """
    ids = sorted(sounds)
    groups = [ids[first : first + SOUNDS_OF_FILE] for first in range(0, len(ids), SOUNDS_OF_FILE)]
    files = [folder / f"part-{number:05d}.h5" for number in range(len(groups))]
    made_by = [json.dumps({**identity, "sounds": group}, sort_keys=True) for group in groups]
    missing = [number for number, file in enumerate(files) if not _is_kept(file, made_by[number])]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        log.info(
            "%s of %d sounds, %d versions of each, takes %.2g GB in %s until the run ends",
            network.frozen_layer,
            len(ids),
            len(versions),
            _bytes_of(network, sounds.values(), versions) / 1e9,
            folder,
        )
        # Versions have their length already.
        trunk = deepcopy(network.network)
        trunk.preprocessing = replace(trunk.preprocessing, least_samples=1)
        extractor = FeatureExtractor(trunk.to(choose_device(device)).eval(), [str(network.frozen_layer)], "none")
        assert extractor.prepared.folded is not None
        extractor.prepared.folded.keeps_rows = True
        total, left = len(ids), sum(len(groups[number]) for number in missing)
        with tqdm(
            total=total * len(versions), initial=(total - left) * len(versions), desc="frozen layers", unit="sound"
        ) as progress:
            for number in missing:
                with atomic_write(files[number]) as partial, open_hdf5(partial, "w") as file:
                    file.attrs["identity"] = made_by[number]
                    first = number * SOUNDS_OF_FILE
                    for name, steps in _compute(extractor, [sounds[each] for each in groups[number]], first, versions):
                        file[name] = steps
                        progress.update()
    return KeptLayers(files, ids, versions)


def _compute(
    extractor: FeatureExtractor, sounds: Sequence[RawAudioFile], first: int, versions: Versions
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Return the name and the steps of all versions of sounds, of which the first has this number."""
    rate = extractor.network.preprocessing.sample_rate
    for version in range(len(versions)):
        heard = (
            (number, versions.hear(sound, number, version, rate)) for number, sound in enumerate(sounds, start=first)
        )
        for batch in batches_of_equal_length(heard, AT_ONCE, extractor.longest):
            found = torch.cat([each.cpu() for _, each in extractor.stream(list(batch.values()))], dim=2).numpy()
            for steps, number in zip(found, batch, strict=True):
                yield f"{number}/{version}", steps


def _bytes_of(network: FinetunedNetwork, sounds: Iterable[RawAudioFile], versions: Versions) -> int:
    layer, shortest = str(network.frozen_layer), versions.samples
    steps = sum(
        network.network.steps(
            max(math.ceil(len(sound) / speed), shortest) if versions.augmentation.shift else shortest, layer
        )
        for sound in sounds
        for speed in versions.speeds
    )
    return 4 * steps * math.prod(network.network.shape(layer)) * versions.draws


def _is_kept(file: Path, made_by: str) -> bool:
    """Return whether a file holds what was asked for; a damaged one gets another name."""
    if not file.is_file():
        return False
    try:
        with open_hdf5(file) as found:
            return bool(found.attrs.get("identity") == made_by)
    except OSError:
        rename_damaged(file, "its sounds are heard again")
        return False
