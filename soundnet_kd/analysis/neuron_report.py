"""The command `neurons`: a table and figures of what each neuron answers to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from soundnet_kd.analysis.neurons import NeuronStatistics, neuron_statistics
from soundnet_kd.errors import SettingsError
from soundnet_kd.features import FeatureCache
from soundnet_kd.figures import depth_colours, drawn, heat_map
from soundnet_kd.storage import check_claim, claim, versions, write_csv
from soundnet_kd.transfer.layers import chosen_layers

_MOST_NUMBERED = 64
"""Neurons up to which a figure numbers them."""


@dataclass(frozen=True, eq=False)
class NeuronsResult:
    """What the neurons of each layer answer to, and where it is written."""

    out: Path
    layers: Mapping[str, NeuronStatistics] = field(repr=False)

    def __str__(self) -> str:
        lines = [f"{'layer':<7} {'neurons':>7} {'median best share':>18}   class that is best for most neurons"]
        for layer, statistics in self.layers.items():
            per_class = statistics.neurons_per_class
            commonest = f"{statistics.classes[per_class.argmax()]} ({per_class.max()})"
            lines.append(
                f"{layer:<7} {len(statistics.counts):>7} {np.median(statistics.best_share):>18.1%}   {commonest}"
            )
        neurons = sum(len(statistics.counts) for statistics in self.layers.values())
        return "\n".join([*lines, f"wrote {self.out}: {neurons} neurons of {len(self.layers)} layers"])


def neurons(
    features: str | Path,
    out: str | Path,
    layers: Sequence[str] | None = None,
    percentile: float = 95.0,
    top_clips: int = 9,
) -> NeuronsResult:
    """Count, for every neuron of every layer, the classes of the sounds that activate it most.

    Parameters
    ----------
    features : str or Path
        The features.h5 that `soundnet-kd extract` wrote.
    out : str or Path
        Folder for the table and the figures.
    layers : sequence of str, optional
        Which layers, such as [conv5, pool5]. [default: all]
    percentile : float
        A neuron counts as activated by the sounds above this percentile of its own values.
    top_clips : int
        How many of the strongest sounds to name for each neuron.
    """
    if top_clips < 1:
        raise SettingsError(f"top_clips is {top_clips}; expected at least 1")
    out = Path(out)
    found: dict[str, NeuronStatistics] = {}
    with FeatureCache(features) as cache:
        labels, class_names, ids = cache.labels, cache.class_names, cache.ids
        wanted = chosen_layers(cache, layers)
        settings = {"layers": wanted, "percentile": percentile, "top_clips": top_clips}
        made_by = {"features": cache.identity, "settings": settings, "versions": versions()}
        check_claim(out / "neurons.json", made_by)
        for layer in tqdm(wanted, desc="neurons", unit="layer"):
            found[layer] = neuron_statistics(cache[layer], labels, class_names, percentile, top_clips)
            claim(out / "neurons.json", made_by)
            draw_neuron_classes(found[layer], layer, out / f"neurons_{layer}.png")
    write_csv(
        out / "neurons.csv",
        ("layer", "neuron", "threshold", "activated", "best class", "best share", *_ranks(found)),
        _rows(found, ids),
    )
    draw_best_shares(found, percentile, out / "best_share_by_layer.png")
    return NeuronsResult(out, found)


def draw_best_shares(layers: Mapping[str, NeuronStatistics], percentile: float, path: Path) -> None:
    """Draw the sorted best share of every neuron, all layers in one figure.

    Parameters
    ----------
    layers : mapping from layer to NeuronStatistics
        From the input on.
    percentile : float
    path : Path
        PNG to write.
    """
    from matplotlib.ticker import PercentFormatter

    with drawn(path, 8.0, 4.6) as figure:
        axes = figure.subplots()
        for (layer, statistics), colour in zip(layers.items(), depth_colours(len(layers)), strict=True):
            shares = np.sort(statistics.best_share)[::-1]
            places = (np.arange(len(shares)) + 0.5) / len(shares)
            axes.plot(places, shares, color=colour, linewidth=1.8, label=f"{layer} ({len(shares)})")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("neurons of the layer, the most selective first")
        axes.set_ylabel(f"share of the best class above percentile {percentile:g}")
        axes.set_title("How selective the neurons of each layer are")
        axes.legend(loc="upper right", title="layer (neurons)")


def draw_neuron_classes(statistics: NeuronStatistics, layer: str, path: Path) -> None:
    """Draw the share of every class in the clips that activate each neuron.

    The neurons are sorted by their best class, so that those which answer to the same class stand together.

    Parameters
    ----------
    statistics : NeuronStatistics
    layer : str
    path : Path
        PNG to write.
    """
    order = np.lexsort((-statistics.best_share, statistics.best_class))
    count, classes = statistics.share.shape
    numbers = [str(neuron) for neuron in order] if count <= _MOST_NUMBERED else None
    width = float(np.clip(3.5 + (0.035 if numbers is None else 0.12) * count, 7.0, 14.0))
    with drawn(path, width, float(np.clip(1.6 + 0.15 * classes, 3.0, 20.0))) as figure:
        axes = figure.subplots()
        heat_map(axes, statistics.share[order].T, statistics.classes, numbers, "share of the activating clips")
        axes.set_xlabel("neurons, sorted by their best class")
        axes.set_title(f"{layer}: the classes that activate each of its {count} neurons")


def _rows(layers: Mapping[str, NeuronStatistics], ids: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for layer, found in layers.items():
        for neuron, best in enumerate(found.best_class):
            yield (
                layer,
                neuron,
                f"{found.thresholds[neuron]:.6g}",
                int(found.activated[neuron]),
                found.classes[best] if best >= 0 else "",
                f"{found.best_share[neuron]:.4f}",
                *(ids[clip] for clip in found.top_clips[neuron]),
            )


def _ranks(layers: Mapping[str, NeuronStatistics]) -> list[str]:
    named = next(iter(layers.values())).top_clips.shape[1]
    return [f"top clip {rank}" for rank in range(1, named + 1)]
