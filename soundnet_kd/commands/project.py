"""The command `project`: UMAP maps of every layer, with measures of how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from soundnet_kd.analysis.classes.scores import read_extremes
from soundnet_kd.analysis.maps.figures import draw_categories, draw_extremes, draw_map
from soundnet_kd.analysis.maps.file import SETTINGS_FILE, LayerMap, write_map_points, write_maps
from soundnet_kd.analysis.maps.interactive import write_interactive_map, write_plotly
from soundnet_kd.analysis.maps.layout import LabeledMap
from soundnet_kd.analysis.maps.projection import MIN_CLIPS, explain_left_out, has_direction, umap_map
from soundnet_kd.analysis.maps.quality import (
    HeldOut,
    MapQuality,
    decimal_or_dash,
    held_out_line,
    held_out_quality,
    map_quality,
    percent_or_dash,
    trust_caption,
)
from soundnet_kd.data.datasets.esc50 import is_esc50
from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.features import FeatureCache
from soundnet_kd.storage import ensure_same_settings, require_same_settings, versions
from soundnet_kd.transfer.layers import choose_layers


@dataclass(frozen=True)
class ProjectResult:
    """The quality of each layer's map, what is left out of it, and where the maps are written."""

    out: Path
    quality: Mapping[str, MapQuality] = field(repr=False)
    held_out: Mapping[str, HeldOut | None] = field(repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        lines = [f"{'':<7} {'trust-':>9}  {'kNN accuracy':^17}  {'silhouette':^17}"]
        lines.append(f"{'layer':<7} {'worthiness':>10}  {'features':>8} {'map':>7}  {'features':>8} {'map':>7}")
        for layer, found in self.quality.items():
            lines.append(
                f"{layer:<7} {found.trustworthiness:>10.2f}"
                f"  {percent_or_dash(found.knn_accuracy_features):>8} {percent_or_dash(found.knn_accuracy_map):>7}"
                f"  {decimal_or_dash(found.silhouette_features):>8} {decimal_or_dash(found.silhouette_map):>7}"
            )
        lines += [f"{layer}: {held_out_line(held)}" for layer, held in self.held_out.items() if held]
        lines += [f"{layer}: {reason}" for layer, reason in self.left_out.items()]
        return "\n".join([*lines, f"wrote {self.out}: maps of {counted(len(self.quality), 'layer')}"])


def project(
    features: str | Path,
    out: str | Path,
    layers: Sequence[str] | None = None,
    supervised: bool = False,
    results: str | Path | None = None,
    seed: int = 0,
) -> ProjectResult:
    """Draw a UMAP map of the sounds for every layer: sounds with similar features lie near each other.

    Sounds that activate no neuron of a layer, such as silence, are left out of its map and counted. Each map is written
    as a table of coordinates, as pictures, and as an interactive page that names the sound under the mouse.

    Parameters
    ----------
    features : str or Path
        The features.h5 that `soundnet-kd extract` wrote.
    out : str or Path
        Folder for the maps.
    layers : sequence of str, optional
        Layers to draw, such as [conv5, pool5]. [default: all]
    supervised : bool
        Let the map use the labels to pull the sounds of a class together. A second map is then made without some of the
        sounds, to measure whether they land in their class.
    results : str or Path, optional
        Folder that `soundnet-kd evaluate` wrote for these features; its hardest and easiest classes are drawn too.
    seed : int
        The same seed gives the same maps on the same machine.
    """
    out = Path(out)
    quality: dict[str, MapQuality] = {}
    held_out: dict[str, HeldOut | None] = {}
    left_out: dict[str, str] = {}
    with FeatureCache(features) as cache:
        every_label, class_names, ids, identity = cache.labels, cache.class_names, cache.ids, cache.identity
        names = (*class_names, "")
        wanted = choose_layers(cache, layers)
        extremes = read_extremes(results, class_names) if results else None
        settings = {
            "layers": wanted,
            "supervised": supervised,
            "results": extremes and [names[each] for each in (*extremes.hardest, *extremes.easiest)],
            "seed": seed,
        }
        made_by = versions() | {package: version(package) for package in ("umap-learn", "plotly")}
        made_from = cache.source_of(settings, made_by)
        require_same_settings(out / SETTINGS_FILE, made_from)
        for layer in tqdm(wanted, desc="project", unit="layer"):
            averages = cache[layer]
            reason = explain_left_out(averages)
            if reason:
                left_out[layer] = reason
            mapped = np.flatnonzero(has_direction(averages)) if reason else np.arange(len(averages))
            if reason and len(mapped) < MIN_CLIPS:
                left_out[layer] = f"{reason}; too few are left for a map"
                continue
            averages, labels = averages[mapped], every_label[mapped]
            shown = [ids[clip] for clip in mapped]
            points = umap_map(averages, labels, seed=seed, supervised=supervised)
            quality[layer] = map_quality(averages, points, labels, seed)
            held_out[layer] = (
                held_out_quality(averages, labels, cache.folds[mapped], seed, cache.no_fold) if supervised else None
            )
            ensure_same_settings(out / SETTINGS_FILE, made_from)
            write_map_points(out, layer, shown, [names[label] for label in labels], points.tolist())
            title = f"{layer}: UMAP map{', drawn with the labels' if supervised else ''}"
            caption = trust_caption(quality[layer], held_out[layer], reason)
            clips = LabeledMap(points, labels, class_names)
            draw_map(clips, title, caption, out / f"map_{layer}.png")
            if is_esc50(class_names):
                draw_categories(clips, f"{title}, inside each category", out / f"map_{layer}_categories.png")
            if extremes:
                draw_extremes(clips, extremes, title, out / f"map_{layer}_extremes.png")
            write_interactive_map(clips, shown, title, caption, out / f"map_{layer}.html")
    if not quality:
        raise SettingsError(f"there is no layer to draw a map of ({left_out[wanted[0]]}); look at the sounds")
    write_plotly(out)
    maps = [
        LayerMap(layer, supervised, found, held_out[layer], left_out.get(layer, "")) for layer, found in quality.items()
    ]
    source = {"features": str(features), "identity": identity, **settings, "versions": made_by}
    write_maps(out, maps, left_out, source)
    return ProjectResult(out, quality, held_out, left_out)
