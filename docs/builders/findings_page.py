"""The list of findings, made from what the scripts say at their beginning."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


@dataclass(frozen=True)
class Finding:
    """What the comment at the beginning of a script says: its first sentence, what follows, and where it was seen."""

    name: str
    title: str
    text: str
    seen: str


def read_finding(script: Path) -> Finding:
    """Return what a script of `findings/` says of itself.

    Raises
    ------
    ValueError
        If the comment does not say in its last paragraph where it was seen.
    """
    lines = script.read_text(encoding="utf-8").splitlines()[1:]
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    comment = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])
    title, *paragraphs = re.split(r"\n\n+", comment.strip())
    if not paragraphs or not paragraphs[-1].startswith("Seen on"):
        raise ValueError(f"{script}: the comment at its beginning should end with a paragraph that says 'Seen on …'.")
    return Finding(script.stem, title.replace("\n", " "), "\n\n".join(paragraphs[:-1]), paragraphs[-1])


def setup(app: "Sphinx") -> None:
    """Write `made/findings.md`: a section for each script, in the order of their names, with a link to it."""
    out = Path(app.srcdir) / "made"
    out.mkdir(exist_ok=True)
    sections = []
    for script in sorted((Path(app.srcdir).parent / "findings").glob("*.sh")):
        found = read_finding(script)
        sections.append(
            f"## {found.name}\n\n**{found.title}**\n\n{found.text}\n\n{found.seen}\n\n"
            f"[The script](../findings/{script.name}): `bash findings/{script.name}`\n"
        )
    page = out / "findings.md"
    text = "\n".join(sections)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
