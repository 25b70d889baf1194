"""What a section of the page is: a name, and a function that says what it shows of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from soundnet_kd.report.inputs import ReportInputs


@dataclass(frozen=True)
class Content:
    """What a section shows.

    Attributes
    ----------
    names : mapping
        What its template asks for.
    data : anything that JSON can hold, optional
        For its script.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None


@dataclass(frozen=True)
class Section:
    """A section of the page. Beside its module lie its template, NAME.html.j2, and its script, NAME.js, if it has one.

    Attributes
    ----------
    name : str
        Its address on the page.
    title : str
    show : callable
        Writes what the section needs beside the page, and returns its content; None where the run holds nothing of it.
    command : str, optional
        Which makes what the section shows from the page's features, FEATURES.
    outputs : str, optional
        What `RunFiles` calls the outputs of that command.
    """

    name: str
    title: str
    show: Callable[[ReportInputs], Content | None]
    command: str | None = None
    outputs: str | None = None
