"""A section of the page: its name, and the function that collects its content from a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from soundnet_kd.report.inputs import ReportInputs


@dataclass(frozen=True)
class Content:
    """The content of a section.

    Attributes
    ----------
    names : mapping
        Variables of its template.
    data : anything that JSON can hold, optional
        Data for its script.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None


@dataclass(frozen=True)
class Section:
    """A section of the page. Beside its module lie its template, NAME.html.j2, and its script, NAME.js, if it has one.

    Attributes
    ----------
    name : str
        Its anchor on the page.
    title : str
    show : callable
        Writes the files that the section needs, and returns its content; None if the run holds nothing for it.
    command : str, optional
        Command that makes the outputs it shows from the page's features, FEATURES.
    outputs : str, optional
        Attribute of `RunFiles` with the outputs of that command.
    """

    name: str
    title: str
    show: Callable[[ReportInputs], Content | None]
    command: str | None = None
    outputs: str | None = None
