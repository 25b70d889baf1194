"""The student networks of SoundNet (Aytar, Vondrick, Torralba, NIPS 2016): 1-D convolutions over the raw wave."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, TooShortError
from soundnet_kd.models.layers import FirstConv1d, convolve
from soundnet_kd.models.network import Network, state_sha256
from soundnet_kd.models.pooled_convolution import can_be_pooled_at_once, normalised_maxima
from soundnet_kd.models.preprocessing import Preprocessing, as_input
from soundnet_kd.models.receptive_field import Block, ReceptiveField


class SoundNet(Network):
    """A stack of named convolutions with one output convolution for each teacher.

    Layers are called `conv1`, `conv2` … (after ReLU), `pool1` … (after the max-pool, where a block has one); the last
    one, `conv8` in `SoundNet8`, is the output: the logits of all heads, one head after the other.

    The keys of `state_dict` are `convN.weight` (filters, filters_in, kernel), `convN.bias`, `batchnormN.*` for each
    block, and `convL.HEAD.weight`, `convL.HEAD.bias` for the output layer L.

    Parameters
    ----------
    heads : mapping from head to class names, or to the number of classes
        Such as `{"objects": 1000, "scenes": 401}`, as in the released network.
    preprocessing : Preprocessing
        What the input must have gone through; kept with the weights.
    """

    kind = "student"

    blocks: ClassVar[tuple[Block, ...]]
    output: ClassVar[Block]

    def __init__(
        self,
        heads: Mapping[str, int | Sequence[str]] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        heads = {"objects": 1000, "scenes": 401} if heads is None else heads
        self.preprocessing = preprocessing or Preprocessing()
        self.class_names = {
            name: tuple(f"{name} {index}" for index in range(classes)) if isinstance(classes, int) else tuple(classes)
            for name, classes in heads.items()
        }
        if not self.class_names or not all(self.class_names.values()):
            raise SettingsError("a student needs at least one head, and each head at least one class")
        first, channels = True, 1
        for number, block in enumerate(self.blocks, start=1):
            sizes = (block.filters, block.kernel, block.stride, block.padding)
            self.add_module(f"conv{number}", FirstConv1d(*sizes) if first else nn.Conv1d(channels, *sizes))
            self.add_module(f"batchnorm{number}", nn.BatchNorm1d(block.filters, eps=1e-5, momentum=0.1))
            first, channels = False, block.filters
        out = self.output
        self.add_module(
            self.output_layer,
            nn.ModuleDict(
                {
                    name: nn.Conv1d(channels, len(classes), out.kernel, out.stride, out.padding)
                    for name, classes in self.class_names.items()
                }
            ),
        )
        self.reset_parameters()

    @classmethod
    def depth_in_blocks(cls) -> int:
        """Return the number of blocks, the output's among them: 8 of `SoundNet8`."""
        return len(cls.blocks) + 1

    @property
    def output_layer(self) -> str:
        """Name of the last layer."""
        return f"conv{self.depth_in_blocks()}"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""
        names = []
        for number, block in enumerate(self.blocks, start=1):
            names.append(f"conv{number}")
            if block.pool > 1:
                names.append(f"pool{number}")
        return (*names, self.output_layer)

    @property
    def trunk(self) -> "SoundNet":
        """Itself."""
        return self

    @property
    def heads(self) -> Mapping[str, nn.Module]:
        """The output convolution of each head."""
        heads = self.get_submodule(self.output_layer)
        assert isinstance(heads, nn.ModuleDict)
        return dict(heads.items())

    def channels(self, layer: str) -> int:
        """Return the number of channels of a layer."""
        self.depth(layer)
        if layer == self.output_layer:
            return sum(len(classes) for classes in self.class_names.values())
        return self.blocks[block_number(layer) - 1].filters

    @classmethod
    def last_layer(cls, number: int) -> str:
        """Return the name of the last layer of a block: pool5 of the fifth of `SoundNet8`."""
        return f"pool{number}" if cls.blocks[number - 1].pool > 1 else f"conv{number}"

    def steps(self, samples: int, layer: str) -> int:
        """Return the number of time steps that a layer has for an input of `samples`."""
        self.depth(layer)
        for number, block in enumerate(self.blocks, start=1):
            convolved, pooled = block.steps(samples)
            if layer == f"conv{number}":
                return convolved
            if layer == f"pool{number}":
                return pooled
            samples = pooled
        return self.output.steps(samples)[0]

    def require_steps(self, samples: int, layer: str) -> None:
        """Check that a layer has a step for an input of `samples`.

        Raises
        ------
        TooShortError
            If it has none.
        """
        if self.steps(samples, layer) < 1:
            raise TooShortError(
                f"{samples} samples are too few for {layer}; let the student's preprocessing tile the "
                "sound (to its least_samples), or take shallower layers"
            )

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Return the receptive field of a layer's steps; a step's middle is at `start + i * stride + samples / 2`."""
        self.depth(layer)
        field = ReceptiveField(samples=1, stride=1, start=0)
        for number, block in enumerate((*self.blocks, self.output), start=1):
            field = field.after(block.kernel, block.stride, block.padding)
            if layer == f"conv{number}":
                break
            field = field.after(block.pool, block.pool)
            if layer == f"pool{number}":
                break
        return field

    def modules_before(self, layer: str) -> tuple[str, ...]:
        """Name the convolutions and batch norms of the layers before a layer."""
        depth = self.depth(layer)
        return tuple(name for name, _ in self.named_children() if self.depth(f"conv{block_number(name)}") < depth)

    def reset_parameters(self) -> None:
        """Draw all weights anew as in the paper: convolutions N(0, 0.01), batch norm N(1, 0.02), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.normal_(module.weight, 0.0, 0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm1d):
                module.reset_running_stats()
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute layers, as every `Network` does; without `layers`, logits (batch, classes, steps) of each head."""
        waveform = as_input(waveform, self)
        deepest = self.output_layer if layers is None else max(layers, key=self.depth)
        self.require_steps(waveform.shape[-1], deepest)
        return self._compute(waveform, layers, deepest, first_block=1)

    def continue_from(self, layer: str, steps: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute layers from one on whose steps are known.

        Parameters
        ----------
        layer : str
            The last layer of its block: conv3 or pool5, not conv5.
        steps : (batch, channels, steps) float32
            Of this layer.
        layers : sequence of str
            This one or later ones.

        Returns
        -------
        dict from layer to (batch, channels, steps)
        """
        deepest = max(layers, key=self.depth)
        found = {layer: steps} if layer in layers else {}
        if deepest == layer:
            return found
        return found | self._compute(steps, layers, deepest, block_number(layer) + 1)

    def _compute(
        self, hidden: Tensor, layers: Sequence[str] | None, deepest: str, first_block: int
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        wanted = (self.output_layer,) if layers is None else layers
        for number, block in enumerate(self.blocks, start=1):
            if number < first_block:
                continue
            convolution, batchnorm = (self.get_submodule(f"{kind}{number}") for kind in ("conv", "batchnorm"))
            pools = block.pool > 1 and deepest != f"conv{number}"
            if pools and f"conv{number}" not in wanted and can_be_pooled_at_once(convolution, batchnorm, hidden):
                hidden = normalised_maxima(convolution, batchnorm, hidden, block.pool)
            else:
                hidden = nn.functional.relu(batchnorm(convolve(convolution, hidden)))
                if f"conv{number}" in wanted:
                    found[f"conv{number}"] = hidden
                if pools:
                    hidden = nn.functional.max_pool1d(hidden, block.pool)
            if f"pool{number}" in wanted:
                found[f"pool{number}"] = hidden
            if deepest in (f"conv{number}", f"pool{number}"):
                return found
        logits: dict[str, Tensor] = {name: head(hidden) for name, head in self.heads.items()}
        if layers is None:
            return logits
        found[self.output_layer] = torch.cat(list(logits.values()), dim=1)
        return found

    def fingerprint(self) -> str:
        """Sha256 over everything that decides what this network answers: weights, layout and preprocessing."""
        description = [type(self).__name__, self.class_names, asdict(self.preprocessing)]
        text = json.dumps(description, sort_keys=True)
        return hashlib.sha256(f"{text}{state_sha256(self)}".encode()).hexdigest()


class SoundNet8(SoundNet):
    """SoundNet's student with eight layers; 20 s of sound give 4 output steps, one for each 5 s."""

    blocks = (
        Block(16, kernel=64, stride=2, padding=32, pool=8),
        Block(32, kernel=32, stride=2, padding=16, pool=8),
        Block(64, kernel=16, stride=2, padding=8),
        Block(128, kernel=8, stride=2, padding=4),
        Block(256, kernel=4, stride=2, padding=2, pool=4),
        Block(512, kernel=4, stride=2, padding=2),
        Block(1024, kernel=4, stride=2, padding=2),
    )
    output = Block(0, kernel=8, stride=2, padding=0)


class SoundNet5(SoundNet):
    """SoundNet's student with five layers; 20 s of sound give 4 output steps here too."""

    blocks = (
        Block(32, kernel=64, stride=2, padding=32, pool=8),
        Block(64, kernel=32, stride=2, padding=16, pool=8),
        Block(128, kernel=16, stride=2, padding=8, pool=8),
        Block(256, kernel=8, stride=2, padding=4),
    )
    output = Block(0, kernel=16, stride=12, padding=4)


Architecture = Literal["SoundNet8", "SoundNet5"]
ARCHITECTURES: dict[str, type[SoundNet]] = {"SoundNet8": SoundNet8, "SoundNet5": SoundNet5}


def block_number(name: str) -> int:
    """Return the number of the block that a layer or a module belongs to: 5 for conv5, batchnorm5 and pool5."""
    number = re.search(r"\d+$", name)
    assert number is not None
    return int(number[0])


def parameters_up_to(architecture: str, layer: str) -> int | None:
    """Count the parameters from the input up to a layer: convolutions with their biases, and batch norm.

    Parameters
    ----------
    architecture : str
        Such as SoundNet8.
    layer : str
        Such as pool5; of several that were joined (conv5+pool5) the deepest counts.

    Returns
    -------
    int or None
        None for another network, and for the output, whose size its classes decide.
    """
    numbers = [int(number) for number in re.findall(r"(?:conv|pool)(\d+)", layer)]
    blocks = ARCHITECTURES[architecture].blocks if architecture in ARCHITECTURES else ()
    if not numbers or max(numbers) > len(blocks):
        return None
    channels, count = 1, 0
    for block in blocks[: max(numbers)]:
        # Each filter has a bias, and two numbers of its batch norm.
        count += block.filters * (channels * block.kernel + 3)
        channels = block.filters
    return count
