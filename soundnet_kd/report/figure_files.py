"""Static figures beside the page, as PNG and SVG: copies of those of commands, and confusions not drawn by any."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from soundnet_kd.analysis.classes.figures import draw_confusion
from soundnet_kd.figures.style import display_name
from soundnet_kd.report.clips import Clips, confusion_of, predictions_of
from soundnet_kd.report.evaluations import ShownEvaluation
from soundnet_kd.storage import atomic_write
from soundnet_kd.transfer.results import PREDICTIONS_FILE

FOLDER = "figures"


@dataclass(frozen=True)
class FigureLink:
    """A figure beside the page.

    Attributes
    ----------
    name : str
    href : str
        Address of the files without their ending, percent-encoded.
    width, height : int
        Size of the PNG in pixels, 0 if unknown; the page reserves room of this size, so that nothing moves later.
    """

    name: str
    href: str
    width: int
    height: int


class FigureFolder:
    """The figures of a page.

    Parameters
    ----------
    out : str or Path
        Folder of the page.
    """

    def __init__(self, out: str | Path) -> None:
        self._out = Path(out)
        self._kept: set[Path] = set()

    def copy(self, place: str | Path, label: str, pattern: str = "*.png") -> list[FigureLink]:
        """Copy the figures that a command left in a folder.

        Parameters
        ----------
        place : str or Path
        label : str
            Path of the output in the run, which is also that of the copies.
        pattern : str
            Pattern of the names of the PNGs.
        """
        return [
            self._link(self._copy(file, label))
            for file in sorted(Path(place).glob(pattern))
            if file.with_suffix(".svg").is_file()
        ]

    def confusions(self, shown: ShownEvaluation, clips: Clips) -> list[FigureLink]:
        """Draw the confusion of every layer without one among the copies, unless an earlier report drew it already."""
        links = []
        evaluation = shown.evaluation
        made = (shown.folder / PREDICTIONS_FILE).stat().st_mtime
        for layer in evaluation.layers:
            path = self._place(shown.label) / f"confusion_{layer}.png"
            if path not in self._kept:
                both = (path, path.with_suffix(".svg"))
                self._kept.update(both)
                if not all(file.is_file() and file.stat().st_mtime >= made for file in both):
                    confusion = confusion_of(predictions_of(evaluation, layer, clips), clips)
                    correct = confusion.trace() / max(int(confusion.sum()), 1)
                    draw_confusion(
                        confusion,
                        clips.class_names,
                        f"What {layer} takes for what: {correct:.1%} right\n({evaluation.protocol})",
                        path,
                    )
                links.append(self._link(path))
        return links

    def remove_others(self) -> None:
        """Remove figures of an earlier report that this one does not show."""
        # The deepest first, so that folders are empty when their turn comes.
        for file in sorted((self._out / FOLDER).rglob("*"), reverse=True):
            if file.is_dir():
                with suppress(OSError):
                    file.rmdir()
            elif file not in self._kept:
                file.unlink()

    def _copy(self, file: Path, label: str) -> Path:
        target = self._place(label) / file.name
        for ending in (".png", ".svg"):
            with atomic_write(target.with_suffix(ending)) as partial:
                shutil.copyfile(file.with_suffix(ending), partial)
            self._kept.add(target.with_suffix(ending))
        return target

    def _place(self, label: str) -> Path:
        return self._out / FOLDER / ("run" if label == "." else label)

    def _link(self, path: Path) -> FigureLink:
        href = path.with_suffix("").relative_to(self._out).as_posix()
        size = (0, 0)
        # For a broken picture the page shows the name.
        with suppress(OSError, Image.DecompressionBombError), Image.open(path) as picture:
            size = picture.size
        return FigureLink(display_name(path.stem), quote(os.fsencode(href)), *size)
