"""The figures of training on labels: curves of loss and accuracy; of tags, their overlap and each track's scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures.heat_map import count_map
from soundnet_kd.figures.panels import new_panels
from soundnet_kd.figures.style import COLORS, GREY, display_name, new_figure
from soundnet_kd.supervised.tags import TrackScores
from soundnet_kd.training.history import draw_curve, finish_curves

MAX_NAMED = 8
"""Trainings up to which a legend names them."""
MAX_TRACKS = 24
COLUMNS = 4


def draw_trainings(histories: Mapping[str, Sequence[Mapping[str, float]]], path: str | Path) -> None:
    """Draw loss and accuracy over the steps, on training and validation sounds, with a colour for each training.

    Parameters
    ----------
    histories : mapping from the name of a training to the rows of its history
    path : str or Path
        PNG to write.
    """
    with new_figure(path, 11, 4.2) as figure:
        panels = figure.subplots(1, 2)
        for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
            for number, (name, history) in enumerate(histories.items()):
                style: dict[str, Any] = {"color": COLORS[number % len(COLORS)], "linewidth": 1}
                label = name if len(histories) <= MAX_NAMED else None
                draw_curve(axes, history, f"train/{measure}", alpha=0.5, label=label, **style)
                draw_curve(axes, history, f"validation/{measure}", linestyle="--", **style)
            title = f"{measure.capitalize()} (pale: training; dashed: validation)"
            finish_curves(axes, title, fractions=measure == "accuracy")
        if 1 < len(histories) <= MAX_NAMED:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def draw_tag_overlap(overlap: NDArray[np.int64], tags: Sequence[str], path: str | Path) -> None:
    """Draw the fraction of the tracks with each tag (row) that have each other tag too.

    Parameters
    ----------
    overlap : (tags, tags) int
        Number of tracks that have both.
    tags : sequence of str
    path : str or Path
        PNG to write.
    """
    side = float(np.clip(3.0 + 0.35 * len(tags), 5.0, 16.0))
    with new_figure(path, side + 1.0, side) as figure:
        axes = figure.subplots()
        count_map(axes, overlap, np.diag(overlap), tags, "share of the row's tracks (numbers: tracks)", font_size=8)
        axes.set_title("Tags that tracks have together")


def draw_tracks(tracks: TrackScores, tags: Sequence[str], top: int, path: str | Path) -> None:
    """Draw the scores of tested tracks as bars, normalized to a sum of 1 for each track, with true tags in colour.

    Parameters
    ----------
    tracks : TrackScores
        The first 24 are drawn.
    tags : sequence of str
    top : int
        A line is drawn beneath this many tags.
    path : str or Path
        PNG to write.
    """
    shown = min(MAX_TRACKS, len(tracks.ids))
    height = 0.16 * len(tags) + 0.7
    with new_panels(path, shown, min(COLUMNS, shown), 3.4, height, extra_height=0.5) as (figure, panels):
        for number, axes in enumerate(panels):
            scores = tracks.scores[number] / max(float(tracks.scores[number].sum()), 1e-12)
            order = np.argsort(-scores, kind="stable")
            colours = [COLORS[0] if tracks.truth[number, place] else GREY for place in order]
            axes.barh(range(len(tags)), scores[order], color=colours, height=0.8)
            axes.set_yticks(range(len(tags)), [display_name(tags[place]) for place in order], fontsize=7)
            axes.axhline(top - 0.5, color=GREY, linewidth=0.8, linestyle="--")
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="x", labelsize=7)
            axes.set_title(display_name(Path(tracks.ids[number]).stem), fontsize=8)
        figure.suptitle(f"Scores of tested tracks; true tags in colour, the first {top} above the line", fontsize=10)
