"""The pages of the API: one for each room that has public names, with all of them, and one for the commands."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sphinx.application import Sphinx


ROOMS = (
    "soundnet_kd",
    "soundnet_kd.media",
    "soundnet_kd.data",
    "soundnet_kd.teachers",
    "soundnet_kd.distill",
    "soundnet_kd.models",
    "soundnet_kd.models.classifiers",
    "soundnet_kd.models.front_ends",
    "soundnet_kd.pretrained",
    "soundnet_kd.pretrained.formats",
    "soundnet_kd.features",
    "soundnet_kd.transfer",
    "soundnet_kd.analysis",
    "soundnet_kd.interfaces.scikit_learn",
    "soundnet_kd.interfaces.hear",
    "soundnet_kd.interfaces.hear_grid",
    "soundnet_kd.interfaces.listening",
    "soundnet_kd.interfaces.maeb",
    "soundnet_kd.interfaces.xares",
    "soundnet_kd.interfaces.hoplite",
    "soundnet_kd.errors",
)
"""Where public names are; what stands in two is described in the first."""


def public_names(module: ModuleType) -> list[str]:
    """Return what a room gives: its `__all__`, or what is defined in it and begins with no underscore."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    names = getattr(module, "__all__", None) or [
        name for name in own if not (name.startswith("_") or isinstance(getattr(module, name), TypeVar))
    ]
    return sorted(names, key=lambda name: (not name[0].isupper(), name.lower()))


def home_of(module: ModuleType, name: str) -> str:
    """Return the module in which a name of a room is assigned: the one that the room's text imports it from."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return str(node.module)
    return module.__name__


def entry(module: ModuleType, name: str) -> str:
    """Return the directive that describes a name."""
    from sphinx.pycode import ModuleAnalyzer

    value: Any = getattr(module, name)
    if inspect.isclass(value):
        bases = "" if value.__bases__ == (object,) else "   :show-inheritance:\n"
        return f".. autoclass:: {name}\n   :members:\n{bases}"
    if inspect.isfunction(value):
        return f".. autofunction:: {name}\n"
    about = ModuleAnalyzer.for_module(home_of(module, name)).find_attr_docs().get(("", name), [])
    text = "\n".join(f"   {line}" for line in plain_markup(about))
    return f".. py:data:: {name}\n\n{text}\n"


def room_page(room: str, described: dict[int, str]) -> str:
    """Return the page of a room; `described` says which objects are so already, and where."""
    module = importlib.import_module(room)
    names = {name: getattr(module, name) for name in public_names(module)}
    new = [name for name, value in names.items() if id(value) not in described]
    others = [f":py:obj:`{described[id(value)]}`" for name, value in names.items() if name not in new]
    described |= {id(names[name]): f"{room}.{name}" for name in new if callable(names[name])}
    heading = f"{room}\n{'=' * len(room)}\n"
    parts = [heading, f".. automodule:: {room}\n   :no-members:\n"]
    if others:
        parts.append(f"Also here, and described elsewhere: {', '.join(others)}.\n")
    return "\n".join([*parts, f".. currentmodule:: {room}\n", *(entry(module, name) for name in new)])


def commands_page() -> str:
    """Return the page of the commands, each a function."""
    from soundnet_kd.cli.table import COMMANDS

    parts = ["Commands as functions\n=====================\n"]
    parts.append(
        "A command of ``soundnet-kd`` is a function; its flags are the function's parameters, and its help is what "
        "stands here. A function returns a result that prints as the command's closing line.\n"
    )
    for name, command in COMMANDS.items():
        module, function = command.target.split(":")
        title = f"soundnet-kd {name}"
        parts.append(f"{title}\n{'-' * len(title)}\n\n.. autofunction:: soundnet_kd.commands.{module}.{function}\n")
    return "\n".join(parts)


def plain_markup(lines: list[str]) -> list[str]:
    """Return lines of a docstring as reStructuredText: stars are stars, unless they stand in backticks."""
    parts = re.split(r"(`[^`]+`)", "\n".join(lines))
    return "".join(part if part.startswith("`") else part.replace("*", r"\*") for part in parts).split("\n")


def adapt_docstring(app: "Sphinx", what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Be called for each docstring, before numpydoc is."""
    lines[:] = plain_markup(lines)


def setup(app: "Sphinx") -> None:
    """Write each page, where it is not there as it should be, and read docstrings as they are written here."""
    out = Path(app.srcdir) / "api" / "made"
    out.mkdir(parents=True, exist_ok=True)
    described: dict[int, str] = {}
    pages = {room: room_page(room, described) for room in ROOMS} | {"commands": commands_page()}
    for name, text in pages.items():
        page = out / f"{name}.rst"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    app.connect("autodoc-process-docstring", adapt_docstring, priority=100)
