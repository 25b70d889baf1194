"""Videos of plain colours, and a teacher that knows them."""

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from soundnet_kd.media import write_video

RATE = 22_050
NAMES = ("red", "green", "blue")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class MeanColour(nn.Module):
    """Logits: ten times the mean of each colour channel."""

    def forward(self, images: Tensor) -> Tensor:
        return 10 * images.mean(dim=(2, 3))


def plain(image: Tensor) -> Tensor:
    """Bring a picture to 0..1."""
    return image.float() / 255


def make_video(path: Path, colours: list[str], seconds_each: float = 5.0, level: float = 0.3) -> None:
    """Write a video whose picture has one colour after the other, with a tone of another pitch for each."""
    frames = [np.full((32, 32, 3), COLOURS[name], np.uint8) for name in colours for _ in range(round(4 * seconds_each))]
    moments = np.arange(round(seconds_each * RATE)) / RATE
    tones = [level * np.sin(2 * np.pi * (300 + 200 * list(COLOURS).index(name)) * moments) for name in colours]
    write_video(path, frames, 4, np.concatenate(tones).astype(np.float32), RATE)
