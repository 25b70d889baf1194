"""The page itself: a template, filled, and the files that it stands on."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundnet_kd.analysis.maps.interactive import write_plotly
from soundnet_kd.storage import atomic_write

STYLE = "report.css"
_PARTS = "data elements sounds plots learned training classes neurons map clips start"
SCRIPTS = tuple(f"script/{part}.js" for part in _PARTS.split())
"""The page's own script in the order in which its parts need each other."""

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(context: Mapping[str, Any], path: str | Path) -> None:
    """Write the page, with its script, its style and plotly beside it.

    Parameters
    ----------
    context : mapping
        What the template asks for, but for the page's own scripts; every name in it is shown as text.
    path : str or Path
        HTML to write.
    """
    path = Path(path)
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    for name in (STYLE, *SCRIPTS):
        with atomic_write(path.parent / name) as partial:
            shutil.copyfile(_TEMPLATES / name, partial)
    write_plotly(path.parent)
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = templates.get_template("index.html.j2").render({**context, "scripts": (*SCRIPTS, *context["scripts"])})
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
