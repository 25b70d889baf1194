"""The formats in which SoundNet's weights are published, each read into this package's names and shapes.

============  ======================================================================================================
layout        how a convolution is kept
============  ======================================================================================================
`pytorch`     state dict, 2-D: `convN.weight` (out, in, kernel, 1), heads `conv8_objs`, `conv8_scns`
`state dict`  this package's own names, 1-D
`lightning`   a checkpoint of `soundnet-kd distill`: this package's names behind `student.`
`numpy`       pickled dict: weights (kernel, 1, in, out), biases, mean, var, beta, gamma; heads `conv8`, `conv8_2`
`torch7`      modules in a `.t7`, alone or in a zip: weight (out, in, kernel, 1), bias, running_mean, running_var
============  ======================================================================================================

Another format is a file beside these with a reader, and a line in `FORMATS`. Networks from scratch that were published
in Keras are read by `keras_hdf5`, and built by `soundnet_kd.pretrained.keras_networks`.
"""

from collections.abc import Callable
from pathlib import Path

from soundnet_kd.pretrained.formats import numpy_dict, state_dict, torch7
from soundnet_kd.pretrained.formats.layout import Layout, SourceFile

START_BYTES = 16
"""The first bytes of a file, by which its format is recognised."""

FORMATS: tuple[Callable[[SourceFile], Layout | None], ...] = (
    numpy_dict.read_layout,
    torch7.read_layout,
    state_dict.read_layout,
)
"""Readers; each returns None for a file of another format, but the last one, which takes whatever is left."""


def read_layout(path: str | Path, member: str | None = None) -> Layout:
    """Read a file of any format without running anything that it may hold.

    Parameters
    ----------
    path : str or Path
    member : str, optional
        Pattern of the one file to read of a zip archive. [default: *.t7]

    Raises
    ------
    FormatError
        If the file is of none of the formats, is cut off or is hostile.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with path.open("rb") as handle:
        file = SourceFile(path, handle.read(START_BYTES), member)
    found = (read(file) for read in FORMATS)
    return next(layout for layout in found if layout is not None)
