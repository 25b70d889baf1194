"""The student networks of SoundNet (Aytar, Vondrick, Torralba, NIPS 2016): 1-D convolutions over the raw waveform."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from soundnet_kd.models.layers import FirstConv1d, convolve
from soundnet_kd.models.pooled_convolution import can_be_pooled_at_once, normalised_maxima
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.receptive_field import Block, Window
from soundnet_kd.models.student import Heads, Student, block_number, scaled


class SoundNet(Student):
    """A stack of named convolutions with one output convolution for each teacher.

    Layers are called `conv1`, `conv2` … (after ReLU), `pool1` … (after the max-pool, where a block has one); the last
    one, `conv8` in `SoundNet8`, is the output: the logits of all heads, one head after the other.

    The keys of `state_dict` are `convN.weight` (filters, filters_in, kernel), `convN.bias`, `batchnormN.*` for each
    block, and `convL.HEAD.weight`, `convL.HEAD.bias` for the output layer L.

    Parameters
    ----------
    heads : mapping from head to class names, or to the number of classes, optional
    preprocessing : Preprocessing, optional
    width : float
        As `Student`'s.
    """

    blocks: tuple[Block, ...]
    output: Block

    def __init__(
        self, heads: Heads | None = None, preprocessing: Preprocessing | None = None, width: float = 1.0
    ) -> None:
        super().__init__(heads, preprocessing, width)
        if self.width != 1:
            self.blocks = tuple(replace(block, filters=scaled(block.filters, self.width)) for block in self.blocks)
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
    def windows(self) -> Mapping[str, Window]:
        """Of each layer, from the input on, what a step of it is computed from."""
        found = {}
        for number, block in enumerate(self.blocks, start=1):
            found[f"conv{number}"] = block.window
            if block.pool > 1:
                found[f"pool{number}"] = Window(block.pool, block.pool)
        return {**found, self.output_layer: self.output.window}

    @property
    def output_layer(self) -> str:
        """Name of the last layer."""
        return f"conv{self.depth_in_blocks()}"

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return the number of channels of a layer."""
        self.depth(layer)
        return (self.classes() if layer == self.output_layer else self.blocks[block_number(layer) - 1].filters,)

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

    def compute(
        self, hidden: Tensor, layers: Sequence[str] | None, deepest: str, first_block: int
    ) -> dict[str, Tensor]:
        """Compute layers as far as the deepest, from the first block that is not known yet."""
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
