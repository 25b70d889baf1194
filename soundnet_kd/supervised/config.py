"""A recipe of a network from scratch: a data set, a front end, a network, how pieces are drawn, how it is trained."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from soundnet_kd.data.datasets.registry import LAYOUTS, Layout
from soundnet_kd.data.voice_activity import VoiceActivity
from soundnet_kd.errors import SettingsError, TooShortError, nearest
from soundnet_kd.models.classifiers import CLASSIFIERS, SoundClassifier
from soundnet_kd.models.preprocessing import ClipPreprocessing
from soundnet_kd.training.optimization import TrainingConfig
from soundnet_kd.training.segments import SAMPLINGS, Pieces, Sampling


@dataclass(frozen=True)
class Evaluation:
    """What is told of the trained network.

    Attributes
    ----------
    top : int
        Where sounds have several tags: how many of the first tags count as found.
    galleries : bool
        Draw the waveforms of each class that the network is sure of, those it is sure are another, and those between.
    """

    top: int = 5
    galleries: bool = False


@dataclass(frozen=True)
class ExperimentConfig:
    """A recipe as its file has it.

    Attributes
    ----------
    about : str
        What it does and which numbers it gives.
    data : mapping of one
        The layout of the data set, with its settings.
    network : mapping of one
        The network, with its settings; among these `preprocessing`, where it is not the network's own.
    training : mapping
        How it is trained.
    front_end : list of mappings, optional
        The steps that come before the network, each a `name` with its settings; the network's own, if not given.
    sampling : mapping of one, optional
        How pieces of sound are drawn, with its settings.
    voice_activity : mapping, optional
        Cut off the silence before and after the voice of each sound, with these settings ({} takes the usual ones);
        nothing is cut, if not given.
    evaluation : mapping, optional
        What is told of the trained network.
    seeds : list of int, optional
        For each a network is trained and tested; it draws the split, the first weights and the order.
    """

    about: str
    data: Layout
    network: str
    settings: Mapping[str, Any]
    preprocessing: ClipPreprocessing | None
    training: TrainingConfig
    sampling: Sampling = field(default_factory=Pieces)
    voice_activity: VoiceActivity | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    seeds: tuple[int, ...] = (0,)

    def build(self, class_names: Sequence[str]) -> SoundClassifier:
        """Build the network, with random weights.

        Raises
        ------
        SettingsError
            If a setting of it is wrong.
        """
        kind: Callable[..., SoundClassifier] = CLASSIFIERS[self.network]
        try:
            network = kind(class_names, self.preprocessing, **self.settings)
        except TypeError as error:
            known = [name for name in inspect.signature(kind).parameters if name != "class_names"]
            wrong = next((name for name in self.settings if name not in known), None)
            if wrong is None:
                raise
            raise SettingsError(f"network.{self.network} has no key {wrong!r}{nearest(wrong, known)}") from error
        self._require_fitting(network)
        return network

    def _require_fitting(self, network: SoundClassifier) -> None:
        """Check that the network can learn from what it will be given: pieces of a length, so many at once."""
        asked = network.preprocessing
        samples = self.sampling.samples(asked.sample_rate, asked.least_samples)
        where = f"sampling.{_name_of(self.sampling, SAMPLINGS)}.seconds"
        if samples < 1:
            raise SettingsError(f"{where} is less than a sample at {asked.sample_rate} Hz; set it higher")
        if asked.exact and samples != asked.least_samples:
            raise SettingsError(
                f"{where} makes pieces of {samples} samples, but {self.network} hears {asked.least_samples}, neither "
                f"more nor less; set {where} to {asked.least_samples / asked.sample_rate!r}, or "
                f"network.{self.network}.preprocessing.least_samples to {samples}"
            )
        single = self.training.batch_size == 1
        try:
            # Batch norm tells only in training whether it has anything to compare.
            with torch.no_grad():
                copy.deepcopy(network).train(single).logits(torch.zeros(1, 1, samples))
        except (TooShortError, RuntimeError) as error:
            raise SettingsError(f"{where}: {self.network} cannot hear pieces of {samples} samples ({error})") from error
        except ValueError as error:
            if not single:
                raise
            raise SettingsError(
                f"training.batch_size is 1, but {self.network} has batch norm over single numbers of a sound, which "
                "compares the sounds of a batch; set it to 2 or more"
            ) from error

    @property
    def identity(self) -> dict[str, Any]:
        """What tells a run of this recipe from others, as JSON holds it."""
        return {
            "data": {_name_of(self.data, LAYOUTS): asdict(self.data)},  # type: ignore[call-overload]
            "network": {self.network: dict(self.settings)},
            "preprocessing": self.preprocessing and asdict(self.preprocessing),
            "training": asdict(self.training),
            "sampling": {_name_of(self.sampling, SAMPLINGS): asdict(self.sampling)},  # type: ignore[call-overload]
            "evaluation": asdict(self.evaluation),
            "seeds": list(self.seeds),
            # Named only where it is asked for: a run without it is the one that it was before there was such a key.
            **({} if self.voice_activity is None else {"voice_activity": asdict(self.voice_activity)}),
        }


def _name_of(thing: object, kinds: Mapping[str, type]) -> str:
    return next(name for name, kind in kinds.items() if type(thing) is kind)
