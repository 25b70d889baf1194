"""The page: its sections in a template, with the files that it needs beside it."""

import shutil
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from soundnet_kd.analysis.maps.interactive import PLOTLY_SYMBOLS, write_plotly
from soundnet_kd.figures.style import COLORS
from soundnet_kd.report.inputs import ReportInputs
from soundnet_kd.report.page_data import FOLDER as DATA_FOLDER
from soundnet_kd.report.section import Section
from soundnet_kd.report.sections.classes import CLASSES
from soundnet_kd.report.sections.clips import CLIPS
from soundnet_kd.report.sections.map import MAP
from soundnet_kd.report.sections.neurons import NEURONS
from soundnet_kd.report.sections.overview import OVERVIEW
from soundnet_kd.report.sections.peeled import PEELED
from soundnet_kd.report.sections.training import TRAINING
from soundnet_kd.storage import atomic_write

SECTIONS: tuple[Section, ...] = (OVERVIEW, TRAINING, CLASSES, NEURONS, MAP, CLIPS, PEELED)
"""In the order of the page."""

PAGE_FILE = "index.html"
STYLE = "report.css"
_SHARED_SCRIPTS = ("data", "elements", "sounds", "plots")
"""Scripts that those of the sections use, in the order in which they must be loaded."""
_LAST_SCRIPT = "start"
_TEMPLATES = Path(__file__).parent / "templates"
_SECTION_FILES = Path(__file__).parent / "sections"


@dataclass(frozen=True)
class ShownSection:
    """A section as written to the page: its name, its title, and its content as HTML."""

    name: str
    title: str
    html: str


def write_page(inputs: ReportInputs) -> tuple[ShownSection, ...]:
    """Write the page of a run, with its data, its scripts, its style and plotly beside it, and return its sections."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader([_TEMPLATES, _SECTION_FILES]),
        # Names of files and classes are escaped.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: list[ShownSection] = []
    data: dict[str, Any] = {}
    for section in SECTIONS:
        content = section.show(inputs)
        if content is not None:
            html = templates.get_template(f"{section.name}.html.j2").render(content.names)
            shown.append(ShownSection(section.name, section.title, Markup(html)))
            data[section.name] = content.data
    inputs.data.write("palette", {"colors": COLORS, "symbols": list(PLOTLY_SYMBOLS.values())})
    inputs.data.write("sections", data)
    inputs.data.remove_others()
    inputs.figures.remove_others()
    scripts = _copy_files(inputs.out)
    write_plotly(inputs.out)
    text = templates.get_template("index.html.j2").render(
        title=_title(inputs),
        run=inputs.files.folder.resolve().name,
        made=date.today().isoformat(),
        version=version("soundnet-kd"),
        sections=shown,
        scripts=[
            *scripts,
            *(f"{DATA_FOLDER}/{name}.js" for name in inputs.data.names if name in ("palette", "sections", "clips")),
        ],
        style=STYLE,
        main_color=COLORS[0],
        skipped=dict(inputs.skipped),
        clips=0 if inputs.clips is None else len(inputs.clips.ids),
        silent=inputs.silent,
    )
    with atomic_write(inputs.out / PAGE_FILE) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return tuple(shown)


def _copy_files(out: Path) -> list[str]:
    """Copy the style sheet and the scripts into the page's folder; return the scripts in the order of loading."""
    own = [section.name for section in SECTIONS if (_SECTION_FILES / f"{section.name}.js").is_file()]
    sources = {
        STYLE: _TEMPLATES / STYLE,
        **{f"script/{name}.js": _TEMPLATES / "script" / f"{name}.js" for name in _SHARED_SCRIPTS},
        **{f"script/{name}.js": _SECTION_FILES / f"{name}.js" for name in own},
        f"script/{_LAST_SCRIPT}.js": _TEMPLATES / "script" / f"{_LAST_SCRIPT}.js",
    }
    for name, source in sources.items():
        with atomic_write(out / name) as partial:
            shutil.copyfile(source, partial)
    return [name for name in sources if name != STYLE]


def _title(inputs: ReportInputs) -> str:
    name = inputs.files.folder.resolve().name
    if inputs.cache is None:
        return name
    return f"{name}: what {inputs.cache.network.architecture} hears"
