"""What a training leaves to look at: the first layer's filters, and how the figures went over the steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.figures import COLOURS, GREY, drawn
from soundnet_kd.models import SoundNet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESPONSE_BINS = 512
FLOOR_DB = -40.0


def draw_filters(student: SoundNet, path: Path) -> None:
    """Draw conv1's filters as waves and, sorted by the frequency that they let through best, their responses."""
    weights = student.get_parameter("conv1.weight").detach().cpu().float().numpy()[:, 0]
    rate = student.preprocessing.sample_rate
    responses = responses_db(weights)
    order = np.argsort(responses.argmax(axis=1), kind="stable")
    rows = -(-len(weights) // 4)
    milliseconds = 1000 * np.arange(weights.shape[1]) / rate
    with drawn(path, 11, 1.2 + 0.95 * rows) as figure:
        left, right = np.array(figure.subfigures(1, 2, width_ratios=(1.3, 1)))
        left.suptitle(
            "conv1's filters, by their best frequency, each to its own scale", x=0.02, ha="left", weight="bold", size=11
        )
        for place, axes in enumerate(left.subplots(rows, 4, sharex=True).flat):
            if place >= len(weights):
                axes.set_visible(False)
                continue
            index = order[place]
            axes.plot(milliseconds, weights[index], color=COLOURS[0], linewidth=1)
            axes.axhline(0, color=GREY, linewidth=0.5)
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.set_title(f"{index}", fontsize=8, pad=2, weight="normal")
            if place >= len(weights) - 4:
                axes.set_xlabel("ms", fontsize=8)
        axes = right.subplots()
        picture = axes.imshow(
            responses[order],
            aspect="auto",
            interpolation="nearest",
            cmap="magma",
            vmin=FLOOR_DB,
            vmax=0,
            extent=(0, rate / 2000, len(weights) - 0.5, -0.5),
        )
        axes.set_yticks(range(len(weights)), [str(index) for index in order], fontsize=7)
        axes.grid(visible=False)
        axes.set_title("Frequency responses")
        axes.set_xlabel("kHz")
        axes.set_ylabel("filter")
        right.colorbar(picture, ax=axes, label="dB, relative to each filter's best", fraction=0.05, pad=0.02)


def responses_db(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the magnitude responses of filters in dB, relative to the best of each.

    Parameters
    ----------
    weights : (filters, taps) float

    Returns
    -------
    (filters, 513) float64
        From 0 Hz to half the sample rate, not below -40 dB.
    """
    magnitudes = np.abs(np.fft.rfft(weights, 2 * RESPONSE_BINS, axis=1))
    best = np.maximum(magnitudes.max(axis=1, keepdims=True), 1e-30)
    return np.asarray(20 * np.log10(np.maximum(magnitudes / best, 10 ** (FLOOR_DB / 20))), dtype=np.float64)


def draw_history(history: Sequence[dict[str, float]], path: Path) -> None:
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
