"""What the names of files say in ESC-50 and UrbanSound8K, for where their tables are not at hand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# The official order: class // 10 is the category.
ESC50_CLASSES = (
    "dog",
    "rooster",
    "pig",
    "cow",
    "frog",
    "cat",
    "hen",
    "insects",
    "sheep",
    "crow",
    "rain",
    "sea_waves",
    "crackling_fire",
    "crickets",
    "chirping_birds",
    "water_drops",
    "wind",
    "pouring_water",
    "toilet_flush",
    "thunderstorm",
    "crying_baby",
    "sneezing",
    "clapping",
    "breathing",
    "coughing",
    "footsteps",
    "laughing",
    "brushing_teeth",
    "snoring",
    "drinking_sipping",
    "door_wood_knock",
    "mouse_click",
    "keyboard_typing",
    "door_wood_creaks",
    "can_opening",
    "washing_machine",
    "vacuum_cleaner",
    "clock_alarm",
    "clock_tick",
    "glass_breaking",
    "helicopter",
    "chainsaw",
    "siren",
    "car_horn",
    "engine",
    "train",
    "church_bells",
    "airplane",
    "fireworks",
    "hand_saw",
)

URBANSOUND8K_CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)

_ESC = re.compile(r"(?P<fold>[1-5])-(?P<source>\d+)-(?P<take>[A-Z])(?:-(?P<target>\d{1,2}))?")
_URBANSOUND8K = re.compile(r"(?P<source>\d+)-(?P<target>\d)-\d+-\d+")


@dataclass(frozen=True)
class Said:
    """What a file's name says; empty where it says nothing."""

    fold: str = ""
    source: str = ""
    label: str = ""


def said_by_names(stems: Sequence[str], in_folds: bool) -> list[Said] | None:
    """Read the names of all files of a data set as those of ESC-50, or, in folders of folds, of UrbanSound8K.

    Parameters
    ----------
    stems : sequence of str
        Names without their ending.
    in_folds : bool
        Whether they lie in a folder for each fold.

    Returns
    -------
    list of Said, or None if one is another name
    """
    pattern, classes = (_URBANSOUND8K, URBANSOUND8K_CLASSES) if in_folds else (_ESC, ESC50_CLASSES)
    found = [pattern.fullmatch(stem) for stem in stems]
    said = []
    for match in found:
        if match is None:
            return None
        parts = match.groupdict()
        target = int(parts["target"] or -1)
        if target >= len(classes):
            return None
        said.append(Said(parts.get("fold", ""), parts["source"], classes[target] if target >= 0 else ""))
    return said
