"""What a student is besides its tensors, as its file says it: architecture, class names, preprocessing.

A checkpoint of `soundnet-kd distill` carries the same texts that a `student.safetensors` has in its metadata, so that
either is enough to build the network again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soundnet_kd.errors import FormatError, SettingsError, one_line
from soundnet_kd.models import Preprocessing, Student
from soundnet_kd.models.architectures import is_architecture
from soundnet_kd.models.checkpoint import FORMAT_VERSION

CHECKPOINT_KEY = "student_description"
"""Key of the description in a checkpoint."""


@dataclass(frozen=True)
class Description:
    """What a student is besides its tensors.

    Attributes
    ----------
    architecture : str
        One of `ARCHITECTURES`, with its width where that is not 1.
    class_names : mapping from head to names
        In the order of the logits.
    preprocessing : Preprocessing
    """

    architecture: str
    class_names: Mapping[str, tuple[str, ...]]
    preprocessing: Preprocessing

    def sizes(self) -> dict[str, int]:
        """Return the number of classes of each head."""
        return {head: len(names) for head, names in self.class_names.items()}


def describe(student: Student) -> dict[str, str]:
    """Describe a student in texts, as `read_description` reads them."""
    return {
        "format_version": str(FORMAT_VERSION),
        "architecture": student.architecture,
        "class_names": json.dumps(student.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(student.preprocessing)),
    }


def read_description(texts: Any, path: str | Path) -> Description:
    """Read what a file says of its student; the file is not trusted, and nothing is built from what it says.

    Parameters
    ----------
    texts : mapping from str to str
        As `describe` gives it; anything else is refused.
    path : str or Path
        The file, for the message.

    Raises
    ------
    FormatError
        If it is no description, or one of another format.
    """
    path = Path(path)
    if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in texts.values()):
        raise FormatError(f"{path} does not describe its network in texts")
    version, architecture = texts.get("format_version"), texts.get("architecture")
    if version != str(FORMAT_VERSION) or architecture is None or not is_architecture(architecture):
        raise FormatError(
            f"{path} holds no student of format {FORMAT_VERSION} (format {version!r:.20}, architecture "
            f"{architecture!r:.40})"
        )
    try:
        class_names = from_json(texts["class_names"])
        preprocessing = Preprocessing(**from_json(texts["preprocessing"]))
    except (KeyError, TypeError, ValueError, RecursionError, SettingsError) as error:
        raise FormatError(f"{path} does not describe its network: {one_line(error)}") from error
    # Only lists: a number of classes would be as many names, however large it is.
    if not isinstance(class_names, dict) or not all(
        head.isidentifier() and isinstance(names, list) and all(isinstance(name, str) for name in names)
        for head, names in class_names.items()
    ):
        raise FormatError(f"{path} does not describe its network: it has no lists of class names")
    return Description(architecture, {head: tuple(names) for head, names in class_names.items()}, preprocessing)


def from_json(text: str) -> Any:
    """Read JSON that can be written again as UTF-8, unlike the half characters that it can escape.

    Raises
    ------
    ValueError, RecursionError
        If it is none, or is nested too deep.
    """
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value
