"""The background picture of each scene of the demonstration world."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from soundnet_kd.demo.sounds import Generator

Picture = NDArray[np.uint8]


def draw_scene(scene: str, size: int, rng: Generator) -> Image.Image:
    """Draw the background of a scene.

    Parameters
    ----------
    scene : str
        One of `soundnet_kd.demo.ambience.SCENE_NAMES`.
    size : int
        Side of the picture, in pixels.
    rng : numpy.random.Generator
        Draws where things stand and how they are coloured.

    Returns
    -------
    RGB image of size x size pixels.
    """
    image = Image.new("RGB", (size * 2, size * 2))
    draw = ImageDraw.Draw(image)
    SCENE_PICTURES[scene](draw, size * 2, rng)
    return image.resize((size, size), Image.Resampling.BOX)


def _street(draw: ImageDraw.ImageDraw, side: int, rng: Generator) -> None:
    ground = int(side * rng.uniform(0.62, 0.74))
    draw.rectangle((0, 0, side, ground), fill=_near((165, 190, 215), rng))
    left = -int(rng.uniform(0, side * 0.2))
    while left < side:
        width = int(side * rng.uniform(0.2, 0.34))
        top = int(ground * rng.uniform(0.08, 0.5))
        draw.rectangle((left, top, left + width, ground), fill=_near((150, 105, 95), rng, 35), outline=(70, 60, 60))
        for x in range(left + width // 6, left + width - width // 6, max(width // 4, 4)):
            for y in range(top + side // 20, ground - side // 12, side // 9):
                draw.rectangle((x, y, x + width // 9, y + side // 22), fill=_near((235, 220, 150), rng))
        left += width
    draw.rectangle((0, ground, side, side), fill=_near((85, 85, 90), rng))
    middle = (ground + side) // 2
    for x in range(-int(rng.uniform(0, side / 5)), side, side // 5):
        draw.rectangle((x, middle, x + side // 9, middle + side // 40), fill=(225, 225, 215))


def _forest(draw: ImageDraw.ImageDraw, side: int, rng: Generator) -> None:
    ground = int(side * rng.uniform(0.6, 0.72))
    draw.rectangle((0, 0, side, ground), fill=_near((150, 200, 200), rng))
    draw.rectangle((0, ground, side, side), fill=_near((75, 120, 50), rng))
    for _ in range(rng.integers(7, 12)):
        x, height = rng.uniform(0, side), side * rng.uniform(0.35, 0.6)
        foot = ground + side * rng.uniform(-0.04, 0.12)
        trunk, crown = side * 0.025, side * rng.uniform(0.09, 0.15)
        draw.rectangle((x - trunk, foot - height * 0.3, x + trunk, foot), fill=_near((95, 65, 40), rng))
        green = _near((40, 95, 45), rng, 25)
        for part in (0.2, 0.45, 0.7):
            base, width = foot - height * part, crown * (1.25 - part)
            draw.polygon([(x - width, base), (x + width, base), (x, base - height * 0.42)], fill=green)


def _seaside(draw: ImageDraw.ImageDraw, side: int, rng: Generator) -> None:
    horizon, shore = int(side * rng.uniform(0.32, 0.45)), int(side * rng.uniform(0.66, 0.78))
    draw.rectangle((0, 0, side, horizon), fill=_near((175, 215, 240), rng))
    x, y, radius = rng.uniform(0.1, 0.9) * side, rng.uniform(0.08, 0.22) * side, side * 0.07
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 235, 130))
    draw.rectangle((0, horizon, side, shore), fill=_near((35, 105, 165), rng))
    for _ in range(rng.integers(8, 14)):
        x, y = rng.uniform(-0.1, 1) * side, rng.uniform(horizon, shore)
        draw.arc((x, y, x + side * 0.16, y + side * 0.06), 200, 340, fill=(220, 235, 240), width=3)
    draw.rectangle((0, shore, side, side), fill=_near((225, 205, 150), rng))
    draw.line((0, shore, side, shore), fill=(245, 245, 240), width=5)


def _kitchen(draw: ImageDraw.ImageDraw, side: int, rng: Generator) -> None:
    table = int(side * rng.uniform(0.68, 0.78))
    draw.rectangle((0, 0, side, table), fill=_near((225, 220, 205), rng))
    tile, grout = side // rng.integers(6, 10), _near((185, 180, 170), rng)
    for line in range(0, side, tile):
        draw.line((line, 0, line, table), fill=grout, width=2)
        draw.line((0, min(line, table), side, min(line, table)), fill=grout, width=2)
    x, width = rng.uniform(0, 0.6) * side, rng.uniform(0.25, 0.4) * side
    top, foot, frame = side * 0.08, side * 0.4, (250, 250, 250)
    draw.rectangle((x, top, x + width, foot), fill=_near((120, 165, 205), rng), outline=frame, width=6)
    draw.line((x + width / 2, top, x + width / 2, foot), fill=frame, width=5)
    shelf = (x + side * 0.5) % side
    draw.rectangle((shelf, side * 0.2, shelf + side * 0.3, side * 0.23), fill=_near((140, 90, 50), rng))
    for cup in range(3):
        left = shelf + side * (0.02 + 0.09 * cup)
        draw.rectangle((left, side * 0.12, left + side * 0.06, side * 0.2), fill=_near((170, 110, 110), rng, 60))
    draw.rectangle((0, table, side, side), fill=_near((160, 110, 65), rng))
    draw.line((0, table, side, table), fill=(90, 60, 35), width=5)


SCENE_PICTURES = {"street": _street, "forest": _forest, "seaside": _seaside, "kitchen": _kitchen}


def _near(colour: tuple[int, int, int], rng: Generator, spread: int = 18) -> tuple[int, int, int]:
    red, green, blue = np.clip(np.array(colour) + rng.integers(-spread, spread + 1, 3), 0, 255).tolist()
    return red, green, blue
