"""YAML as it is written.

YAML guesses: 007 is seven to it, `on` is true, 22:05 is 1325 and 2024-01-01 a day. Here a value stays the text that was
written until the parameter that takes it says what it wants (`soundnet_kd.config.values`).
"""

from pathlib import Path
from typing import Any

import yaml

from soundnet_kd.errors import SettingsError


class RawText(str):
    """A text that says by itself neither that it is a text nor that it is a number, a list or a word such as `no`."""

    __slots__ = ()


NULLS = ("null", "Null", "NULL")
"""Words where a parameter may have no value."""


def read_yaml(text: str) -> Any:
    """Read YAML as it is written: lists and mappings, null, and everything else as text.

    Returns
    -------
    None, `RawText` (without quotes in the file), str (with quotes), list or dict of these

    Raises
    ------
    ValueError
        If it is not YAML; the message says where, in one line.
    """
    try:
        return yaml.load(text, _RawLoader)
    except yaml.YAMLError as error:
        message = " ".join(str(error).split())
        raise ValueError(message.replace("found unconstructable recursive node", "what holds itself")) from error
    except RecursionError as error:
        raise ValueError("a list or a mapping holds itself, or too many others in one another") from error


def read_yaml_file(file: str | Path) -> Any:
    """Read a YAML file as `read_yaml` does.

    Raises
    ------
    SettingsError
        If it cannot be read, or is not YAML.
    """
    try:
        return read_yaml(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from error


def parse_nested(value: Any) -> Any:
    """Return the list, mapping or None that a text such as [a, b], {a: 1}, null or "" stands for, or else the value."""
    if isinstance(value, RawText) and value.strip() in (*NULLS, ""):
        return None
    if isinstance(value, RawText) and value.lstrip()[:1] in ("[", "{"):
        try:
            return read_yaml(value)
        except ValueError:
            return value
    return value


class _RawLoader(yaml.SafeLoader):
    """YAML whose only words are null and, as a key, `<<`."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        return RawText(text) if isinstance(node, yaml.ScalarNode) and node.style is None else text

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in names:
                    raise yaml.composer.ComposerError(None, None, f"{key.value!r} is given twice", key.start_mark)
                names.add(key.value)
        return node

    def construct_whole(self, node: yaml.MappingNode | yaml.SequenceNode) -> Any:
        """Construct a list or a mapping with all that it holds, so that one that holds itself is refused."""
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        return self.construct_sequence(node, deep=True)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return {"null" if key is None else key: value for key, value in super().construct_mapping(node, deep).items()}


_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_RawLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag in ("tag:yaml.org,2002:str", _MERGE):
    _RawLoader.add_constructor(_tag, _RawLoader.construct_scalar)
for _tag in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
    _RawLoader.add_constructor(_tag, _RawLoader.construct_whole)
