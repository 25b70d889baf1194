"""The site: `sphinx-build -W -b html docs build/docs` makes it, without a network, and it opens from disk."""

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "builders"))

project = "soundnet_kd"
author = "The soundnet_kd developers"
copyright = "the soundnet_kd developers, MIT licence"
release = version = version_of("soundnet-kd")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "findings_page",
    "gallery_runs",
]
exclude_patterns = ["gallery", "builders", "pictures", "made"]
suppress_warnings = ["config.cache"]

myst_heading_anchors = 3

default_role = "literal"  # docstrings have code in single backticks
smartquotes = False  # --flags keep both dashes
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py",
    "ignore_pattern": r"runs/",
    "within_subsection_order": "gallery_runs.in_order",
    "reset_modules": ("matplotlib", "gallery_runs.clear"),
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "capture_repr": ("_repr_html_",),
    "remove_config_comments": True,
}

html_theme = "furo"
html_title = f"soundnet_kd {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_search_summary = False  # which could not be read from disk

LINKS = {
    "pretrained/cards": {"../README.md": "../weights.md"},
}
"""What the links of files that are included lead to on the site, by their folder."""


def adapt_links(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Let what a file of the repository links to lead to its page."""
    file = (DOCS / path).resolve().relative_to(ROOT)
    for link, page in LINKS.get(file.parent.as_posix(), {}).items():
        content[0] = re.sub(rf"\]\({re.escape(link)}", f"]({page}", content[0])


def setup(app: Sphinx) -> None:
    """Be called by Sphinx before it reads the pages."""
    app.connect("include-read", adapt_links)
