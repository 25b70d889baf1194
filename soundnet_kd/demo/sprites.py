"""The pictures of the demonstration world: one drawing for each kind of event, that moves with its sound."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

CANVAS = 128  # Sprites are drawn this large and then shrunk, which smooths their edges.
DARK: Colour = (30, 28, 34)
PALE: Colour = (238, 236, 226)


def draw_sprite(event: str, pose: float, colour: Colour) -> Image.Image:
    """Draw one event on a transparent square.

    Parameters
    ----------
    event : str
        One of `EVENT_SPRITES`.
    pose : float
        From -1 to 1, how far the thing has moved to either side; 0 is at rest, as in silence.
    colour : (red, green, blue), each from 0 to 255
        Colour of the body.

    Returns
    -------
    RGBA image of CANVAS x CANVAS pixels.
    """
    image = Image.new("RGBA", (CANVAS, CANVAS), (0, 0, 0, 0))
    return EVENT_SPRITES[event](image, ImageDraw.Draw(image), pose, colour)


def _bell(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    swing = 14 * pose
    draw.ellipse((54 - 2 * swing, 92, 74 - 2 * swing, 114), fill=DARK)
    outline = [(52, 18), (76, 18), (88, 34), (92, 66), (112, 98), (16, 98), (36, 66), (40, 34)]
    draw.polygon(outline, fill=colour, outline=DARK, width=4)
    draw.line((20, 90, 108, 90), fill=DARK, width=5)
    draw.ellipse((54, 4, 74, 24), outline=DARK, width=6)
    draw.line((50, 36, 44, 74), fill=_lighter(colour), width=7)
    return image.rotate(swing, resample=Image.Resampling.BILINEAR, center=(64, 10))


def _bird(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    gape = 11 * abs(pose)
    draw.polygon([(4, 56), (42, 62), (40, 82), (2, 80)], fill=_darker(colour), outline=DARK)
    draw.line((60, 96, 56, 122), fill=DARK, width=5)
    draw.line((74, 96, 76, 122), fill=DARK, width=5)
    draw.ellipse((24, 48, 98, 104), fill=colour, outline=DARK, width=3)
    draw.polygon([(98, 36), (126, 38 - gape), (100, 46)], fill=(245, 160, 30), outline=DARK)
    draw.polygon([(100, 46), (124, 44 + gape), (96, 56)], fill=(225, 130, 20), outline=DARK)
    draw.ellipse((64, 18, 108, 64), fill=colour, outline=DARK, width=3)
    draw.ellipse((86, 32, 98, 44), fill=PALE)
    draw.ellipse((90, 35, 97, 42), fill=DARK)
    wing_tip = 96 - 34 * abs(pose)
    draw.polygon([(80, 66), (44, 64), (14, wing_tip), (56, 92)], fill=_darker(colour), outline=DARK)
    return image


def _siren(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    """Draw an ambulance; the left or the right half of its lamp is lit."""
    glow = int(130 * abs(pose))
    red = (255, 40, 40) if pose < 0 else (110, 20, 20)
    blue = (70, 130, 255) if pose > 0 else (20, 30, 100)
    centre = 44 if pose < 0 else 70
    draw.ellipse((centre - 30, 0, centre + 30, 46), fill=(*(red if pose < 0 else blue), glow))
    draw.rectangle((40, 16, 56, 34), fill=red, outline=DARK)
    draw.rectangle((57, 16, 73, 34), fill=blue, outline=DARK)
    draw.polygon([(4, 34), (92, 34), (112, 64), (124, 70), (124, 100), (4, 100)], fill=PALE, outline=DARK, width=3)
    draw.rectangle((5, 74, 123, 86), fill=colour)
    draw.polygon([(80, 40), (90, 40), (104, 64), (80, 64)], fill=(150, 200, 225), outline=DARK)
    draw.rectangle((28, 50, 56, 58), fill=(210, 30, 30))
    draw.rectangle((38, 40, 46, 68), fill=(210, 30, 30))
    for left in (18, 84):
        draw.ellipse((left, 86, left + 28, 114), fill=DARK)
        draw.ellipse((left + 9, 95, left + 19, 105), fill=(160, 160, 165))
    return image


def _motorbike(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    shake = 3 * pose
    for puff in range(3):
        radius = (3 + 3 * puff) * abs(pose)
        x, y = 14 - 4 * puff, 88 - 13 * puff
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(190, 190, 195, 200))
    for left in (6, 78):
        draw.ellipse((left, 74, left + 44, 118), outline=DARK, width=9)
        draw.ellipse((left + 18, 92, left + 26, 100), fill=(170, 170, 175))
    draw.line((100, 96, 84, 34 + shake), fill=(150, 150, 155), width=6)
    draw.line((84, 34 + shake, 70, 26 + shake), fill=DARK, width=6)
    draw.line((28, 96, 62, 100), fill=(150, 150, 155), width=8)
    draw.rectangle((46, 76 + shake, 76, 102 + shake), fill=(110, 110, 118), outline=DARK, width=3)
    draw.polygon([(18, 58 + shake), (50, 60 + shake), (48, 74 + shake), (20, 72 + shake)], fill=DARK)
    draw.ellipse((46, 46 + shake, 90, 78 + shake), fill=colour, outline=DARK, width=3)
    draw.ellipse((82, 38 + shake, 102, 56 + shake), fill=(255, 240, 150), outline=DARK, width=3)
    return image


def _clock(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    swing = 22 * pose
    draw.line((64, 70, 64 + swing, 112), fill=(200, 170, 60), width=4)
    draw.ellipse((54 + swing, 104, 74 + swing, 124), fill=(225, 190, 70), outline=DARK)
    draw.ellipse((16, 2, 112, 98), fill=colour, outline=DARK, width=3)
    draw.ellipse((26, 12, 102, 88), fill=PALE, outline=DARK, width=3)
    for hour in range(12):
        x, y = np.sin(hour * np.pi / 6), np.cos(hour * np.pi / 6)
        draw.line((64 + 28 * x, 50 + 28 * y, 64 + 35 * x, 50 + 35 * y), fill=DARK, width=4)
    draw.line((64, 50, 64, 24), fill=DARK, width=4)
    draw.line((64, 50, 82, 60), fill=DARK, width=6)
    return image


def _dog(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    jaw = 18 * abs(pose)
    draw.line((8, 40 - 12 * pose, 24, 66), fill=colour, width=10)
    for left in (22, 38, 66, 80):
        draw.rectangle((left, 84, left + 10, 120), fill=_darker(colour), outline=DARK)
    draw.rounded_rectangle((16, 56, 92, 94), radius=16, fill=colour, outline=DARK, width=3)
    draw.polygon([(92, 48), (122, 50 + jaw), (118, 60 + jaw), (88, 62)], fill=(190, 70, 80), outline=DARK)
    draw.polygon([(66, 18), (100, 16), (125, 34), (124, 48), (92, 54), (70, 66)], fill=colour, outline=DARK, width=3)
    draw.ellipse((116, 30, 128, 42), fill=DARK)
    draw.ellipse((92, 24, 101, 33), fill=DARK)
    draw.polygon([(66, 16), (82, 18), (80, 48), (62, 46)], fill=_darker(colour), outline=DARK)
    return image


def _whistle(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    for ray in range(3):
        reach = 22 * abs(pose)
        angle = np.pi * (0.36 + 0.17 * ray)
        x, y = np.cos(angle), -np.sin(angle)
        draw.line((56 + 40 * x, 60 + 42 * y, 56 + (40 + reach) * x, 60 + (42 + reach) * y), fill=PALE, width=6)
    draw.polygon([(40, 42), (124, 42), (124, 66), (76, 72)], fill=colour, outline=DARK, width=3)
    draw.ellipse((10, 42, 86, 118), fill=colour, outline=DARK, width=3)
    draw.ellipse((30, 62, 66, 98), fill=_darker(colour), outline=DARK, width=3)
    draw.rectangle((56, 38, 76, 52), fill=DARK)
    draw.ellipse((41 + 8 * pose, 74, 55 + 8 * pose, 88), fill=PALE)
    draw.arc((0, 96, 30, 126), 0, 300, fill=DARK, width=4)
    return image


def _drum(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    draw.rectangle((14, 62, 114, 106), fill=colour)
    draw.ellipse((14, 90, 114, 122), fill=colour, outline=DARK, width=3)
    for x in range(14, 114, 20):
        draw.line((x, 64, x + 10, 110), fill=PALE, width=3)
        draw.line((x + 20, 64, x + 10, 110), fill=PALE, width=3)
    draw.ellipse((14, 46, 114, 78), fill=PALE, outline=DARK, width=4)
    for side, tip, hand in ((pose, (52, 60), (10, 22)), (-pose, (76, 60), (118, 22))):
        lift = 28 * max(side, 0.0) + 4
        draw.line((*hand, tip[0], tip[1] - lift), fill=(150, 95, 40), width=6)
        draw.ellipse((tip[0] - 7, tip[1] - 7 - lift, tip[0] + 7, tip[1] + 7 - lift), fill=(120, 70, 30), outline=DARK)
    return image


def _ball(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    """Draw a beach ball, in the air while it is silent and on the floor when it knocks."""
    height = 36 * (1 - abs(pose))
    draw.ellipse((34 - height / 4, 112, 94 + height / 4, 126), fill=(20, 20, 20, 120))
    box = (26, 42 - height, 102, 118 - height)
    for part, fill in enumerate((colour, PALE, _darker(colour), PALE, colour, PALE)):
        draw.pieslice(box, 60 * part + 20, 60 * part + 80, fill=fill)
    draw.ellipse(box, outline=DARK, width=3)
    draw.ellipse((58, 74 - height, 70, 86 - height), fill=PALE, outline=DARK)
    return image


def _saw(image: Image.Image, draw: ImageDraw.ImageDraw, pose: float, colour: Colour) -> Image.Image:
    """Draw a hand saw, slantwise over a log."""
    draw.rounded_rectangle((30, 84, 126, 120), radius=8, fill=(150, 100, 55), outline=DARK, width=3)
    draw.ellipse((100, 84, 126, 120), fill=(225, 185, 130), outline=DARK, width=3)
    blade = Image.new("RGBA", (CANVAS, CANVAS), (0, 0, 0, 0))
    pen = ImageDraw.Draw(blade)
    teeth = [(34 + 8 * tooth, 76 if tooth % 2 else 84) for tooth in range(12)]
    pen.polygon([(34, 46), (122, 62), *reversed(teeth)], fill=(200, 205, 212), outline=DARK)
    pen.rounded_rectangle((2, 42, 40, 84), radius=10, fill=colour, outline=DARK, width=3)
    pen.rounded_rectangle((13, 53, 29, 73), radius=5, fill=(0, 0, 0, 0), outline=DARK, width=3)
    blade = blade.rotate(-18, resample=Image.Resampling.BILINEAR, translate=(int(11 * pose), int(4 * pose)))
    image.alpha_composite(blade)
    return image


EVENT_SPRITES: dict[str, Callable[[Image.Image, ImageDraw.ImageDraw, float, Colour], Image.Image]] = {
    "bell": _bell,
    "bird": _bird,
    "siren": _siren,
    "motorbike": _motorbike,
    "clock": _clock,
    "dog": _dog,
    "whistle": _whistle,
    "drum": _drum,
    "ball": _ball,
    "saw": _saw,
}


def _darker(colour: Colour) -> Colour:
    red, green, blue = (int(part * 0.68) for part in colour)
    return red, green, blue


def _lighter(colour: Colour) -> Colour:
    red, green, blue = (int(part + (255 - part) * 0.5) for part in colour)
    return red, green, blue
