"""The page itself: a template, filled, and the files that it stands on."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundnet_kd.analysis.interactive_map import write_plotly
from soundnet_kd.storage import whole

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(context: Mapping[str, Any], path: Path) -> None:
    """Write the page, with its script, its style and plotly beside it.

    Parameters
    ----------
    context : mapping
        What the template asks for; every name in it is shown as text.
    path : Path
        HTML to write.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    for name in ("report.js", "report.css"):
        with whole(path.with_name(name)) as partial:
            shutil.copyfile(_TEMPLATES / name, partial)
    write_plotly(path.parent)
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = templates.get_template("index.html.j2").render(context)
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
