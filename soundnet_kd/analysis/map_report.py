"""The command `project`: a UMAP map of every layer, with a measure of how far to trust it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.analysis.categories import ESC50_CATEGORIES, is_esc50
from soundnet_kd.analysis.maps import MapQuality, map_quality, umap_map
from soundnet_kd.features import FeatureCache
from soundnet_kd.figures import COLOURS, MARKERS, drawn, readable
from soundnet_kd.storage import check_claim, claim, versions, write_csv, write_json
from soundnet_kd.transfer.layers import chosen_layers

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ProjectResult:
    """How far each layer's map can be trusted, and where the maps are written."""

    out: Path
    quality: Mapping[str, MapQuality] = field(repr=False)

    def __str__(self) -> str:
        lines = [f"{'layer':<7} {'trustworthiness':>15} {'kNN accuracy in the features':>28} {'in the map':>10}"]
        for layer, found in self.quality.items():
            lines.append(
                f"{layer:<7} {found.trustworthiness:>15.2f} {_percent(found.knn_accuracy_features):>28}"
                f" {_percent(found.knn_accuracy_map):>10}"
            )
        return "\n".join([*lines, f"wrote {self.out}: maps of {len(self.quality)} layers"])


def project(
    features: str | Path,
    out: str | Path,
    layers: Sequence[str] | None = None,
    supervised: bool = False,
    seed: int = 0,
) -> ProjectResult:
    """Draw a map of the sounds for every layer, in which sounds that the layer finds alike lie near each other.

    Parameters
    ----------
    features : str or Path
        The features.h5 that `soundnet-kd extract` wrote.
    out : str or Path
        Folder for the maps, as pictures and as tables.
    layers : sequence of str, optional
        Which layers, such as [conv5, pool5]. [default: all]
    supervised : bool
        Let the map use the labels to pull the sounds of a class together.
    seed : int
        The same seed gives the same maps on the same machine.
    """
    out = Path(out)
    quality: dict[str, MapQuality] = {}
    with FeatureCache(features) as cache:
        labels, class_names, ids, identity = cache.labels, cache.class_names, cache.ids, cache.identity
        names = (*class_names, "")
        wanted = chosen_layers(cache, layers)
        settings = {"layers": wanted, "supervised": supervised, "seed": seed}
        made_by = versions() | {"umap-learn": version("umap-learn")}
        claimed = {"features": identity, "settings": settings, "versions": made_by}
        check_claim(out / "project.json", claimed)
        for layer in tqdm(wanted, desc="project", unit="layer"):
            averages = cache[layer]
            points = umap_map(averages, labels, seed=seed, supervised=supervised)
            quality[layer] = map_quality(averages, points, labels, seed)
            claim(out / "project.json", claimed)
            write_csv(
                out / f"map_{layer}.csv",
                ("id", "label", "x", "y"),
                (
                    (clip, names[label], f"{x:.4f}", f"{y:.4f}")
                    for clip, label, (x, y) in zip(ids, labels, points, strict=True)
                ),
            )
            title = f"{layer}: UMAP map{', drawn with the labels' if supervised else ''}"
            draw_map(points, labels, class_names, title, _caption(quality[layer]), out / f"map_{layer}.png")
    write_json(
        out / "maps.json",
        {
            "format_version": FORMAT_VERSION,
            "source": {"features": str(features), "identity": identity, **settings, "versions": made_by},
            "note": "the map was drawn knowing the labels, so knn_accuracy_map tells nothing about the features"
            if supervised
            else "knn_accuracy_features is what the layer can do; the map can flatter it or fall short of it",
            "maps": [{"layer": layer} | asdict(found) for layer, found in quality.items()],
        },
    )
    return ProjectResult(out, quality)


def draw_map(
    points: NDArray[np.floating],
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    title: str,
    caption: str,
    path: Path,
) -> None:
    """Draw a map, coloured by category (ESC-50) or by class.

    Parameters
    ----------
    points : (clips, 2) float
    labels : (clips,) int
        -1 where unlabeled.
    class_names : sequence of str
    title, caption : str
    path : Path
        PNG to write.
    """
    groups, names = labels, [readable(name) for name in class_names]
    if is_esc50(class_names):
        groups, names = np.where(labels >= 0, labels // 10, -1), list(ESC50_CATEGORIES)
    with drawn(path, 8.0, 7.0) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title, pad=22)
        axes.text(0, 1.012, caption, transform=axes.transAxes)
        size = float(np.clip(6000 / len(points), 8, 60))
        unlabeled = groups < 0
        if unlabeled.any():
            axes.scatter(
                points[unlabeled, 0], points[unlabeled, 1], s=size, color="#C4C4C4", linewidths=0, label="unlabeled"
            )
        for group in np.unique(groups[~unlabeled]):
            colour, marker = COLOURS[group % len(COLOURS)], MARKERS[group // len(COLOURS) % len(MARKERS)]
            x, y = points[groups == group].T
            axes.scatter(x, y, s=size, color=colour, marker=marker, alpha=0.75, linewidths=0, label=names[group])
        if names or unlabeled.any():
            few = len(names) <= len(COLOURS)
            figure.legend(
                loc="outside lower center",
                ncols=3 if few else 6,
                fontsize=9 if few else 7,
                markerscale=max(1.0, (30 / size) ** 0.5),
            )


def _caption(quality: MapQuality) -> str:
    trust = f"trustworthiness {quality.trustworthiness:.2f}"
    if quality.knn_accuracy_features is None:
        return trust
    return (
        f"the {quality.neighbors} nearest neighbors name the class right for {_percent(quality.knn_accuracy_features)} "
        f"in the features, {_percent(quality.knn_accuracy_map)} in the map; {trust}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
