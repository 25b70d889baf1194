"""What all networks for labelled sounds are: named layers over the raw waveform, the last of which are the logits."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models.front_ends import FrontEndChain
from soundnet_kd.models.front_ends.chain import Step
from soundnet_kd.models.layers import field_after
from soundnet_kd.models.network import HEAD, OUTPUT, Network, state_sha256
from soundnet_kd.models.preprocessing import ClipPreprocessing, as_input
from soundnet_kd.models.receptive_field import ReceptiveField

FRONT_END = "front_end"
"""Name of its first layer, where it does not take the waveform itself."""


class SoundClassifier(Network):
    """A stack of named stages and a linear layer that gives one logit for each class.

    A subclass adds its stages, each under the name of a layer, in its constructor and ends it with `add_answer`. The
    keys of `state_dict` begin with the names of the layers. The parameters of its constructor besides the first two are
    its own settings, which it gives to this one.

    Parameters
    ----------
    class_names : sequence of str
        One for each logit. A single one makes a binary network: the sigmoid of its logit is the probability of it.
    preprocessing : ClipPreprocessing
        What the input must have gone through, and how long it is; kept with the weights.
    front_end : sequence of mapping, optional
        Steps of a `FrontEndChain`, the first layer.
    **settings
        All else that the subclass was made with.
    """

    kind = "classifier"

    preprocessing: ClipPreprocessing

    def __init__(
        self,
        class_names: Sequence[str],
        preprocessing: ClipPreprocessing,
        front_end: Sequence[Step] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if not class_names or isinstance(class_names, str):
            raise SettingsError(f"class_names is {class_names!r}; give a list of one name or more")
        self.preprocessing = preprocessing
        self.class_names = {HEAD: tuple(class_names)}
        self._settings = settings
        self._channels: dict[str, int] = {}
        if front_end is not None:
            chain = FrontEndChain(front_end, preprocessing.sample_rate)
            self.add_stage(FRONT_END, chain, channels=1)
            self._settings[FRONT_END] = chain.description

    def add_stage(self, layer: str, module: nn.Module, channels: int) -> None:
        """Add a layer behind those that there are.

        Parameters
        ----------
        layer : str
        module : Module
            Gives (batch, channels), (batch, channels, steps) or (batch, channels, rows, steps).
        channels : int
        """
        self.add_module(layer, module)
        self._channels[layer] = channels

    @torch.no_grad()
    def flat_size(self) -> int:
        """Return how many numbers the stages so far make of one sound of the exact length.

        Raises
        ------
        SettingsError
            If sounds have no exact length, or there is nothing left of it.
        """
        asked = self.preprocessing
        if not asked.exact:
            raise SettingsError(
                f"{type(self).__name__} has weights for every moment of its input; its preprocessing has to be exact"
            )
        training = self.training
        try:
            hidden = torch.zeros(1, 1, asked.least_samples)
            for stage in self.eval().children():
                if isinstance(stage, FrontEndChain):
                    rows = (stage.rows,) if stage.rows else ()
                    hidden = torch.zeros(1, 1, *rows, stage.steps(asked.least_samples))
                else:
                    hidden = stage(hidden)
        except RuntimeError as error:
            raise SettingsError(
                f"{type(self).__name__} cannot hear {asked.least_samples} samples at {asked.sample_rate} Hz "
                f"({' '.join(str(error).split())}); give it longer sounds (preprocessing.least_samples)"
            ) from error
        self.train(training)
        return hidden.numel()

    def add_answer(self, hidden: int) -> None:
        """Add the linear layer behind a last stage that gives (batch, hidden), and draw the first weights."""
        classes = len(self.class_names[HEAD])
        self.add_stage(OUTPUT, nn.ModuleDict({HEAD: nn.Linear(hidden, classes)}), classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew as Keras, Lasagne and TensorFlow do: Glorot uniform, biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.GRU):
                module.reset_parameters()

    @property
    def settings(self) -> dict[str, Any]:
        """What `build_classifier` makes the same network from, as JSON can hold it."""
        return {
            "class_names": list(self.class_names[HEAD]),
            "preprocessing": asdict(self.preprocessing),
            **self._settings,
        }

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""
        return tuple(self._channels)

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        """The linear head."""
        return {HEAD: self._stage(OUTPUT)}

    def channels(self, layer: str) -> int:
        """Return the number of channels of a layer."""
        self.depth(layer)
        return self._channels[layer]

    def receptive_field(self, layer: str) -> ReceptiveField | None:
        """Return the receptive field of a layer's steps; None where each step depends on the whole input."""
        self.depth(layer)
        if layer == OUTPUT:
            return None
        field: ReceptiveField | None = ReceptiveField(samples=1, stride=1, start=0)
        for name in self.layers[: self.depth(layer) + 1]:
            field = field_after(self.get_submodule(name), field)
        return field

    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute layers, as every `Network` does; without `layers`, {"classes": logits (batch, classes)}.

        Raises
        ------
        TooShortError
            If the input has not as many samples as the network has weights for.
        """
        wanted = (OUTPUT,) if layers is None else tuple(layers)
        waveform = as_input(waveform, self)
        self._require_length(waveform.shape[-1])
        found: dict[str, Tensor] = {}
        hidden = waveform
        for layer in self.layers[: max(self.depth(layer) for layer in wanted) + 1]:
            hidden = self._stage(layer)(hidden)
            if layer in wanted:
                found[layer] = hidden if hidden.ndim > 2 else hidden[:, :, None]
        return {HEAD: hidden} if layers is None else found

    def fit_front_end(self, waveforms: Iterable[Tensor]) -> None:
        """Set the data set's mean and standard deviation where the front end standardises by them."""
        chain = dict(self.named_children()).get(FRONT_END)
        if isinstance(chain, FrontEndChain):
            device = next(self.parameters()).device
            chain.fit(waveform.to(device) for waveform in waveforms)

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what this network answers: weights, layout and preprocessing."""
        text = json.dumps([type(self).__name__, self.settings], sort_keys=True)
        return hashlib.sha256(f"{text}{state_sha256(self)}".encode()).hexdigest()

    def _stage(self, layer: str) -> nn.Module:
        return self.get_submodule(f"{OUTPUT}.{HEAD}" if layer == OUTPUT else layer)

    def _require_length(self, samples: int) -> None:
        asked = self.preprocessing
        if samples < 1 or (asked.exact and samples != asked.least_samples):
            wanted = f"{asked.least_samples}, neither more nor less" if asked.exact else "at least 1"
            raise TooShortError(
                f"{type(self).__name__} was given {samples} samples, but hears {wanted}; "
                "give each sound to its preprocessing first"
            )


def dense(inputs: int, outputs: int, *after: nn.Module) -> nn.Sequential:
    """Return a linear layer with ReLU, and what follows it."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), *after)


def average_over_time() -> nn.Sequential:
    """Return global average pooling, from (batch, channels, steps) to (batch, channels)."""
    return nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
