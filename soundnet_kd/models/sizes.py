"""How many parameters a student has up to one of its layers."""

import re

from soundnet_kd.models.soundnet import ARCHITECTURES


def parameters_up_to(architecture: str, layer: str) -> int | None:
    """Count the parameters from the input up to a layer: convolutions with their biases, and batch norm.

    Parameters
    ----------
    architecture : str
        Such as SoundNet8.
    layer : str
        Such as pool5; of several that were joined (conv5+pool5) the deepest counts.

    Returns
    -------
    int or None
        None for another network, and for the output, whose size its classes decide.
    """
    numbers = [int(number) for number in re.findall(r"(?:conv|pool)(\d+)", layer)]
    blocks = ARCHITECTURES[architecture].blocks if architecture in ARCHITECTURES else ()
    if not numbers or max(numbers) > len(blocks):
        return None
    channels, count = 1, 0
    for block in blocks[: max(numbers)]:
        # Each filter has a bias, and two numbers of its batch norm.
        count += block.filters * (channels * block.kernel + 3)
        channels = block.filters
    return count
