"""The figures of tracks with several tags: which tags go together, and what the networks say of each track."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures.style import COLORS, GREY, heat_map, new_figure, readable
from soundnet_kd.supervised.tags import TrackScores

MAX_TRACKS = 24
COLUMNS = 4


def draw_tag_overlap(overlap: NDArray[np.int64], tags: Sequence[str], path: str | Path) -> None:
    """Draw which share of the tracks of each tag (row) has each other tag too.

    Parameters
    ----------
    overlap : (tags, tags) int
        Tracks that have both.
    tags : sequence of str
    path : str or Path
        PNG to write.
    """
    shares = overlap / np.maximum(np.diag(overlap)[:, None], 1)
    side = float(np.clip(3.0 + 0.35 * len(tags), 5.0, 16.0))
    with new_figure(path, side + 1.0, side) as figure:
        axes = figure.subplots()
        heat_map(axes, shares, tags, tags, "share of the row's tracks (numbers: tracks)", most=1.0)
        for row, column in np.argwhere(overlap > 0):
            axes.text(
                column,
                row,
                overlap[row, column],
                ha="center",
                va="center_baseline",
                fontsize=8,
                color="white" if shares[row, column] > 0.4 else "black",
            )
        axes.set_title("Tags that tracks have together")


def draw_tracks(tracks: TrackScores, tags: Sequence[str], top: int, path: str | Path) -> None:
    """Draw the scores of tested tracks as bars, each track's divided by their sum, with its true tags in colour.

    Parameters
    ----------
    tracks : TrackScores
        The first 24 are drawn.
    tags : sequence of str
    top : int
        The first so many tags are parted from the others.
    path : str or Path
        PNG to write.
    """
    shown = min(MAX_TRACKS, len(tracks.ids))
    rows = -(-shown // COLUMNS)
    height = 0.16 * len(tags) + 0.7
    with new_figure(path, 3.4 * min(COLUMNS, shown), 0.5 + height * rows) as figure:
        panels = figure.subplots(rows, min(COLUMNS, shown), squeeze=False)
        for number, axes in enumerate(panels.flat):
            if number >= shown:
                axes.set_axis_off()
                continue
            scores = tracks.scores[number] / max(float(tracks.scores[number].sum()), 1e-12)
            order = np.argsort(-scores, kind="stable")
            colours = [COLORS[0] if tracks.truth[number, place] else GREY for place in order]
            axes.barh(range(len(tags)), scores[order], color=colours, height=0.8)
            axes.set_yticks(range(len(tags)), [readable(tags[place]) for place in order], fontsize=7)
            axes.axhline(top - 0.5, color=GREY, linewidth=0.8, linestyle="--")
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="x", labelsize=7)
            axes.set_title(readable(Path(tracks.ids[number]).stem), fontsize=8)
        figure.suptitle(f"Scores of tested tracks; true tags in colour, the first {top} above the line", fontsize=10)
