"""Which clips of a data set can be learned from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import FormatError, SettingsError


def labelled_clips(features: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Check features and labels against each other, and tell which clips have a label.

    Parameters
    ----------
    features : (clips, channels) float
    labels : (clips,) int
        -1 where unlabeled.

    Returns
    -------
    (clips,) bool

    Raises
    ------
    FormatError
        If the shapes do not belong together or a feature is not finite.
    SettingsError
        If no clip has a label.
    """
    if features.ndim != 2 or len(features) == 0 or features.shape[1] == 0:
        raise FormatError(f"features have shape {features.shape}; expected (clips, channels), neither of them 0")
    if labels.shape != (len(features),):
        raise FormatError(f"there are {len(features)} clips but labels of shape {labels.shape}; expected one per clip")
    require_finite(features)
    labelled: NDArray[np.bool_] = labels >= 0
    if not labelled.any():
        raise SettingsError(
            f"none of the {len(features)} clips has a label; "
            "extract again from a folder with a sub-folder per class, or a table with a column `label`"
        )
    return labelled


def require_finite(features: NDArray[np.floating]) -> None:
    """Refuse features that are not numbers.

    Parameters
    ----------
    features : (clips, channels) float

    Raises
    ------
    FormatError
        If one is NaN or infinite; the message says how many clips and names the first.
    """
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise FormatError(
            f"{len(broken)} of {len(features)} clips have features that are NaN or infinite, the first is clip "
            f"{broken[0]}; look at these sounds, or leave them out"
        )


def names_of(labels: NDArray[np.integer], class_names: Sequence[str] | None) -> tuple[str, ...]:
    """Give the names of the classes, numbers where they have none.

    Parameters
    ----------
    labels : (clips,) int
        -1 where unlabeled.
    class_names : sequence of str, optional

    Raises
    ------
    FormatError
        If a label has no name.
    """
    highest = int(labels.max())
    if not class_names:
        return tuple(str(label) for label in range(highest + 1))
    if highest >= len(class_names):
        raise FormatError(f"there is a label {highest} but only {len(class_names)} class names (labels count from 0)")
    return tuple(class_names)
