"""Training curves: the columns of a history over its optimizer steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curve(
    axes: "Axes", history: Sequence[Mapping[str, float]], column: str, *, dashed: bool = False, **style: Any
) -> None:
    """Draw one column of a history over the steps, through the rows that have it; draw nothing if none does.

    Parameters
    ----------
    axes : Axes
    history : sequence of mapping from column to value
        Rows of `history.csv`; each has a `step`.
    column : str
        Such as `validation/loss`.
    dashed : bool
        Whether the line is dashed.
    **style
        Properties of the line that matplotlib knows: color, label, alpha, linewidth …
    """
    points = [(row["step"], row[column]) for row in history if column in row]
    if points:
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, linestyle="--" if dashed else "-", **style)


def finish_curves(axes: "Axes", title: str, *, fractions: bool = False) -> None:
    """Label the axes of training curves; the y axis of fractions goes from 0% to 100%."""
    axes.set_xlabel("step")
    axes.set_title(title)
    if fractions:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(lambda fraction, _: f"{fraction:.0%}")
