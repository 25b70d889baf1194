"""The command `rank`: a table of evaluations of the same sounds, and a figure of accuracy over size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundnet_kd.models.architectures import parameters_up_to
from soundnet_kd.storage import make_folder
from soundnet_kd.transfer.figures import draw_ranking
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
        draw_ranking(sized, figure)
    else:
        for file in (figure, figure.with_suffix(".svg")):
            file.unlink(missing_ok=True)
    return RankResult(out, rows)
