"""The figures of the heads of a peeled network: which channels make which classes likely."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.layers.pictures import FEW_CHANNELS, LIMIT_PERCENTILE, headline, number_channels
from soundnet_kd.features.activation_file import PeeledHead
from soundnet_kd.figures.style import COLORS, GREY, new_figure, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_NAMED = 50
"""Classes up to which their rows of the weights are named."""

_TOP_CLASSES = 4
_TOP_CHANNELS = 8


def draw_head(head: PeeledHead, name: str, hidden: str, path: str | Path) -> None:
    """Draw which channels make a head's likeliest classes likely, and all of its weights.

    What a channel adds to all classes alike does not change what a softmax answers, so its mean over the classes is
    taken off; a head of a single class is drawn as it is.

    Parameters
    ----------
    head : PeeledHead
    name, hidden : str
        Of the head, and of the layer that it sits on.
    path : str or Path
        PNG to write.
    """
    drives = head.contributions
    logits = drives.sum(axis=1) + head.bias
    several = len(logits) > 1
    if several:
        drives, logits = drives - drives.mean(axis=0), logits - logits.mean()
    shown = np.argsort(-logits, kind="stable")[:_TOP_CLASSES]
    above = ", above the mean of all classes" if several else ""
    # Each name needs its line.
    least = 4.2 if several else 2.0
    heights = (3.4, max(least, 1.0 + 0.15 * len(logits)) if len(logits) <= _MAX_NAMED else 4.2)
    with new_figure(path, 12, sum(heights)) as figure:
        upper, lower = np.array(figure.subfigures(2, 1, height_ratios=heights))
        headline(upper, f"{name}: what {hidden}'s channels add to the highest logits (weight x activation{above})")
        panels = upper.subplots(1, len(shown), sharex=True, squeeze=False)[0]
        for axes, class_index in zip(panels, shown, strict=True):
            strongest = np.argsort(-np.abs(drives[class_index]), kind="stable")[:_TOP_CHANNELS]
            values = drives[class_index, strongest]
            axes.barh(range(len(values)), values, color=[COLORS[0] if value >= 0 else COLORS[3] for value in values])
            axes.axvline(0, color=GREY, linewidth=0.8)
            axes.set_yticks(range(len(values)), [str(index) for index in strongest], fontsize=8)
            axes.invert_yaxis()
            axes.set_xlabel("added to the logit")
            title = textwrap.shorten(readable(head.class_names[class_index]), 60, placeholder="…")
            axes.set_title(
                f"{textwrap.fill(title, 32, break_on_hyphens=False)}\nlogit {logits[class_index]:+.3g}",
                fontsize=9,
                linespacing=1.3,
            )
        panels[0].set_ylabel("channel")
        _draw_weights(lower.subplots(), head, name, hidden, np.argsort(-logits, kind="stable"))


def _draw_weights(axes: "Axes", head: PeeledHead, name: str, hidden: str, classes: NDArray[np.intp]) -> None:
    """Draw a head's weights, summed over the kernel: the likeliest classes on top, the strongest channels left."""
    weights = head.weight.sum(axis=2, dtype=np.float64)
    channels = np.argsort(-head.heard.mean(axis=1), kind="stable")
    most = float(np.percentile(np.abs(weights), LIMIT_PERCENTILE)) or 1.0
    picture = axes.imshow(
        weights[np.ix_(classes, channels)],
        aspect="auto",
        cmap="PuOr_r",
        vmin=-most,
        vmax=most,
        extent=(0, len(channels), len(classes), 0),
    )
    axes.grid(visible=False)
    kernel = head.weight.shape[2]
    summed = f", summed over the kernel's {kernel} steps" if kernel > 1 else ""
    axes.set_title(f"All weights of {name}{summed}")
    axes.set_xlabel(f"{len(channels)} channels of {hidden}, the most active first")
    if len(channels) <= FEW_CHANNELS:
        number_channels(axes, channels)
    axes.set_ylabel(f"{len(classes)} classes, the highest logit on top")
    if len(classes) <= _MAX_NAMED:
        names = [textwrap.shorten(readable(head.class_names[index]), 28, placeholder="…") for index in classes]
        axes.set_yticks(np.arange(len(classes)) + 0.5, names, fontsize=8)
        axes.set_ylabel("classes, the highest logit on top" if len(classes) > 1 else "class")
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(picture, ax=axes, label="weight", fraction=0.03, pad=0.015, extend="both")
