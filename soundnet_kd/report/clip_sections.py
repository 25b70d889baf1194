"""The sections that speak of clips: what an evaluation answered, neurons, maps, and each clip's relatives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from soundnet_kd.analysis.maps.quality import HeldOut, MapQuality, trust_caption
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.figure_files import FigureFolder, FigureLink
from soundnet_kd.report.find import RunFiles
from soundnet_kd.report.scripts import Scripts
from soundnet_kd.report.sections.classes import answers_data
from soundnet_kd.report.sections.maps import maps_in, positions_data
from soundnet_kd.report.sections.neighbors import relatives_data
from soundnet_kd.report.sections.neurons import NeuronFile
from soundnet_kd.report.sections.overview import Accuracies
from soundnet_kd.report.skipped import Skipped
from soundnet_kd.transfer.results import Evaluation

DEFAULT_PERCENTILE = 95.0
TELLERS, CLIPS_OF_A_TELLER = 4, 2
"""Neurons that can be heard at the top of the page, and clips of each: what fits on a first screen."""


class ClipSections:
    """What of a run is about the page's clips.

    Parameters
    ----------
    clips : Clips
    files : RunFiles
    cache : FeatureCache or None
        The page's features, where there are any.
    results : mapping from name to Evaluation
    accuracies : mapping from name to Accuracies
        Of the same evaluations.
    scripts : Scripts
    figures : FigureFolder
    left_out : LeftOut
        Takes what cannot be read.

    Attributes
    ----------
    context : dict
        For the template.
    run : dict
        For the page's script.
    figures : mapping from section to list of FigureLink
    """

    def __init__(
        self,
        clips: Clips,
        files: RunFiles,
        cache: FeatureCache | None,
        results: Mapping[str, Evaluation],
        accuracies: Mapping[str, Accuracies],
        scripts: Scripts,
        figures: FigureFolder,
        left_out: Skipped,
    ) -> None:
        self._clips, self._files, self._results, self._accuracies = clips, files, results, accuracies
        # Whole sequences have no common length, and so no neurons to count and no map.
        self._pooled = cache if cache is not None and cache.pooling != "none" else None
        self._cache, self._scripts, self._folder, self._left_out = cache, scripts, figures, left_out
        self.context: dict[str, Any] = {}
        self.run: dict[str, Any] = {}
        self.figures: dict[str, list[FigureLink]] = {}

    def write(self) -> dict[str, str]:
        """Write the data and the figures, and give those sections that there are, name by id."""
        sections = {}
        if self._write_answers():
            sections["classes"] = "Classes"
        percentile = DEFAULT_PERCENTILE
        if self._pooled is not None:
            for label, place in list(self._files.of(self._files.neurons, self._pooled.path).items())[:1]:
                found = self._write_neurons(label, place, self._pooled)
                if found is not None:
                    percentile = found
                    sections["neurons"] = "Neurons"
        if self._cache is not None and self._write_maps(self._files.of(self._files.maps, self._cache.path)):
            sections["map"] = "Map"
        self._write_relatives(percentile)
        return sections

    def _write_answers(self) -> bool:
        shown: list[dict[str, Any]] = []
        for label, results in self._results.items():
            about = self._accuracies[label]
            place = self._files.evaluations[label]
            figures = self._folder.copied(place, label)
            fits = set(results.classes) == set(self._clips.class_names) and results.place_of.keys() & set(
                self._clips.ids
            )
            if not fits:
                self._left_out[f"{label} in Classes"] = "its clips or classes are others than the page's"
                self.figures.setdefault("overview", []).extend(figures)
                continue
            self.figures.setdefault("classes", []).extend(
                [*figures, *self._folder.confusions(results, place, label, self._clips)]
            )
            self._scripts.write(f"answers-{len(shown)}", answers_data(results, self._clips))
            shown.append(
                {
                    "name": about.name,
                    "number": len(shown),
                    "layers": results.layers,
                    "best": about.best.layer,
                    "notes": {
                        row.layer: f"{row.layer}: {row.accuracy:.1%} right (± {row.std:.1%} over {len(row.folds)} "
                        f"folds); protocol {about.protocol}, {about.head}; settings chosen: {about.selection}"
                        for row in about.rows
                    },
                }
            )
        self.run["evaluations"] = shown
        self.context["has_answers"] = bool(shown)
        return bool(shown)

    def _write_neurons(self, label: str, place: Path, cache: FeatureCache) -> float | None:
        file = self._left_out.read(label, NeuronFile, place)
        layers = [layer for layer in file.layers if layer in cache] if file is not None else []
        if file is None or not layers:
            return None
        for number, layer in enumerate(tqdm(layers, desc="neurons", unit="layer")):
            data = file.data(layer, cache[layer])
            self._scripts.write(f"neurons-{number}", data)
        first = preferred(layers)
        self.run["neurons"] = {
            "layers": layers,
            "first": first,
            "percentile": file.percentile,
            "floor": file.least_p,
            "shares": {layer: file.shares(layer) for layer in layers},
            "chance": file.chance(layers[0]),
        }
        self.run["tellers"] = file.tellers(first, cache[first], TELLERS, CLIPS_OF_A_TELLER)
        self.context["tellers"] = bool(self.run["tellers"])
        self.context |= {"has_neurons": True, "percentile": f"{file.percentile:g}", "expected": data["expected"]}
        self.figures["neurons"] = self._folder.copied(place, label)
        return file.percentile

    def _write_maps(self, folders: Mapping[str, Path]) -> bool:
        shown: list[dict[str, str]] = []
        layers: list[str] = []
        for label, place in folders.items():
            for about in self._left_out.read(label, maps_in, place) or ():
                layer, supervised, held_out = about.pop("layer"), about.pop("supervised"), about.pop("held_out")
                left_out = about.pop("left_out")
                data = self._left_out.read(f"{label}, {layer}", positions_data, place, layer, self._clips)
                if data is None:
                    continue
                self._scripts.write(f"map-{len(shown)}", data)
                name = f"{layer}{', drawn with the labels' if supervised else ''}"
                caption = trust_caption(MapQuality(**about), HeldOut(**held_out) if held_out else None, left_out)
                layers.append(layer)
                shown.append({"name": name if len(folders) == 1 else f"{label}: {name}", "note": caption})
            self.figures.setdefault("map", []).extend(self._folder.copied(place, label))
        self.run |= {"maps": shown, "maps_first": layers.index(preferred(layers)) if layers else None}
        self.context["has_maps"] = bool(shown)
        return bool(shown)

    def _write_relatives(self, percentile: float) -> None:
        layers: list[str] = []
        counts: list[int] = []
        if self._pooled is not None and len(self._clips.ids) > 1:
            for layer in tqdm(self._pooled.layers, desc="neighbors", unit="layer"):
                features = self._pooled[layer]
                data = self._left_out.read(f"neighbors in {layer}", relatives_data, features, percentile)
                if data is not None:
                    self._scripts.write(f"relatives-{len(layers)}", data)
                    layers.append(layer)
                    counts.append(features.shape[1])
        first = preferred(layers) if layers else None
        self.run |= {"relatives": layers, "relatives_neurons": counts, "relatives_first": first}


def preferred(layers: Sequence[str]) -> str:
    """Return the layer to show first: pool5, the notebook's, or else the last one."""
    return "pool5" if "pool5" in layers else layers[-1]
