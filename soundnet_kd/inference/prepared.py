"""The one place where a network is made ready to be run: folded, on its device, by one engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soundnet_kd.inference.backends import (
    Backend,
    BackendOrAuto,
    Compiled,
    Precision,
    backend_version,
    choose_backend,
    compile_module,
)
from soundnet_kd.inference.folded import FoldedSoundNet
from soundnet_kd.inference.folded_log_mel import FoldedLogMelCNN
from soundnet_kd.inference.folded_student import FoldedStudent
from soundnet_kd.inference.pool import Pooling, pool_pieces
from soundnet_kd.models import FinetunedNetwork, LogMelCNN, Network, SoundNet, Student
from soundnet_kd.models.layers import over_rows

SOUNDS_WORTH_AN_ENGINE = 64
"""To make a network ready takes another engine seconds, in which PyTorch hears as many sounds."""


@dataclass(frozen=True)
class Engine:
    """What is to run a network.

    Attributes
    ----------
    backend : str
        auto is PyTorch for students, whose convolutions it computes here as fast as the others do; for any
        other network what `choose_backend` gives, if there are many sounds.
    precision : {"32", "bf16"}
    """

    backend: BackendOrAuto = "torch"
    precision: Precision = "32"

    def choose(self, network: Network, sounds: int) -> Backend:
        """Return the back end for a network on its device, by how many sounds it is to hear.

        Raises
        ------
        SettingsError
            If it does not exist, is not installed, or does not run there.
        """
        chosen = choose_backend(self.backend, next(network.parameters()).device, self.precision)
        few = network.trunk is not None or sounds < SOUNDS_WORTH_AN_ENGINE
        return "torch" if self.backend == "auto" and few else chosen


class PreparedNetwork:
    """Layers of a network that learns no more.

    Layers over rows of frequencies give the means of these.

    Parameters
    ----------
    network : Network
        In evaluation mode, on its device; what it learns later does not come here.
    layers : sequence of str
    poolings : sequence of {"mean", "max", "std"}
        What `pooled` gives of each layer.
    engine : Engine
    sounds : int
        About how many it is to hear.

    Attributes
    ----------
    folded : FoldedStudent or None
        The student whose layers these are, for sounds that come in segments.

    Raises
    ------
    SettingsError
        If there is no such layer, or the engine cannot be had.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[str],
        poolings: Sequence[Pooling] = (),
        engine: Engine | None = None,
        sounds: int = 1,
    ) -> None:
        engine = engine or Engine()
        self.network = network
        self.layers = tuple(layers)
        self.poolings = tuple(poolings)
        self.device, self.dtype = next(network.parameters()).device, next(network.parameters()).dtype
        self.precision = engine.precision
        self.folded: FoldedStudent | None = None
        self._answered = isinstance(network, FinetunedNetwork) and network.output_layer in layers
        if network.trunk is not None:
            below = [layer for layer in layers if layer != network.output_layer or network is network.trunk]
            if self._answered:
                assert isinstance(network, FinetunedNetwork)
                below += [layer for layer in network.head_layers if layer not in below]
            self.folded = fold(network.trunk, below, engine.precision)
        self.backend = engine.choose(network, sounds)
        self._compiled: Compiled | None = None
        if self.backend != "torch" or self.folded is None:
            asked = network.preprocessing
            fields = [field for layer in layers if (field := network.receptive_field(layer)) is not None]
            least = max(asked.least_samples, *(field.samples for field in fields)) if fields else asked.least_samples
            free = {0: ("batch", 1)}
            if asked.segment_samples(2 * asked.least_samples) != asked.least_samples:
                free[2] = ("samples", least)
            module = _Layers(network, self.layers)
            example = torch.randn(2, 1, least, device=self.device) * asked.amplitude
            self.backend, self._compiled = compile_module(module, example, self.backend, engine.precision, free)
            if self.backend == "torch" and self.folded is not None:
                # Where an engine cannot.
                self._compiled = None

    @property
    def made_by(self) -> str:
        """The engine and its version, and the precision where that is not 32 bit."""
        precision = "" if self.precision == "32" else f" in {self.precision}"
        return f"{self.backend} {backend_version(self.backend)}{precision}"

    @torch.inference_mode()
    def __call__(self, waveform: Tensor) -> dict[str, Tensor]:
        """Return the layers, (batch, channels, steps) each, of preprocessed waveforms (batch, 1, samples).

        Raises
        ------
        TooShortError
            If there are too few samples for a layer.
        """
        if self._compiled is not None:
            return dict(zip(self.layers, self._compiled(waveform), strict=True))
        assert self.folded is not None
        found = self.folded(waveform.to(self.device))
        if self._answered:
            network = self.network
            assert isinstance(network, FinetunedNetwork)
            found[network.output_layer] = network.answer_to(found)[:, :, None]
        return {layer: found[layer] for layer in self.layers}

    @torch.inference_mode()
    def pooled(self, waveform: Tensor, repeats: int = 1) -> dict[str, list[NDArray[np.float32]]]:
        """Return a student's layers pooled over time in each way, (batch, channels), of sounds that are repeated.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32
            Preprocessed, but for being repeated.
        repeats : int
            How often each is heard.

        Raises
        ------
        TooShortError
            If there are too few samples for a layer.
        """
        if self._compiled is not None:
            steps = self(waveform.repeat(1, 1, repeats))
            return {layer: pool_pieces([(each, 1)], self.poolings) for layer, each in steps.items()}
        assert self.folded is not None
        waveform = waveform.to(self.device)
        if not self._answered:
            return self.folded.pooled(waveform, repeats, self.poolings)
        network = self.network
        assert isinstance(network, FinetunedNetwork)
        every = tuple(dict.fromkeys((*self.poolings, *network.head_poolings)))
        below = self.folded.pooled(waveform, repeats, every)
        of_head = [
            torch.from_numpy(below[layer][every.index(pooling)]).to(self.device, self.dtype)
            for layer in network.head_layers
            for pooling in network.head_poolings
        ]
        answer = network.answer(of_head)[:, :, None]
        found = {layer: [below[layer][every.index(each)] for each in self.poolings] for layer in below}
        found[network.output_layer] = pool_pieces([(answer, 1)], self.poolings)
        return {layer: found[layer] for layer in self.layers}


def fold(student: Student, layers: Sequence[str], precision: Precision) -> FoldedStudent:
    """Return what computes layers of a student that learns no more."""
    if isinstance(student, SoundNet):
        return FoldedSoundNet(student, layers, precision)
    assert isinstance(student, LogMelCNN)
    return FoldedLogMelCNN(student, layers, precision)


class _Layers(nn.Module):
    """A network whose forward gives layers in their order.

    They are pooled outside: engines sum float32 one after the other, which over a minute of conv1 costs 5e-5.
    """

    def __init__(self, network: Network, layers: Sequence[str]) -> None:
        super().__init__()
        self.network, self.layers = network, layers

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Compute the layers of (batch, 1, samples)."""
        answers = self.network(waveform, self.layers)
        return tuple(over_rows(answers[layer]) for layer in self.layers)
