"""The figures of a training from scratch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from soundnet_kd.figures.style import COLORS, new_figure

MAX_NAMED = 8


def draw_trainings(histories: Mapping[str, Sequence[Mapping[str, float]]], path: str | Path) -> None:
    """Draw loss and accuracy over the steps, while learning and on the validation sounds, a colour for each training.

    Parameters
    ----------
    histories : mapping from the name of a training to its rows
    path : str or Path
        PNG to write.
    """
    with new_figure(path, 11, 4.2) as figure:
        panels = figure.subplots(1, 2)
        for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
            for number, (name, history) in enumerate(histories.items()):
                for stage, style in (("train", "-"), ("validation", "--")):
                    points = [
                        (row["step"], row[f"{stage}/{measure}"]) for row in history if f"{stage}/{measure}" in row
                    ]
                    if points:
                        steps, values = zip(*points, strict=True)
                        axes.plot(
                            steps, values, style, color=COLORS[number % len(COLORS)], linewidth=1,
                            alpha=0.5 if stage == "train" else 1.0,
                            label=name if stage == "train" and len(histories) <= MAX_NAMED else None,
                        )  # fmt: skip
            axes.set_xlabel("step")
            axes.set_title(f"{measure.capitalize()} (pale: training; dashed: validation)")
        panels[1].set_ylim(0, 1)
        panels[1].yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        if 1 < len(histories) <= MAX_NAMED:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
