"""What a training leaves to look at: the first layer's filters, and how the figures went over the steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundnet_kd.figures import filters
from soundnet_kd.figures.style import COLOURS, drawn
from soundnet_kd.models import SoundNet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_filters(student: SoundNet, path: str | Path) -> None:
    """Draw conv1's filters as waves, and their frequency responses."""
    weights = student.get_parameter("conv1.weight").detach().cpu().float().numpy()[:, 0]
    filters.draw_filters(weights, student.preprocessing.sample_rate, "conv1", path)


def draw_history(history: Sequence[dict[str, float]], path: str | Path) -> None:
    """Draw the losses, in training and on held-out videos, and the agreement with each teacher, over the steps."""
    heads = sorted(
        {column.removeprefix("train/loss_") for row in history for column in row if column.startswith("train/loss_")}
    )
    measured = any("validation/loss" in row for row in history)
    with drawn(path, 11 if measured else 7, 4.2) as figure:
        panels = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
        losses = panels[0]
        for colour, head in zip(COLOURS, heads, strict=False):
            _curve(losses, history, f"train/loss_{head}", f"{head}, training", colour)
            _curve(losses, history, f"validation/loss_{head}", f"{head}, held out", colour, True)
        losses.set_title("Loss")
        if measured:
            agreement = panels[1]
            for colour, head in zip(COLOURS, heads, strict=False):
                _curve(agreement, history, f"validation/agreement_{head}", f"{head}, first guess", colour)
                _curve(agreement, history, f"validation/agreement_top5_{head}", f"{head}, in first five", colour, True)
            agreement.set_title("Agreement with the teachers on held-out videos")
            agreement.set_ylim(0, 1)
            agreement.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        for axes in panels:
            axes.set_xlabel("step")
            axes.legend()


def _curve(
    axes: "Axes", history: Sequence[dict[str, float]], column: str, label: str, colour: str, dashed: bool = False
) -> None:
    points = [(row["step"], row[column]) for row in history if column in row]
    if points:
        steps, values = zip(*points, strict=True)
        marker = "o" if len(points) < 30 else None
        axes.plot(steps, values, color=colour, label=label, linestyle="--" if dashed else "-", marker=marker, ms=3)
