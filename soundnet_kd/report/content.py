"""What a page holds, gathered section by section from a run's files."""

from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from soundnet_kd.analysis.categories import ESC50_CATEGORIES, is_esc50
from soundnet_kd.analysis.category_scores import CLASSES_EACH
from soundnet_kd.analysis.map_quality import HeldOut, MapQuality
from soundnet_kd.analysis.map_report import trust_caption
from soundnet_kd.errors import MediaError
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.answers import answers_data
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.curves import curves_of
from soundnet_kd.report.figure_files import FigureFolder
from soundnet_kd.report.overview import accuracies, facts_of_cache, facts_of_teachers, facts_of_training
from soundnet_kd.report.positions import maps_in, positions_data
from soundnet_kd.report.published import OTHERS, PAPER
from soundnet_kd.report.relatives import relatives_data
from soundnet_kd.report.run_files import RunFiles, made_from
from soundnet_kd.report.scripts import FOLDER, levels, packed, write_script
from soundnet_kd.report.sounds import PlayableSound, write_sounds
from soundnet_kd.report.units import NeuronFile
from soundnet_kd.storage import read_json
from soundnet_kd.transfer.stored_comparison import StoredComparison
from soundnet_kd.transfer.stored_results import StoredResults

DEFAULT_PERCENTILE = 95.0
FILTERS = ("conv1", "filters")
"""Figures of a training that show its first layer."""


class Content:
    """The content of a page.

    Parameters
    ----------
    files : RunFiles
    cache : FeatureCache or None
        What the page is about.
    sounds : Path or None
        Where the sounds lie now.
    clip_seconds : float
        So much of each is kept.
    out : Path
        Folder of the page.

    Attributes
    ----------
    context : dict
        For the template of the page, once `write` has been called.
    clip_count, silent : int
        Clips, and those that cannot be played.
    """

    def __init__(
        self, files: RunFiles, cache: FeatureCache | None, sounds: Path | None, clip_seconds: float, out: Path
    ) -> None:
        self._files, self._cache, self._seconds, self._out = files, cache, clip_seconds, out
        self._figures = FigureFolder(out)
        self._results = self._ordered({name: StoredResults.read(place) for name, place in files.evaluations.items()})
        self._clips: Clips | None = None
        if cache is not None:
            self._clips = Clips.of_cache(cache, sounds)
        elif self._results:
            self._clips = Clips.of_results(next(iter(self._results.values())), sounds)
        self.clip_count = 0 if self._clips is None else len(self._clips.ids)
        self.silent = 0
        self.context: dict[str, Any] = {}
        self._run: dict[str, Any] = {}
        self._scripts: list[str] = []

    @property
    def is_labelled(self) -> bool:
        """Whether any clip has a class."""
        return self._clips is not None and self._clips.is_labelled

    def write(self) -> dict[str, str]:
        """Write all that stands beside the page, and give its sections, name by id."""
        sections = {"overview": "Overview"}
        files = self._files
        self.context = {
            "title": self._title(),
            "run": files.folder.resolve().name,
            "made": date.today().isoformat(),
            "version": version("soundnet-kd"),
            "count": self.clip_count,
            "evaluations": [accuracies(self._named(name), each) for name, each in self._results.items()],
            "comparisons": {
                Path(name).with_suffix("").as_posix(): StoredComparison.read(file)
                for name, file in files.comparisons.items()
            },
            "about": [
                *(facts_of_cache(self._cache) if self._cache else ()),
                *(fact for place in list(files.trainings.values())[:1] for fact in facts_of_teachers(place)),
            ],
            "paper": PAPER,
            "published": OTHERS if any(is_esc50(each.classes) for each in self._results.values()) else {},
            "figures": {"overview": [], "classes": [], "neurons": [], "map": []},
            "trainings": [self._training(name, place) for name, place in files.trainings.items()],
            "has_answers": False,
            "has_neurons": False,
            "has_maps": False,
            "has_clips": self._clips is not None,
            "peels": [],
        }
        if files.trainings:
            sections["training"] = "Training"
        by_file: dict[str, str] = {}
        if self._clips is not None:
            by_file = self._write_clips(self._clips)
            sections |= self._write_sections(self._clips)
            sections["clips"] = "Clips"
        self.context["peels"] = [self._peel(name, place, by_file) for name, place in files.peels.items()]
        if files.peels:
            sections["peeled"] = "Peeled"
        self._write("run", self._run)
        self._remove_others()
        self.context |= {
            "sections": list(sections.items()),
            "silent": self.silent,
            "scripts": [f"{FOLDER}/{name}" for name in self._scripts if name in ("run.js", "clips.js")],
        }
        return sections

    def _ordered(self, results: dict[str, StoredResults]) -> dict[str, StoredResults]:
        """Put the evaluations of the page's features first, the best one of them at the top."""
        own = None if self._cache is None else self._cache.identity

        def key(name: str) -> tuple[bool, float]:
            content = results[name].content
            best = max(each["accuracy"] for each in content["results"])
            return own is not None and made_from(results[name].folder) != own, -best

        return {name: results[name] for name in sorted(results, key=key)}

    def _named(self, label: str) -> str:
        return self._files.folder.resolve().name if label == "." else label

    def _title(self) -> str:
        name = self._files.folder.resolve().name
        if self._cache is None:
            return name
        student = self._cache.identity["student"]
        return f"{name}: what {student['architecture'] if isinstance(student, dict) else student} hears"

    def _write(self, name: str, value: Any) -> None:
        write_script(self._out, name, value)
        self._scripts.append(f"{name}.js")

    def _remove_others(self) -> None:
        for file in (self._out / FOLDER).iterdir():
            if file.name not in self._scripts:
                file.unlink()
        self._figures.remove_others()

    def _training(self, name: str, place: Path) -> dict[str, Any]:
        self._run.setdefault("trainings", []).append(curves_of(place))
        figures = self._figures.copied(place, name) if place not in self._files.evaluations.values() else []
        return {
            "name": self._named(name),
            "facts": list(facts_of_training(place)),
            "figures": figures,
            "filters": next((figure for figure in figures if figure.name in FILTERS), None),
        }

    def _peel(self, name: str, place: Path, by_file: dict[str, str]) -> dict[str, Any]:
        about = read_json(place / "peel.json")
        sound = str(about["sound"]["file"])
        figures = self._figures.copied(place, name)
        # The layers come first, then what is made of them.
        figures.sort(key=lambda figure: (figure.name != "layers", figure.name))
        return {
            "sound": sound,
            "network": about["network"]["architecture"],
            "figures": figures,
            "file": by_file.get(sound),
        }

    def _write_clips(self, clips: Clips) -> dict[str, str]:
        """Write the clips and their sounds; give the sound of each file name."""
        sounds = write_sounds(clips, self._seconds, self._out)
        playable = [sound if isinstance(sound, PlayableSound) else None for sound in sounds]
        self.silent = playable.count(None)
        flat = np.zeros_like(next((sound.peaks for sound in playable if sound), np.zeros(1)))
        self._write(
            "clips",
            {
                "ids": clips.ids,
                "classes": clips.class_names,
                "categories": _categories(clips.class_names),
                "labels": packed(clips.labels + 1),
                "folds": packed(clips.folds),
                "files": [sound and sound.file for sound in playable],
                "seconds": [sound and round(sound.seconds, 2) for sound in playable],
                "reasons": {str(row): str(error) for row, error in enumerate(sounds) if isinstance(error, MediaError)},
                "longest": self._seconds,
                "peaks": packed(levels(np.stack([sound.peaks if sound else flat for sound in playable]), bits=8)),
            },
        )
        return {Path(clip).name: sound.file for clip, sound in zip(clips.ids, playable, strict=True) if sound}

    def _write_sections(self, clips: Clips) -> dict[str, str]:
        """Write what needs clips, and give those sections that there are."""
        sections = {}
        if self._write_answers(clips):
            sections["classes"] = "Classes"
        percentile = DEFAULT_PERCENTILE
        if self._cache is not None:
            found = self._files.of(self._files.neurons, self._cache.path)
            if found and self._cache.pooling != "none":
                label, place = next(iter(found.items()))
                percentile = self._write_neurons(label, place, self._cache)
                sections["neurons"] = "Neurons"
            if self._write_maps(clips, self._files.of(self._files.maps, self._cache.path)):
                sections["map"] = "Map"
        self._write_relatives(percentile)
        return sections

    def _write_answers(self, clips: Clips) -> bool:
        shown: list[dict[str, Any]] = []
        for label, results in self._results.items():
            figures = self._figures.copied(results.folder, label)
            key = "classes" if set(results.classes) == set(clips.class_names) else "overview"
            self.context["figures"][key] += figures
            if key == "overview" or not results.labels.keys() & clips.row_of.keys():
                continue
            self.context["figures"]["classes"] += self._figures.confusions(results, label, clips)
            number = len(shown)
            self._write(f"answers-{number}", answers_data(results, clips))
            about = accuracies(self._named(label), results)
            shown.append(
                {
                    "name": about.name,
                    "number": number,
                    "layers": results.layers,
                    "best": about.best.layer,
                    "notes": {
                        row.layer: f"{row.layer}: {row.accuracy:.1%} right (± {row.std:.1%} over {len(row.folds)} "
                        f"folds); protocol {about.protocol}, {about.head}; settings chosen: {about.selection}"
                        for row in about.rows
                    },
                }
            )
        self._run["evaluations"] = shown
        self.context["has_answers"] = bool(shown)
        return bool(shown)

    def _write_neurons(self, label: str, place: Path, cache: FeatureCache) -> float:
        file = NeuronFile(place)
        layers = [layer for layer in file.layers if layer in cache]
        for number, layer in enumerate(tqdm(layers, desc="neurons", unit="layer")):
            data = file.data(layer, cache[layer])
            self._write(f"neurons-{number}", data)
        self._run["neurons"] = {
            "layers": layers,
            "first": _preferred(layers),
            "percentile": file.percentile,
            "shares": {layer: file.shares(layer) for layer in layers},
            "chance": file.chance(layers[0]),
        }
        self.context |= {"has_neurons": True, "percentile": f"{file.percentile:g}", "expected": data["expected"]}
        self.context["figures"]["neurons"] = self._figures.copied(place, label)
        return file.percentile

    def _write_maps(self, clips: Clips, folders: dict[str, Path]) -> bool:
        shown: list[dict[str, str]] = []
        layers: list[str] = []
        for label, place in folders.items():
            for about in maps_in(place):
                layer, supervised, held_out = about.pop("layer"), about.pop("supervised"), about.pop("held_out")
                name = f"{layer}{', drawn with the labels' if supervised else ''}"
                caption = trust_caption(MapQuality(**about), HeldOut(**held_out) if held_out else None)
                self._write(f"map-{len(shown)}", positions_data(place, layer, clips))
                layers.append(layer)
                shown.append({"name": name if len(folders) == 1 else f"{self._named(label)}: {name}", "note": caption})
            self.context["figures"]["map"] += self._figures.copied(place, label)
        self._run |= {"maps": shown, "maps_first": layers.index(_preferred(layers)) if layers else None}
        self.context["has_maps"] = bool(shown)
        return bool(shown)

    def _write_relatives(self, percentile: float) -> None:
        cache = self._cache
        layers: tuple[str, ...] = ()
        if cache is not None and cache.pooling != "none" and len(cache.ids) > 1:
            layers = cache.layers
            for number, layer in enumerate(tqdm(layers, desc="neighbors", unit="layer")):
                features = cache[layer]
                self._run.setdefault("relatives_neurons", []).append(features.shape[1])
                self._write(f"relatives-{number}", relatives_data(features, percentile))
        self._run |= {"relatives": layers, "relatives_first": _preferred(layers) if layers else None}


def _preferred(layers: Sequence[str]) -> str:
    """Give the layer to show first: pool5, the notebook's, or else the last one."""
    return "pool5" if "pool5" in layers else layers[-1]


def _categories(class_names: Sequence[str]) -> dict[str, Any] | None:
    if not is_esc50(class_names):
        return None
    return {"names": ESC50_CATEGORIES, "of": [number // CLASSES_EACH for number in range(len(class_names))]}
