"""Where an event stands in its scene, how it looks there, and the frame that a camera takes of it."""

import colorsys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from soundnet_kd.demo.backgrounds import Picture, draw_scene
from soundnet_kd.demo.sounds import Generator
from soundnet_kd.demo.sprites import Colour, draw_sprite

POSES = 4  # Drawings on either side of rest; more would cost time and not be seen.


@dataclass(frozen=True)
class Actor:
    """One event's looks, the same for as long as it is seen.

    Parameters
    ----------
    event : str
        One of `soundnet_kd.demo.sprites.EVENT_SPRITES`.
    colour : (red, green, blue), each from 0 to 255
    side : int
        Width and height of the drawing, in pixels.
    left, top : float
        Where the drawing's corner is at first, in pixels.
    drift : float
        How far it moves to the right each second, in pixels.
    mirrored : bool
    """

    event: str
    colour: Colour
    side: int
    left: float
    top: float
    drift: float
    mirrored: bool
    _sprites: dict[int, Image.Image] = field(default_factory=dict, repr=False, compare=False)

    def sprite(self, pose: float) -> Image.Image:
        """Draw the event at its size, or find the drawing of the same pose made before."""
        step = round(pose * POSES)
        if step not in self._sprites:
            image = draw_sprite(self.event, step / POSES, self.colour)
            if self.mirrored:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            self._sprites[step] = image.resize((self.side, self.side), Image.Resampling.BOX, reducing_gap=None)
        return self._sprites[step]


def cast(event: str, size: int, rng: Generator) -> Actor:
    """Draw an event's looks from `rng`, for frames of `size` x `size` pixels."""
    hue, saturation, value = rng.random(), rng.uniform(0.35, 0.9), rng.uniform(0.55, 1.0)
    red, green, blue = (int(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    side = int(size * rng.uniform(0.5, 0.78))
    left, top = rng.uniform(0, size - side), (size - side) * rng.uniform(0.25, 1.0)
    goal = rng.uniform(0, size - side)
    return Actor(event, (red, green, blue), side, left, top, (goal - left) / 20, bool(rng.random() < 0.5))


class Scene:
    """A scene under one light, seen by one camera.

    Parameters
    ----------
    scene : str
        One of `soundnet_kd.demo.backgrounds.SCENE_PICTURES`.
    size : int
        Side of a frame, in pixels.
    rng : numpy.random.Generator
        Draws the background, the light and the camera's noise.
    """

    def __init__(self, scene: str, size: int, rng: Generator) -> None:
        self.size = size
        self.background = draw_scene(scene, size, rng)
        tint = rng.uniform(0.7, 1.1) * rng.uniform(0.92, 1.08, 3)
        self.light = np.round(256 * tint).astype(np.int32)
        self.noise = np.round(rng.uniform(2, 8) * rng.standard_normal((size + 31, size + 31, 1))).astype(np.int32)

    def frame(self, actor: Actor, pose: float, seconds: float, rng: Generator) -> Picture:
        """Take a frame.

        Parameters
        ----------
        actor : Actor
        pose : float
            From -1 to 1; see `draw_sprite`.
        seconds : float
            Time since the actor came on.
        rng : numpy.random.Generator
            Draws the frame's noise.

        Returns
        -------
        (size, size, 3) uint8
        """
        image = self.background.copy()
        left = min(max(actor.left + actor.drift * seconds, 0), self.size - actor.side)
        sprite = actor.sprite(pose)
        image.paste(sprite, (round(left), round(actor.top)), sprite)
        x, y = rng.integers(0, 32, 2)
        lit = (np.asarray(image, dtype=np.int32) * self.light >> 8) + self.noise[y : y + self.size, x : x + self.size]
        return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


def poses_of(sound: NDArray[np.float32], sample_rate: int, frame_rate: float) -> NDArray[np.float64]:
    """Turn a sound into the movement of what makes it: still in silence, to and fro while it sounds.

    Parameters
    ----------
    sound : (samples,) float32
    sample_rate : int
        Samples per second, in Hz.
    frame_rate : float
        Frames per second.

    Returns
    -------
    (frames,) float64 in ±1, one for each whole frame that the sound lasts
    """
    hop = round(sample_rate / frame_rate)
    frames = sound.size // hop
    peaks = np.abs(sound[: frames * hop]).reshape(frames, hop).max(axis=1).astype(np.float64)
    activity = np.sqrt(peaks / max(float(peaks.max(initial=0.0)), 1e-9))
    return np.asarray(activity * np.where(np.arange(frames) % 2, 1.0, -1.0))
