"""The registry of published weights: what each set is, where it comes from, how its input is prepared."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from soundnet_kd.errors import FormatError
from soundnet_kd.storage import shipped

KINDS = ("teacher",)


@dataclass(frozen=True)
class ImagePreprocessing:
    """How an image becomes a network's input: resize, crop, scale to 0..1, normalise.

    Attributes
    ----------
    resize : int
        Length in pixels that the shorter side is resized to.
    crop : int
        Side in pixels of the square that is cut from the centre.
    mean, std : tuple of float
        Of the channels red, green, blue; images are in 0..1 when they are subtracted and divided by.
    """

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class PretrainedWeights:
    """A published set of weights.

    Attributes
    ----------
    name : str
        What a user writes; of a teacher `NETWORK:WEIGHTS`.
    kind : {"teacher"}
    architecture : str
        Of a teacher the torchvision name.
    parameters : int
        Number of trained values.
    classes : str
        File in `pretrained/classes` with a class name a line, in the order of the logits.
    preprocessing : ImagePreprocessing
        What the weights were trained with.
    urls : tuple of str
        Where the file lies: the origin, then its mirrors.
    licence : str
        Of the weights.
    source : str
        Page of those who published them.
    citation : str
        What to cite.
    card : str
        File in `pretrained/cards` that says more.
    sha256 : str, optional
        Of the file, if its publishers or we know it.
    size_bytes : int, optional
        Of the file.
    accuracy : str, optional
        What its publishers report, with its conditions.
    """

    name: str
    kind: str
    architecture: str
    parameters: int
    classes: str
    preprocessing: ImagePreprocessing
    urls: tuple[str, ...]
    licence: str
    source: str
    citation: str
    card: str
    sha256: str | None = None
    size_bytes: int | None = None
    accuracy: str | None = None

    @property
    def file_name(self) -> str:
        """The file's name at its origin, which its mirrors and the cache keep."""
        return Path(urlsplit(self.urls[0]).path).name

    def class_names(self) -> tuple[str, ...]:
        """Read the class names, in the order of the logits."""
        lines = (shipped("pretrained_files") / "classes" / self.classes).read_text(encoding="utf-8").splitlines()
        return tuple(line for line in lines if line)


def registry(path: Path | None = None) -> dict[str, PretrainedWeights]:
    """Read the registry.

    Parameters
    ----------
    path : Path, optional
        A TOML file with a table for each set of weights. [default: the one that comes with the package]

    Returns
    -------
    dict from name to PretrainedWeights

    Raises
    ------
    FormatError
        If a key is unknown, missing or of the wrong type; the message names it.
    """
    path = path or shipped("pretrained_files") / "registry.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not valid TOML: {error}") from error
    return {name: _entry(name, table, f"{path}: {name!r}") for name, table in tables.items()}


def _entry(name: str, table: Any, where: str) -> PretrainedWeights:
    _check_keys(PretrainedWeights, {"name": name, **table} if isinstance(table, Mapping) else table, where)
    _check_keys(ImagePreprocessing, table["preprocessing"], f"{where}, preprocessing")
    if table["kind"] not in KINDS:
        raise FormatError(f"{where}: kind is {table['kind']!r} and should be one of {', '.join(KINDS)}")
    if not table["urls"]:
        raise FormatError(f"{where}: urls is empty; the first is the file's origin")
    preprocessing = {key: _tuples(value) for key, value in table["preprocessing"].items()}
    values = {key: _tuples(value) for key, value in table.items()}
    return PretrainedWeights(**{**values, "name": name, "preprocessing": ImagePreprocessing(**preprocessing)})


def _check_keys(described: type, table: Any, where: str) -> None:
    if not isinstance(table, Mapping):
        raise FormatError(f"{where} should be a table, not {table!r}")
    known = {field.name: field for field in fields(described)}
    for key in table.keys() - known.keys():
        raise FormatError(f"{where} has an unknown key {key!r}; known are {', '.join(known)}")
    for key, field in known.items():
        if key not in table and field.default is MISSING:
            raise FormatError(f"{where} has no key {key!r}")
        if key in table and not _fits(table[key], field.type):
            raise FormatError(f"{where}: {key} is {table[key]!r}, which is no {_SHOWN.get(field.type, field.type)}")


_SHOWN: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    str | None: "text",
    int | None: "whole number",
    ImagePreprocessing: "table",
    tuple[str, ...]: "list of texts",
    tuple[float, ...]: "list of numbers",
}


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value of TOML fits a field's type; TOML has no null, so an optional field has its plain type."""
    if wanted is ImagePreprocessing:
        return isinstance(value, Mapping)
    if wanted in (tuple[str, ...], tuple[float, ...]):
        return isinstance(value, list) and all(isinstance(each, wanted.__args__[0]) for each in value)
    return isinstance(value, wanted) and not isinstance(value, bool)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
