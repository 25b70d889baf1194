"""The registry of published weights: what each set is, where it comes from, how its input is prepared."""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from soundnet_kd.errors import FormatError, SettingsError, closest
from soundnet_kd.models import Preprocessing
from soundnet_kd.storage import package_data


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
        Mean and standard deviation of red, green and blue, by which images in 0..1 are normalised.
    """

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class KnownFile(ABC):
    """What is known of a file, by which it is recognised.

    Attributes
    ----------
    sha256 : str, optional
        Hash of the file, if its publishers or we know it.
    git_blob : str, optional
        The id that git gives the file, where that is known: sha1 of "blob", the size, a zero byte and the content.
    size_bytes : int, optional
        Size of the file.
    """

    sha256: str | None = None
    git_blob: str | None = None
    size_bytes: int | None = None

    @property
    @abstractmethod
    def file_name(self) -> str:
        """The file's name where it was published, which mirrors and the cache keep."""


@dataclass(frozen=True, kw_only=True)
class PackagedFile(KnownFile):
    """A file of weights in a source distribution, which every Python package index may have.

    Attributes
    ----------
    project, version : str
        Of the distribution.
    archive : str
        Its file name.
    archive_sha256 : str
        Its hash.
    archive_bytes : int
        Its size.
    member : str
        Path of the file in it.
    """

    project: str
    version: str
    archive: str
    archive_sha256: str
    archive_bytes: int
    member: str

    @property
    def file_name(self) -> str:
        """The file's name in the distribution."""
        return PurePosixPath(self.member).name


@dataclass(frozen=True)
class Parity:
    """What shows that a file is the network that it is said to be: its layers against those that others computed.

    Attributes
    ----------
    date : str
        When it was measured.
    how : str
        What was heard, and what with.
    median, largest : mapping from layer to float
        Relative error over the sounds, of each layer averaged over time.
    """

    date: str
    how: str
    median: Mapping[str, float]
    largest: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PublishedFile(KnownFile):
    """A file of weights that others published: what is known of it, whatever network it is for.

    Attributes
    ----------
    name : str
        What a user writes; of a teacher `NETWORK:WEIGHTS`.
    kind : {"teacher", "student"}
    architecture : str
        For a teacher the torchvision name, for a student the class in `soundnet_kd.models`.
    parameters : int
        Number of trained values.
    urls : tuple of str
        Where the file lies: the origin, then its mirrors.
    licence : str
        Licence of the weights.
    source : str
        Page of those who published them.
    citation : str
        What to cite.
    card : str
        File in `pretrained/cards` that says more.
    package : PackagedFile, optional
        The same weights in another file, which a source distribution holds. It is asked for first.
    """

    name: str
    kind: str
    architecture: str
    parameters: int
    urls: tuple[str, ...]
    licence: str
    source: str
    citation: str
    card: str
    package: PackagedFile | None = None

    @property
    def file_name(self) -> str:
        """The file's name at its origin, which its mirrors and the cache keep."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name

    @property
    def files(self) -> tuple[KnownFile, ...]:
        """The files that are these weights, any of which will do, in the order in which they are asked for."""
        return (self,) if self.package is None else (self.package, self)


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights(PublishedFile):
    """A published teacher.

    Attributes
    ----------
    classes : str
        File in `pretrained/classes` with a class name a line, in the order of the logits.
    preprocessing : ImagePreprocessing
        What the weights were trained with.
    accuracy : str, optional
        What its publishers report, with its conditions.
    """

    classes: str
    preprocessing: ImagePreprocessing
    accuracy: str | None = None

    def class_names(self) -> tuple[str, ...]:
        """Read the class names, in the order of the logits."""
        return class_list(self.classes)


@dataclass(frozen=True, kw_only=True)
class PretrainedStudent(PublishedFile):
    """A published student.

    Attributes
    ----------
    classes : mapping from head to file
        For each head a file in `pretrained/classes`, in the order of its logits.
    preprocessing : Preprocessing
        What the weights were trained with.
    member : str, optional
        For a zip archive: a pattern that matches exactly one of its files, whatever the case (`*soundnet8*.t7`).
    figures : mapping from text to float
        Published accuracies in per cent, by data set, source and layer.
    parity : Parity, optional
        What was measured to see that it is the released network.
    """

    classes: Mapping[str, str]
    preprocessing: Preprocessing
    member: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    parity: Parity | None = None

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Read the class names of each head, in the order of its logits."""
        return {head: class_list(file) for head, file in self.classes.items()}


KINDS: Mapping[str, type[PretrainedWeights | PretrainedStudent]] = {
    "teacher": PretrainedWeights,
    "student": PretrainedStudent,
}


def read_registry(path: str | Path | None = None) -> dict[str, PretrainedWeights | PretrainedStudent]:
    """Read the registry.

    Parameters
    ----------
    path : str or Path, optional
        A TOML file with a table for each set of weights. [default: the one that comes with the package]

    Returns
    -------
    dict from name to PretrainedWeights or PretrainedStudent

    Raises
    ------
    FormatError
        If a key is unknown, missing or of the wrong type; the message names it.
    """
    path = None if path is None else Path(path)
    path = path or package_data("pretrained_files") / "registry.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not valid TOML: {error}") from error
    return {name: _entry(name, table, f"{path}: {name!r}") for name, table in tables.items()}


def teacher_registry(path: str | Path | None = None) -> dict[str, PretrainedWeights]:
    """Read the teachers of the registry; see `read_registry`."""
    path = None if path is None else Path(path)
    return {name: entry for name, entry in read_registry(path).items() if isinstance(entry, PretrainedWeights)}


def student_registry(path: str | Path | None = None) -> dict[str, PretrainedStudent]:
    """Read the students of the registry; see `read_registry`."""
    path = None if path is None else Path(path)
    return {name: entry for name, entry in read_registry(path).items() if isinstance(entry, PretrainedStudent)}


def find_entry(name: str) -> PretrainedWeights | PretrainedStudent:
    """Return an entry of the registry.

    Raises
    ------
    SettingsError
        If there is none of this name; the message names the nearest one.
    """
    known = read_registry()
    if name not in known:
        raise SettingsError(
            f"the registry has no weights {name!r}{did_you_mean(name, known)} It has {', '.join(known)}"
        )
    return known[name]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return how a message goes on: with the known name that is most like a wrong one, if one is."""
    near = closest(name, known)
    return f"; did you mean {near!r}?" if near else "."


def class_list(file: str) -> tuple[str, ...]:
    """Read a list of `pretrained/classes`: a class name a line."""
    lines = (package_data("pretrained_files") / "classes" / file).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line)


def _entry(name: str, table: Any, where: str) -> PretrainedWeights | PretrainedStudent:
    if not isinstance(table, Mapping):
        raise FormatError(f"{where} should be a table, not {table!r}")
    kind = table.get("kind", next(iter(KINDS)))
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(f"{where}: kind is {kind!r} and should be one of {', '.join(KINDS)}")
    entry: PretrainedWeights | PretrainedStudent = _built(KINDS[kind], {**table, "name": name}, where)
    if not entry.urls:
        raise FormatError(f"{where}: urls is empty; the first is the file's origin")
    return entry


def _built(described: Any, table: Mapping[str, Any], where: str) -> Any:
    """Build what a table describes, and what the tables in it do."""
    _check_keys(described, table, where)
    types = {each.name: _described(each.type) for each in fields(described)}
    return described(
        **{
            key: _tuples(value) if (inner := types[key]) is None else _built(inner, value, f"{where}, {key}")
            for key, value in table.items()
        }
    )


def _described(wanted: Any) -> Any:
    """Return the class that a table becomes, if a field's type is one, or one or nothing."""
    return next((each for each in (wanted, *get_args(wanted)) if is_dataclass(each)), None)


def _check_keys(described: type, table: Any, where: str) -> None:
    known = {field.name: field for field in fields(described)}
    for key in table.keys() - known.keys():
        raise FormatError(f"{where} has an unknown key {key!r}; known are {', '.join(known)}")
    for key, wanted in known.items():
        if key not in table and wanted.default is MISSING and wanted.default_factory is MISSING:
            raise FormatError(f"{where} has no key {key!r}")
        if key in table and not _fits(table[key], wanted.type):
            raise FormatError(f"{where}: {key} is {table[key]!r}, which is no {_shown(wanted.type)}")


_SHOWN: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    str | None: "text",
    int | None: "whole number",
    tuple[str, ...]: "list of texts",
    tuple[float, ...]: "list of numbers",
    Mapping[str, str]: "table of texts",
    Mapping[str, float]: "table of numbers",
}


def _shown(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(map(str, get_args(wanted)))}"
    return _SHOWN.get(wanted, "table")


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value of TOML fits a field's type; TOML has no null, so an optional field has its plain type."""
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    if _described(wanted) is not None:
        return isinstance(value, Mapping)
    if get_origin(wanted) is tuple:
        return isinstance(value, list) and all(_fits(each, wanted.__args__[0]) for each in value)
    if get_origin(wanted) is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, wanted.__args__[1]) for each in value.values())
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, wanted) and not isinstance(value, bool)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
