"""A network as others run it: a sound in ±1 in, chosen layers and answers out, and what a file says of it."""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, TooShortError, nearest
from soundnet_kd.models import ClipPreprocessing, FinetunedNetwork, Network
from soundnet_kd.models.layers import over_rows
from soundnet_kd.models.preprocessing import MAX_VALUE

StepPooling = Literal["mean", "max", "std", "none"]
Answers = Literal["probabilities", "logits"]


@dataclass(frozen=True)
class Choice:
    """What a portable network is to take and give.

    Attributes
    ----------
    outputs : tuple of str
        Layers and heads, by name.
    pooling : {"mean", "max", "std", "none"}
        What becomes of a layer's steps over time.
    answers : {"probabilities", "logits"}
        What heads give.
    fill : bool
        Whether short sounds are brought to the length that the network asks for.
    """

    outputs: tuple[str, ...]
    pooling: StepPooling = "mean"
    answers: Answers = "probabilities"
    fill: bool = True


class PortableNetwork(nn.Module):
    """A network with its preprocessing before it and what is wanted of it behind it.

    It maps sounds (batch, samples) in ±1, mono and at the network's rate, to the outputs by name, in the order in which
    they were asked for: of a layer (batch, channels), or (batch, channels, steps) where it is not pooled; of a head
    (batch, classes), or (batch, classes, steps) of a student.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    choice : Choice

    Raises
    ------
    SettingsError
        If there is no such layer or head, none is asked for, or one is named twice.
    """

    def __init__(self, network: Network, choice: Choice) -> None:
        super().__init__()
        for name, value, known in (
            ("pooling", choice.pooling, get_args(StepPooling)),
            ("answers", choice.answers, get_args(Answers)),
        ):
            if value not in known:
                raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(known)}")
        known = (*network.heads, *network.layers)
        for output in choice.outputs:
            if output not in known:
                raise SettingsError(f"{network.architecture} has no layer or head {output!r}{nearest(output, known)}")
        if not choice.outputs or len(set(choice.outputs)) < len(choice.outputs):
            raise SettingsError(f"outputs are {list(choice.outputs)}; name some of {', '.join(known)}, each once")
        self.network, self.choice = network, choice
        heads = {network.output_layer} if set(choice.outputs) & set(network.heads) else set()
        self.layers = tuple(sorted({*heads, *set(choice.outputs) - set(network.heads)}, key=network.depth))

    @property
    def least_samples(self) -> int:
        """The shortest sound that it takes."""
        if self.choice.fill:
            return 1
        trunk, asked = self.network.trunk, self.network.preprocessing
        if trunk is None:
            return 1 if self._takes(1) else asked.least_samples
        heard = set(self.layers)
        if isinstance(self.network, FinetunedNetwork) and self.network.output_layer in heard:
            heard |= {*self.network.head_layers} - {self.network.output_layer}
        layer = max(heard.intersection(trunk.layers), key=trunk.depth)
        return 1 + bisect_left(range(1, MAX_VALUE), 1, key=lambda samples: trunk.steps(samples, layer))

    @torch.no_grad()
    def _takes(self, samples: int) -> bool:
        try:
            self.network(torch.zeros(1, 1, samples), self.layers)
        except TooShortError:
            return False
        return True

    @property
    def has_free_length(self) -> bool:
        """Whether it takes sounds of any length from `least_samples` on."""
        asked = self.network.preprocessing
        return self.choice.fill or not (isinstance(asked, ClipPreprocessing) and asked.exact)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """Compute the outputs of sounds (batch, samples) float32."""
        found = self.network(self._prepared(waveform)[:, None], self.layers)
        return {output: self._output(output, found) for output in self.choice.outputs}

    def _prepared(self, waveform: Tensor) -> Tensor:
        asked = self.network.preprocessing
        if not self.choice.fill:
            return asked.amplify(waveform)
        if not isinstance(asked, ClipPreprocessing):
            return asked.amplify(_tiled(waveform, asked.least_samples))
        if asked.exact:
            return _followed_by_silence(asked.amplify(_cut(waveform, asked.least_samples)), asked.least_samples, True)
        return _followed_by_silence(asked.amplify(waveform), asked.least_samples)

    def _output(self, output: str, found: Mapping[str, Tensor]) -> Tensor:
        if output in self.network.heads:
            sizes = [len(names) for names in self.network.class_names.values()]
            logits = torch.split(found[self.network.output_layer], sizes, dim=1)[
                list(self.network.class_names).index(output)
            ]
            if self.network.trunk is not self.network:
                logits = logits.squeeze(2)
            return self.network.probabilities(logits) if self.choice.answers == "probabilities" else logits
        steps = found[output]
        if self.choice.pooling == "none":
            return steps
        steps = over_rows(steps)
        match self.choice.pooling:
            case "mean":
                return steps.mean(dim=2)
            case "max":
                return steps.amax(dim=2)
            case "std":
                return steps.var(dim=2, unbiased=False).sqrt()

    def description(self) -> dict[str, Any]:
        """Say what it is, what it takes and what it gives, as JSON can hold it."""
        asked = self.network.preprocessing
        filling = ("repeat" if asked.repeats else "silence") if self.choice.fill else "none"
        return {
            "architecture": self.network.architecture,
            "kind": self.network.kind,
            "fingerprint": self.network.fingerprint(),
            "sample_rate": asked.sample_rate,
            "channel": asked.channel,
            "input": "waveform: (batch, samples) float32, mono in ±1 at sample_rate",
            "filling": filling,
            "filled_samples": asked.least_samples if self.choice.fill else 0,
            "least_samples": self.least_samples,
            "class_names": {head: list(names) for head, names in self.network.class_names.items()},
            "outputs": {output: self._describe(output) for output in self.choice.outputs},
        }

    def _describe(self, output: str) -> dict[str, Any]:
        is_head = output in self.network.heads
        layer = self.network.output_layer if is_head else output
        field = self.network.receptive_field(layer)
        steps = {"stride": field.stride, "field": field.samples, "start": field.start} if field is not None else {}
        if is_head:
            return {"head": output, "values": self.choice.answers, **steps}
        return {"layer": output, "channels": self.network.channels(output), "pooling": self.choice.pooling, **steps}


def as_texts(description: Mapping[str, Any]) -> dict[str, str]:
    """Return a description as formats keep it: what is no text, in JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in description.items()
    }


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what `as_texts` made texts of."""
    description: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            description[key] = json.loads(text)
        except ValueError:
            description[key] = text
    return description


def _tiled(waveform: Tensor, samples: int) -> Tensor:
    """Repeat sounds as `tile_to` does, whose length is known only when the graph runs."""
    given, wanted = _scalar(waveform.shape[1]), _scalar(samples)
    repeats = torch.where(given < wanted, torch.div(wanted, given, rounding_mode="trunc") + 1, 1)
    places = _places(repeats * given, samples)
    return waveform.index_select(1, torch.remainder(places, given))


def _cut(waveform: Tensor, samples: int) -> Tensor:
    """Cut off what sounds have beyond a length."""
    return waveform.index_select(1, _places(torch.minimum(_scalar(waveform.shape[1]), _scalar(samples)), 1))


def _followed_by_silence(waveform: Tensor, samples: int, exact: bool = False) -> Tensor:
    """Bring sounds to a length at least, or to just this one if none is longer."""
    given = _scalar(waveform.shape[1])
    places = torch.arange(samples) if exact else _places(torch.maximum(given, _scalar(samples)), samples)
    return waveform.index_select(1, torch.minimum(places, given - 1)) * (places < given)


def _places(length: Tensor, least: int) -> Tensor:
    """Return 0, 1, … as far as a length, of which a graph knows only the least."""
    found: Any = length.item()
    torch._check(found >= least)
    return torch.arange(found)


def _scalar(value: int) -> Tensor:
    return torch.scalar_tensor(value, dtype=torch.int64)
