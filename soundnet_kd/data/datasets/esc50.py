"""ESC-50 (Piczak, ACM Multimedia 2015): what its classes, tables and files are called, and what was published on it."""

import re
from collections.abc import Mapping, Sequence

TABLES = ("meta/esc50.csv", "esc50.csv")
"""Places of the table in the folder of the data set."""
SOURCE_COLUMN = "src_file"
"""Column of the recording that a clip was cut from."""
FILE_NAME = re.compile(r"(?P<fold>[1-5])-(?P<source>\d+)-(?P<take>[A-Z])(?:-(?P<target>\d{1,2}))?")
"""Name of a file without its ending; `target` is an index into `ESC50_CLASSES`."""

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

ESC50_CATEGORIES = (
    "animals",
    "natural soundscapes and water",
    "human, non-speech",
    "interior/domestic",
    "exterior/urban",
)
CLASSES_PER_CATEGORY = len(ESC50_CLASSES) // len(ESC50_CATEGORIES)


def is_esc50(class_names: Sequence[str]) -> bool:
    """Return whether these are ESC-50's classes in their official order, with blanks or underscores."""
    return tuple(name.replace(" ", "_") for name in class_names) == ESC50_CLASSES


PAPER = "Aytar, Vondrick, Torralba: SoundNet (NIPS 2016)"

PAPER_ACCURACY_BY_LAYER: Mapping[str, float] = {
    "conv4": 66.0,
    "conv5": 69.3,
    "pool5": 72.9,
    "conv6": 73.3,
    "conv7": 59.8,
    "conv8": 43.7,
}
"""The paper's SoundNet of eight layers with VGG teachers, by the layer that its features come from."""

OTHER_ACCURACIES: Mapping[str, float] = {
    "human": 81.3,
    "SoundNet, pool5, AlexNet teachers (the paper's best)": 74.2,
    "SoundNet, pool5, averaged over time (the ESC-50 notebook, C by the same folds)": 71.95,
    "SoundNet of 5 layers": 66.1,
    "5 layers from scratch": 65.0,
    "Piczak's CNN": 64.5,
    "8 layers from scratch": 51.1,
    "8 layers, L2 loss": 47.8,
    "random forest": 44.3,
    "SVM on MFCCs": 39.6,
}
"""The paper's other rows, and the notebook's."""
