"""ESC-50's five major categories of ten classes each."""

from collections.abc import Sequence

ESC50_CATEGORIES = (
    "animals",
    "natural soundscapes and water",
    "human, non-speech",
    "interior/domestic",
    "exterior/urban",
)

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


def is_esc50(class_names: Sequence[str]) -> bool:
    """Tell whether these are ESC-50's classes in their official order, with blanks or underscores."""
    return tuple(name.replace(" ", "_") for name in class_names) == ESC50_CLASSES
