"""What all networks of this package are: named layers over a waveform, bound to their preprocessing and classes."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.receptive_field import ReceptiveField

if TYPE_CHECKING:
    from soundnet_kd.models.student import Student

log = logging.getLogger(__name__)

HEAD = "classes"
"""Name of the only head of a network for labelled sounds."""
OUTPUT = "answer"
"""Name of its last layer: one step of logits."""


class Network(nn.Module, ABC):
    """A stack of named layers, the last of which are the logits of one or several heads.

    Attributes
    ----------
    preprocessing : Preprocessing
        What a sound must go through before the network takes it.
    class_names : mapping from head to tuple of str
        In the order of the logits.
    exclusive : bool
        Whether a sound is of exactly one class of a head; else it may have several tags, or none.
    untaught_heads : tuple of str
        Heads that were never taught their classes, since features alone were compared: their answers mean nothing.
    """

    kind: ClassVar[str]
    """What its file says that it holds."""

    preprocessing: Preprocessing
    class_names: Mapping[str, tuple[str, ...]]
    exclusive: bool = True
    untaught_heads: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """Name of the stack of layers."""
        return type(self).__name__

    @property
    @abstractmethod
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, from the input on."""

    @property
    def output_layer(self) -> str:
        """Name of the last layer."""
        return self.layers[-1]

    @property
    @abstractmethod
    def heads(self) -> Mapping[str, nn.Module]:
        """The modules that make the logits of each head, an `nn.Conv1d` or an `nn.Linear`."""

    @property
    def trunk(self) -> "Student | None":
        """The student whose layers these are, up to some layer; it can be computed while a sound comes in segments.

        A head that is not the student's own sits on the average over time of the layer before it. A network without a
        trunk takes each segment of a long sound by itself.
        """
        return None

    @abstractmethod
    def channels(self, layer: str) -> int:
        """Return the number of channels of a layer."""

    @abstractmethod
    def receptive_field(self, layer: str) -> ReceptiveField | None:
        """Return the receptive field of a layer's steps; None for a layer of a single step, of the whole input."""

    @abstractmethod
    def forward(self, waveform: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Compute layers.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32
            Preprocessed by `self.preprocessing`.
        layers : sequence of str, optional
            The layers wanted; nothing deeper than the deepest of them is computed.

        Returns
        -------
        dict from layer to (batch, channels, steps) or (batch, channels, rows, steps)
            The layers asked for, the last dimension being time; a layer without time has a single step. Without
            `layers`, the logits of each head by its name: (batch, classes), or (batch, classes, steps) of a student.

        Raises
        ------
        SettingsError
            If a layer does not exist, or the input is of whole numbers or has another shape.
        TooShortError
            If the input has too few samples for a layer.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what this network answers."""

    def logits(self, waveform: Tensor) -> Tensor:
        """Return the logits (batch, classes) of a network for labelled sounds.

        Parameters
        ----------
        waveform : (batch, 1, samples) float32
            Preprocessed by `self.preprocessing`.
        """
        logits: Tensor = self(waveform)[HEAD]
        return logits

    def logits_from(self, steps: Tensor, margin: int = 0) -> Tensor:
        """Return the logits (batch, classes) where the steps of the last layer before those that learn are known.

        Parameters
        ----------
        steps : (batch, channels, steps) float32
        margin : int
            Steps at either end that are only what surrounds the others.
        """
        raise NotImplementedError(f"{self.architecture} has no layers that stay as they are")

    def fit_front_end(self, waveforms: Iterable[Tensor]) -> None:
        """Set what the network takes from the data set's sounds before it learns, where there is anything.

        Parameters
        ----------
        waveforms : iterable of (batch, 1, samples)
            Preprocessed waveforms of the training clips; not read if there is nothing to set.
        """

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class of a head, for logits (batch, classes) or (batch, classes, steps)."""
        # A single class has no others that it would exclude.
        return logits.softmax(dim=1) if self.exclusive and logits.shape[1] > 1 else logits.sigmoid()

    def warn_of_untaught(self, heads: Iterable[str]) -> None:
        """Say which of the heads that are asked were never taught their classes."""
        untaught = [head for head in heads if head in self.untaught_heads]
        if untaught:
            log.warning(
                "this %s was never taught %s, so that what it answers there means nothing",
                self.architecture,
                " and ".join(untaught),
            )

    @property
    def identity(self) -> dict[str, str]:
        """What tells this network from others, as what is made with it has it."""
        return {"architecture": self.architecture, "sha256": self.fingerprint()}

    def depth(self, layer: str) -> int:
        """Return a layer's place in `layers`.

        Raises
        ------
        SettingsError
            If there is no such layer; the message names the nearest one.
        """
        if layer not in self.layers:
            known = f"{nearest(layer, self.layers)} (it has {', '.join(self.layers)})"
            raise SettingsError(f"{self.architecture} has no layer {layer!r}{known}")
        return self.layers.index(layer)


def state_sha256(network: nn.Module) -> str:
    """Hash the names and values of a network's weights and buffers."""
    return tensors_sha256(network.state_dict())


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
