"""The command `rank`: a table of evaluations of the same sounds, and a figure of accuracy over size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from soundnet_kd.figures.style import GREY, color_and_marker, new_figure, percent_formatter
from soundnet_kd.models.soundnet import parameters_up_to
from soundnet_kd.storage import make_folder
from soundnet_kd.transfer.ranking import (
    FIRST_NUMBER,
    RANKING_FIGURE,
    TABLE_HEADER,
    Ranked,
    notes,
    rank_evaluations,
    table_cells,
    write_ranking,
)


@dataclass(frozen=True, eq=False)
class RankResult:
    """The rows of the table, the best first, and where it is written."""

    out: Path
    rows: Sequence[Ranked] = field(repr=False)

    def __str__(self) -> str:
        table = [TABLE_HEADER, *map(table_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                f"{cell:>{width}}" if place >= FIRST_NUMBER else f"{cell:<{width}}"
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        best = self.rows[0]
        return "\n".join(
            [
                *lines,
                "accuracy: mean over the folds ± their standard deviation; parameters: up to the layer, of trained "
                "networks with their head; seconds: of one training, mean over the folds",
                *notes(self.rows),
                f"wrote {self.out}: {len(self.rows)} rows, {best.name} ({best.layer}) first with {best.accuracy:.2%}",
            ]
        )


def rank(
    results: Sequence[str | Path], out: Path | str, names: list[str] | None = None, layers: list[str] | None = None
) -> RankResult:
    """Rank evaluations of the same sounds with the same folds in one table, such as transfer and training from scratch.

    The table has a row for each layer of an evaluation, and for each trained network: parameters, seconds of training,
    and accuracy with its standard deviation over the folds. `soundnet-kd compare` tests whether the difference between
    two of them is more than chance.

    Parameters
    ----------
    results : sequence of str or Path
        Folders that `evaluate`, `finetune` or `train` wrote, for the same data set.
    out : str or Path
        Folder for the table (ranking.csv, ranking.md) and the figure of accuracy over parameters.
    names : list of str, optional
        Names of the results in the table, in the same order. [default: the names of their folders]
    layers : list of str, optional
        Layers in the table, such as pool5; results that have none of these keep all of theirs. [default: all]

    Raises
    ------
    SettingsError
        If clips, labels, classes or folds differ, or a layer does not exist.
    """
    out = Path(out)
    rows = rank_evaluations(results, names, layers, parameters_up_to)
    make_folder(out)
    write_ranking(rows, out)
    figure = out / RANKING_FIGURE
    sized = [row for row in rows if row.parameters]
    if sized:
        _draw(sized, figure)
    else:
        for file in (figure, figure.with_suffix(".svg")):
            file.unlink(missing_ok=True)
    return RankResult(out, rows)


def _draw(rows: Sequence[Ranked], path: Path) -> None:
    """Draw accuracy over parameters, a colour for each evaluation; rows of unknown size are left out."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    with new_figure(path, 7.5, 4.6) as figure:
        axes = figure.subplots()
        names = list(dict.fromkeys(row.name for row in rows))
        for number, name in enumerate(names):
            colour, marker = color_and_marker(number)
            mine = sorted((row for row in rows if row.name == name), key=lambda row: row.parameters or 0)
            axes.errorbar(
                [row.parameters or 0 for row in mine],
                [row.accuracy for row in mine],
                [row.std or 0.0 for row in mine],
                color=colour,
                marker=marker,
                linestyle="none",
                capsize=4,
                label=name,
            )
            if len(mine) > 1:
                # A pooling layer has the same number of parameters as the convolution before it.
                for size, same in groupby(mine, key=lambda row: row.parameters or 0):
                    rows_of_size = sorted(same, key=lambda row: -row.accuracy)
                    axes.annotate(
                        ", ".join(row.layer for row in rows_of_size),
                        (size, rows_of_size[0].accuracy),
                        xytext=(6, 3),
                        textcoords="offset points",
                        fontsize=7,
                        color=GREY,
                    )
        axes.set_xscale("log")
        sizes = [row.parameters or 0 for row in rows]
        is_wide = max(sizes) > 200 * min(sizes)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(percent_formatter())
        axes.set_xlabel("parameters, up to the layer or of the whole classifier")
        axes.set_ylabel("accuracy")
        axes.set_title("Accuracy by the size of the network (bars: deviation over folds)")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
