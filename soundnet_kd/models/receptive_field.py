"""What a student is a stack of, and the receptive fields of its layers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A convolution, batch norm and ReLU, then max-pooling where `pool` > 1; sizes in steps of the block's input."""

    filters: int
    kernel: int
    stride: int
    padding: int
    pool: int = 1

    @property
    def window(self) -> "Window":
        """What a step of the convolution is computed from."""
        return Window(self.kernel, self.stride, self.padding)

    def steps(self, samples: int) -> tuple[int, int]:
        """Return the length after the convolution and after the pooling."""
        convolved = self.window.steps(samples)
        return convolved, convolved // self.pool


@dataclass(frozen=True)
class Window:
    """What a step of a layer is computed from: several steps of the layer before, padded with zeros at both ends."""

    kernel: int
    stride: int
    padding: int = 0

    def steps(self, steps: int) -> int:
        """Return how many there are, by the number of steps of the layer before."""
        # Of padding alone PyTorch makes no steps.
        return max((steps + 2 * self.padding - self.kernel) // self.stride + 1, 0) if steps > 0 else 0


@dataclass(frozen=True)
class ReceptiveField:
    """The input samples that a layer's steps depend on: step i on `samples` of them from `start + i * stride` on.

    Attributes
    ----------
    samples : int
    stride : int
    start : int
        Negative where the first step covers the padding before the sound.
    """

    samples: int
    stride: int
    start: int

    def after(self, kernel: int, stride: int, padding: int = 0) -> "ReceptiveField":
        """Return the field of a convolution or a pooling whose input has this one."""
        return ReceptiveField(
            samples=self.samples + (kernel - 1) * self.stride,
            stride=self.stride * stride,
            start=self.start - padding * self.stride,
        )
