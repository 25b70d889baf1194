"""The architectures of students by name, and what a name tells."""

import re
from collections.abc import Mapping

import torch

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.models.device import Undrawn
from soundnet_kd.models.log_mel_cnn import LogMelCNN
from soundnet_kd.models.preprocessing import Preprocessing
from soundnet_kd.models.soundnet import SoundNet5, SoundNet8
from soundnet_kd.models.student import Heads, Student, block_number

ARCHITECTURES: Mapping[str, type[Student]] = {"SoundNet8": SoundNet8, "SoundNet5": SoundNet5, "LogMelCNN": LogMelCNN}
"""Students by the names of their architectures."""


def build_student(
    name: str, heads: Heads | None = None, preprocessing: Preprocessing | None = None, width: float | None = None
) -> Student:
    """Build a student with random weights.

    Parameters
    ----------
    name : str
        An architecture, also at a width, as files tell it: SoundNet8, or SoundNet8x0.25.
    heads : mapping from head to class names, or to the number of classes, optional
        [default: the released network's numbers]
    preprocessing : Preprocessing, optional
        [default: the architecture's own]
    width : float, optional
        [default: the one that the name tells, else 1]

    Raises
    ------
    SettingsError
        If there is no such architecture, no such width of it, or the name tells another width than `width` is.
    """
    architecture, told = parse_name(name)
    if width is not None and told not in (1, width):
        raise SettingsError(f"{name} names its width, which is not {width:g}; leave one of them out")
    return ARCHITECTURES[architecture](heads, preprocessing, told if width is None else width)


def parse_name(name: str) -> tuple[str, float]:
    """Return the architecture and the width that a name tells.

    Raises
    ------
    SettingsError
        If there is no such architecture.
    """
    architecture, _, width = name.partition("x")
    if architecture not in ARCHITECTURES or not re.fullmatch(r"|\d+(\.\d+)?", width) or name.endswith("x"):
        raise SettingsError(
            f"there is no architecture {name!r:.60}{nearest(architecture[:60], ARCHITECTURES)} (there are "
            f"{', '.join(ARCHITECTURES)}; SoundNet8x0.25 is one of a quarter of its filters)"
        )
    return architecture, float(width or 1)


def is_architecture(name: str) -> bool:
    """Return whether a name tells an architecture."""
    try:
        parse_name(name)
    except SettingsError:
        return False
    return True


def parameters_up_to(architecture: str, layer: str) -> int | None:
    """Count the parameters from the input up to a layer: convolutions, their biases where they have some, batch norm.

    Parameters
    ----------
    architecture : str
        Such as SoundNet8, or SoundNet8x0.25.
    layer : str
        Such as pool5; of several that were joined (conv5+pool5) the deepest counts.

    Returns
    -------
    int or None
        None for another network, and for the output, whose size its classes decide.
    """
    if not is_architecture(architecture):
        return None
    with torch.device("meta"), Undrawn():
        student = build_student(architecture, {"unused": 1})
    layers = [each for each in student.layers if re.search(rf"\b{each}\b", layer)]
    if not layers or student.output_layer in layers:
        return None
    number = block_number(layers[-1])
    return sum(
        parameter.numel()
        for name, module in student.named_children()
        for parameter in module.parameters()
        if block_number(name) <= number
    )
