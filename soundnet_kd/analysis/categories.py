"""ESC-50's five major categories of ten classes each."""

from collections.abc import Sequence

from soundnet_kd.data.known_names import ESC50_CLASSES as ESC50_CLASSES

ESC50_CATEGORIES = (
    "animals",
    "natural soundscapes and water",
    "human, non-speech",
    "interior/domestic",
    "exterior/urban",
)


def is_esc50(class_names: Sequence[str]) -> bool:
    """Tell whether these are ESC-50's classes in their official order, with blanks or underscores."""
    return tuple(name.replace(" ", "_") for name in class_names) == ESC50_CLASSES
