"""Checks and conversion of features, labels, folds and groups: arrays, lists, tensors or table columns."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import FormatError, SettingsError, nearest

Column = ArrayLike | Sequence[object]
"""A value for each clip; None where it is missing."""

MISSING = -1


def features_of(features: ArrayLike) -> NDArray[np.floating]:
    """Return features as an array.

    Parameters
    ----------
    features : (rows, channels) numbers
        An array, a data frame, lists, or a tensor on any device.

    Returns
    -------
    (rows, channels) float32 or float64

    Raises
    ------
    FormatError
        If they are not numbers.
    """
    given = _array(features)
    if given.dtype in (np.float32, np.float64):
        return given
    kind = str(given.dtype)
    try:
        if given.dtype.kind in "cmM":
            raise TypeError
        return given.astype(np.float32 if kind == "float16" else np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(
            f"features are {kind}, not numbers; give those columns of a table that are the layer's, without ids and "
            "labels"
        ) from error


def labels_of(labels: Column, class_names: Sequence[str] | None = None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels as numbers, and the names of the classes.

    Parameters
    ----------
    labels : (clips,) int or str
        Numbers from 0, or names; None, NaN, an empty text or a number below 0 for a clip without a label.
    class_names : sequence of str, optional
        Names of all classes, in the order of their numbers. Without them, named classes are numbered in alphabetical
        order.

    Returns
    -------
    (clips,) int64
        -1 where unlabeled.
    tuple of str
        Empty where labels are numbers and no names are given.

    Raises
    ------
    FormatError
        If labels are neither numbers nor names, or a name is not in `class_names`.
    """
    values = _column(labels, "labels")
    names = () if class_names is None else tuple(class_names)
    numbers = _whole_numbers(values)
    if numbers is None:
        found = sorted({each for each in values if each is not None}, key=str)
        wrong = [each for each in found if not isinstance(each, str)]
        if wrong:
            raise FormatError(f"there is a label {wrong[0]!r}; labels are names, or whole numbers from 0")
        names = names or tuple(found)
        number_of = {name: number for number, name in enumerate(names)}
        for name in found:
            if name not in number_of:
                raise FormatError(f"there is a label {name!r} but no class of this name{nearest(name, names)}")
        numbers = np.array([MISSING if name is None else number_of[name] for name in values], dtype=np.int64)
    return np.maximum(numbers, MISSING), names


def folds_of(folds: Column) -> tuple[NDArray[np.int64], dict[int, int | str], NDArray[np.bool_]]:
    """Return folds as numbers.

    Parameters
    ----------
    folds : (clips,) int or str
        Any numbers, possibly written as text, or names.

    Returns
    -------
    folds : (clips,) int64
        Names are numbered in alphabetical order.
    names : dict from number to int or str
        Number or name of each fold as given.
    without : (clips,) bool
        True for clips without a fold: None, NaN or an empty text.

    Raises
    ------
    FormatError
        If folds are neither whole numbers nor texts.
    """
    values = _column(folds, "folds")
    without = np.array([each is None for each in values], dtype=bool)
    numbers = _whole_numbers([_as_number(each) for each in values])
    if numbers is not None:
        return numbers, {int(fold): int(fold) for fold in np.unique(numbers[~without])}, without
    wrong = [each for each in values if not isinstance(each, str | int | None)]
    if wrong:
        raise FormatError(f"there is a fold {wrong[0]!r}; folds are names or whole numbers")
    names: dict[int, int | str] = dict(enumerate(sorted({str(each) for each in values if each is not None}), start=1))
    number_of = {name: number for number, name in names.items()}
    return (
        np.array([MISSING if each is None else number_of[str(each)] for each in values], dtype=np.int64),
        names,
        without,
    )


def fold_names_of(folds: Column | int | str) -> set[str]:
    """Return the names that `folds_of` gives to some folds; a single fold need not be in a list."""
    values = _column([folds] if isinstance(folds, int | float | str) else folds, "folds")
    numbers = _whole_numbers([_as_number(each) for each in values])
    return {str(each) for each in (values if numbers is None else numbers.tolist())}


def groups_of(groups: Column) -> NDArray[np.int64]:
    """Return the groups of clips, such as the recordings that they were cut from, as numbers from 0.

    Parameters
    ----------
    groups : (clips,) int or str
        A clip without a group (None, NaN or an empty text) is a group of its own.
    """
    values = _column(groups, "groups")
    numbers = None if None in values else _whole_numbers(values)
    if numbers is not None:
        return np.asarray(np.unique(numbers, return_inverse=True)[1], dtype=np.int64)
    # The sign distinguishes clips without a group from groups with the same number.
    names = [f"-{place}" if each is None else f"+{each}" for place, each in enumerate(values)]
    return np.asarray(np.unique(np.array(names, dtype=str), return_inverse=True)[1], dtype=np.int64)


def numbers_of(values: Column, what: str) -> NDArray[np.int64]:
    """Return integers, (rows,) int64.

    Raises
    ------
    FormatError
        If they are something else.
    """
    given = _column(values, what)
    numbers = None if None in given else _whole_numbers(given)
    if numbers is None:
        raise FormatError(f"{what} are not whole numbers; give the number, from 0, of one for each row")
    return numbers


def both_correct(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which clips each of two classifiers predicts correctly, (clips,) bool each.

    Raises
    ------
    FormatError
        If the numbers of clips differ.
    """
    one, other = (np.asarray(_array(correct), dtype=bool) for correct in (first, second))
    if one.ndim != 1 or one.shape != other.shape:
        raise FormatError(
            f"answers have shapes {one.shape} and {other.shape}; expected one per clip, of the same clips"
        )
    return one, other


def _array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        # A PyTorch tensor, without importing torch; NumPy has no bfloat16.
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    if isinstance(values, np.ma.MaskedArray):
        objects = np.array(values.data, dtype=object)
        objects[np.ma.getmaskarray(values)] = None
        return objects
    return np.asarray(values)


def _column(values: Any, what: str) -> list[Any]:
    """Return one value for each clip, None where it is missing."""
    if isinstance(values, list | tuple) and all(np.ndim(each) == 0 for each in values):
        # In an array of texts NaN would become the text "nan". Scalars of NumPy and PyTorch become Python numbers.
        given = [each.item() if getattr(each, "ndim", None) == 0 else each for each in values]
    else:
        array = _array(values)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise FormatError(f"{what} have shape {array.shape}; expected one per clip")
        given = array.tolist()
    return [None if _is_missing(each) else each for each in given]


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float):
        return math.isnan(value)
    # The last two are from pandas.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _as_number(value: Any) -> Any:
    """Return the number in a text, or the text itself if it is not a number."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if math.isfinite(number) and number.is_integer() else value


def _whole_numbers(values: Sequence[Any]) -> NDArray[np.int64] | None:
    """Return integers, with -1 where a value is missing; None if a value is not an integer."""
    if not all(each is None or (isinstance(each, int | float) and float(each).is_integer()) for each in values):
        return None
    return np.array([MISSING if each is None else int(each) for each in values], dtype=np.int64)


def labelled_clips(features: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Check that features and labels belong together, and return which clips have a label.

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
        If the shapes do not match or a feature is not finite.
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
    """Refuse features that are not finite.

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
    """Return the names of the classes; their numbers if there are no names.

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
