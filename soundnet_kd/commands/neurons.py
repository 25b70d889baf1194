"""The command `neurons`: tables, arrays and figures of which classes activate each neuron."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.analysis.neurons.chance import Chance, ShuffledLabels
from soundnet_kd.analysis.neurons.figures import (
    draw_best_classes,
    draw_best_share,
    draw_best_share_by_layer,
    draw_neuron,
    draw_neuron_classes,
    draw_selective,
)
from soundnet_kd.analysis.neurons.file import NEURONS_FILE, SETTINGS_FILE, write_neurons
from soundnet_kd.analysis.neurons.statistics import COMMON, SELECTIVE, NeuronStatistics, neuron_statistics
from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.features import FeatureCache
from soundnet_kd.storage import ensure_same_settings, require_same_settings, versions, write_csv
from soundnet_kd.transfer.layers import choose_layers


@dataclass(frozen=True, eq=False)
class NeuronsResult:
    """Which classes activate the neurons of each layer, how this compares with chance, and where it is written."""

    out: Path
    layers: Mapping[str, NeuronStatistics] = field(repr=False)
    chances: Mapping[str, Chance] = field(repr=False)

    def __str__(self) -> str:
        lines = [
            f"{'layer':<7} {'neurons':>7} {'above chance':>12} {'median best share':>18}   "
            "class that is best for most neurons"
        ]
        for layer, statistics in self.layers.items():
            per_class = statistics.neurons_per_class
            commonest = f"{statistics.classes[per_class.argmax()]} ({per_class.max()})" if per_class.any() else "-"
            lines.append(
                f"{layer:<7} {len(statistics.counts):>7} {self.chances[layer].is_above.sum():>12} "
                f"{np.median(statistics.best_share):>18.1%}   {commonest}"
            )
        neurons = sum(len(statistics.counts) for statistics in self.layers.values())
        return "\n".join([*lines, f"wrote {self.out}: {neurons} neurons of {counted(len(self.layers), 'layer')}"])


def neurons(
    features: str | Path,
    out: str | Path,
    layers: Sequence[str] | None = None,
    percentile: float = 95.0,
    top_clips: int = 9,
    neuron: int | None = None,
    shuffles: int = 10_000,
    seed: int = 0,
) -> NeuronsResult:
    """Count, for every neuron of every layer, the classes of the sounds that activate it most.

    A neuron is above chance if its commonest class has more of these sounds than under shuffled labels. The
    probabilities are corrected for the number of neurons in a layer (Benjamini and Hochberg), so that at most 5 % of
    the neurons called above chance are expected not to be.

    Parameters
    ----------
    features : str or Path
        The features.h5 that `soundnet-kd extract` wrote.
    out : str or Path
        Folder for the tables, the arrays and the figures.
    layers : sequence of str, optional
        Layers to analyse, such as [conv5, pool5]. [default: all]
    percentile : float
        A neuron counts as activated by the sounds above this percentile of its own values.
    top_clips : int
        Number of strongest sounds listed for each neuron; fewer if fewer are above its least activation.
    neuron : int, optional
        Neuron, counted from 0, whose activations are drawn for each layer. [default: the most selective one]
    shuffles : int
        Number of times that the labels are shuffled to estimate chance.
    seed : int
        The same seed gives the same shuffles.
    """
    if top_clips < 1:
        raise SettingsError(f"top_clips is {top_clips}; expected at least 1")
    out = Path(out)
    found: dict[str, NeuronStatistics] = {}
    chances: dict[str, Chance] = {}
    excited_by: dict[str, NDArray[np.int64]] = {}
    with FeatureCache(features) as cache:
        labels, ids = cache.labels, cache.ids
        wanted = choose_layers(cache, layers)
        settings = {
            "layers": wanted,
            "percentile": percentile,
            "top_clips": top_clips,
            "neuron": neuron,
            "shuffles": shuffles,
            "seed": seed,
        }
        made_by = cache.source_of(settings, versions())
        require_same_settings(out / SETTINGS_FILE, made_by)
        shuffled = ShuffledLabels(labels, shuffles, seed)
        for layer in wanted:
            activations = cache[layer]
            found[layer] = neuron_statistics(activations, labels, cache.class_names, percentile)
            labelled = activations[labels >= 0]
            # The order of the sounds at a neuron's least activation is arbitrary, so none of them are listed.
            excited_by[layer] = np.minimum((labelled > labelled.min(axis=0)).sum(axis=0), top_clips)
            chances[layer] = shuffled.judge(found[layer])
            _require_neuron(neuron, layer, len(found[layer].counts))
        ensure_same_settings(out / SETTINGS_FILE, made_by)
        for layer in tqdm(wanted, desc="neurons", unit="layer"):
            statistics, chance = found[layer], chances[layer]
            draw_neuron_classes(statistics, layer, out / f"neurons_{layer}.png")
            draw_best_share(statistics, chance, layer, percentile, out / f"best_share_{layer}.png")
            draw_best_classes(statistics, layer, out / f"best_classes_{layer}.png")
            draw_selective(statistics, chance, layer, out / f"selective_{layer}.png")
            shown = int(statistics.best_share.argmax()) if neuron is None else neuron
            shown_activations = cache[layer][:, shown]
            draw_neuron(
                shown_activations, statistics, chance, layer, shown, percentile, out / f"neuron_{layer}_{shown}.png"
            )
    write_neurons(out / NEURONS_FILE, found, chances, ids, labels, made_by)
    write_csv(
        out / "neurons.csv",
        (
            *("layer", "neuron", "threshold", "activated", "best class", "best share"),
            *("p value", "q value", "above chance"),
            *(f"top clip {rank + 1}" for rank in range(min(top_clips, int((labels >= 0).sum())))),
        ),
        _rows(found, chances, ids, excited_by),
    )
    write_csv(
        out / "layers.csv",
        (
            *("layer", "neurons", "median best share", "above 20 %", f"above {100 * SELECTIVE:g} %"),
            *("above chance", "95 % of shuffled", f"classes best for more than {COMMON}"),
        ),
        (
            (
                *(layer, len(each.counts), f"{np.median(each.best_share):.4f}"),
                *(int((each.best_share > share).sum()) for share in (0.20, SELECTIVE)),
                *(int(chances[layer].is_above.sum()), f"{chances[layer].share:.4f}"),
                int((each.neurons_per_class > COMMON).sum()),
            )
            for layer, each in found.items()
        ),
    )
    draw_best_share_by_layer(found, chances, percentile, out / "best_share_by_layer.png")
    return NeuronsResult(out, found, chances)


def _require_neuron(neuron: int | None, layer: str, count: int) -> None:
    if neuron is not None and not 0 <= neuron < count:
        raise SettingsError(
            f"there is no neuron {neuron} in {layer}, which has {count} (0 to {count - 1}); choose another, or --layers"
        )


def _rows(
    layers: Mapping[str, NeuronStatistics],
    chances: Mapping[str, Chance],
    ids: Sequence[str],
    excited_by: Mapping[str, NDArray[np.int64]],
) -> Iterator[tuple[object, ...]]:
    for layer, found in layers.items():
        chance = chances[layer]
        for neuron, best in enumerate(found.best_class):
            yield (
                layer,
                neuron,
                f"{found.thresholds[neuron]:.6g}",
                int(found.activated[neuron]),
                found.classes[best] if best >= 0 else "",
                f"{found.best_share[neuron]:.4f}",
                f"{chance.p_values[neuron]:.3g}",
                f"{chance.q_values[neuron]:.3g}",
                "yes" if chance.is_above[neuron] else "no",
                *(ids[clip] for clip in found.order[neuron, : excited_by[layer][neuron]]),
            )
