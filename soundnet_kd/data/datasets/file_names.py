"""What the names of files say in ESC-50 and UrbanSound8K, for where their tables are not at hand."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

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


def said_by_names(files: Collection[str], in_folds: bool) -> dict[str, Said]:
    """Read the names of the files of a data set as those of ESC-50, or, in folders of folds, of UrbanSound8K.

    Parameters
    ----------
    files : collection of str
        Their paths.
    in_folds : bool
        Whether they lie in a folder for each fold.

    Returns
    -------
    dict from path to Said
        Without stray files that are called otherwise; empty if these are not the fewer.
    """
    pattern, classes = (_URBANSOUND8K, URBANSOUND8K_CLASSES) if in_folds else (_ESC, ESC50_CLASSES)
    said = {}
    for file in files:
        match = pattern.fullmatch(PurePosixPath(file).stem)
        parts = match.groupdict() if match else {}
        target = int(parts.get("target") or -1)
        if match and target < len(classes):
            said[file] = Said(parts.get("fold", ""), parts["source"], classes[target] if target >= 0 else "")
    return said if 2 * len(said) > len(files) else {}
