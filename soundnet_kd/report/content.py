"""What a page holds, gathered from a run's files."""

from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.data.datasets.esc50 import (
    CLASSES_PER_CATEGORY,
    ESC50_CATEGORIES,
    OTHER_ACCURACIES,
    PAPER,
    is_esc50,
)
from soundnet_kd.errors import MediaError
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.clip_sections import ClipSections
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.figure_files import FigureFolder
from soundnet_kd.report.find import RunFiles, made_from
from soundnet_kd.report.scripts import FOLDER, Scripts, levels, packed
from soundnet_kd.report.sections.overview import (
    Accuracies,
    accuracies,
    facts_of_cache,
    facts_of_teachers,
    facts_of_training,
    gains,
)
from soundnet_kd.report.sections.training import curves_of
from soundnet_kd.report.skipped import Skipped
from soundnet_kd.report.sounds import PlayableSound, write_sounds
from soundnet_kd.storage import read_json
from soundnet_kd.transfer.comparison import Comparison, read_comparison
from soundnet_kd.transfer.ranking import RANKING_FIGURE, notes, read_ranking
from soundnet_kd.transfer.results import Evaluation, read_evaluation

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
    left_out : LeftOut
        What could not be read.
    clip_count, silent : int
        Clips, and those that cannot be played.
    """

    def __init__(
        self, files: RunFiles, cache: FeatureCache | None, sounds: Path | None, clip_seconds: float, out: Path
    ) -> None:
        self._files, self._cache, self._seconds, self._out = files, cache, clip_seconds, out
        self._name = files.folder.resolve().name
        self._figures, self._scripts = FigureFolder(out), Scripts(out)
        self.left_out = Skipped()
        self._results: dict[str, Evaluation] = {}
        self._accuracies: dict[str, Accuracies] = {}
        self._read_evaluations()
        self._clips: Clips | None = None
        if cache is not None and cache.ids:
            self._clips = Clips.of_cache(cache, sounds)
        elif self._results:
            self._clips = Clips.of_results(next(iter(self._results.values())), sounds)
        self.clip_count = 0 if self._clips is None else len(self._clips.ids)
        self.silent = 0
        self.context: dict[str, Any] = {}
        self._run: dict[str, Any] = {"trainings": [], "evaluations": [], "relatives": []}

    @property
    def is_labelled(self) -> bool:
        """Whether any clip has a class."""
        return self._clips is not None and self._clips.is_labelled

    def write(self) -> dict[str, str]:
        """Write all that stands beside the page, and give its sections, name by id."""
        sections = {"overview": "Overview"}
        files, evaluations, comparisons = self._files, list(self._accuracies.values()), self._comparisons()
        self.context = {
            "title": self._title(),
            "run": self._name,
            "made": date.today().isoformat(),
            "version": version("soundnet-kd"),
            "count": self.clip_count,
            "evaluations": evaluations,
            "rankings": [made for name in files.rankings if (made := self._ranking(name)) is not None],
            "comparisons": comparisons,
            "gains": gains(comparisons.values(), evaluations),
            "about": self._about(),
            "paper": PAPER,
            "published": OTHER_ACCURACIES if any(is_esc50(each.classes) for each in self._results.values()) else {},
            "figures": {"overview": [], "classes": [], "neurons": [], "map": []},
            "trainings": [made for name in files.trainings if (made := self._training(name)) is not None],
            "has_answers": False,
            "has_neurons": False,
            "tellers": False,
            "has_maps": False,
            "has_clips": self._clips is not None,
        }
        if self.context["trainings"]:
            sections["training"] = "Training"
        sound_of: dict[str, str] = {}
        if self._clips is not None:
            sound_of = self._write_clips(self._clips)
            parts = ClipSections(
                self._clips, files, self._cache, self._results, self._accuracies,
                self._scripts, self._figures, self.left_out,
            )  # fmt: skip
            sections |= parts.write()
            for name, figures in parts.figures.items():
                self.context["figures"][name] += figures
            self.context |= parts.context
            self._run |= parts.run
            sections["clips"] = "Clips"
        self.context["peels"] = [made for name in files.peels if (made := self._peel(name, sound_of)) is not None]
        if self.context["peels"]:
            sections["peeled"] = "Peeled"
        self._scripts.write("run", self._run)
        self._scripts.remove_others()
        self._figures.remove_others()
        self.context |= {
            "sections": list(sections.items()),
            "silent": self.silent,
            "left_out": dict(self.left_out),
            "scripts": [f"{FOLDER}/{name}.js" for name in self._scripts.names if name in ("run", "clips")],
        }
        return sections

    def _read_evaluations(self) -> None:
        """Read the evaluations: those of the page's features first, and of these the best one at the top."""
        found: dict[str, tuple[Evaluation, Accuracies]] = {}
        for name, place in self._files.evaluations.items():
            results = self.left_out.read(name, read_evaluation, place)
            if results is not None:
                about = self.left_out.read(name, accuracies, self._named(name), results)
                if about is not None:
                    found[name] = results, about
        own = None if self._cache is None else self._cache.identity

        def key(name: str) -> tuple[bool, float]:
            return own is not None and made_from(self._files.evaluations[name]) != own, -found[name][1].best.accuracy

        for name in sorted(found, key=key):
            self._results[name], self._accuracies[name] = found[name]

    def _named(self, label: str) -> str:
        return self._name if label == "." else label

    def _title(self) -> str:
        if self._cache is None:
            return self._name
        student = self._cache.identity["student"]
        return f"{self._name}: what {student['architecture'] if isinstance(student, dict) else student} hears"

    def _about(self) -> list[tuple[str, str]]:
        facts = list(facts_of_cache(self._cache)) if self._cache else []
        for place in self._files.trainings.values():
            facts += [fact for fact in facts_of_teachers(place) if fact not in facts]
        return facts

    def _comparisons(self) -> dict[str, Comparison]:
        found = {}
        for name, file in self._files.comparisons.items():
            table = self.left_out.read(name, read_comparison, file)
            if table is not None:
                found[Path(name).with_suffix("").as_posix()] = table
        return found

    def _ranking(self, name: str) -> dict[str, Any] | None:
        file = self._files.rankings[name]
        rows = self.left_out.read(name, read_ranking, file)
        if not rows:
            return None
        figures = self._figures.copied(file.parent, name, RANKING_FIGURE)
        return {"name": self._named(name), "rows": rows, "notes": notes(rows), "figures": figures}

    def _training(self, name: str) -> dict[str, Any] | None:
        place = self._files.trainings[name]
        curves = self.left_out.read(name, curves_of, place)
        if not curves:
            return None
        self._run["trainings"].append(curves)
        figures = self._figures.copied(place, name) if name not in self._files.evaluations else []
        return {
            "name": self._named(name),
            "facts": list(facts_of_training(place)),
            "figures": figures,
            "filters": next((figure for figure in figures if figure.name in FILTERS), None),
        }

    def _peel(self, name: str, sound_of: dict[str, str]) -> dict[str, Any] | None:
        place = self._files.peels[name]
        about = self.left_out.read(name, read_json, place / "peel.json")
        if about is None:
            return None
        sound = str(about["sound"]["file"])
        figures = self._figures.copied(place, name)
        # The layers come first, then what is made of them.
        figures.sort(key=lambda figure: (figure.name != "layers", figure.name))
        network = about["network"]["architecture"]
        return {"sound": sound, "network": network, "figures": figures, "file": sound_of.get(sound)}

    def _write_clips(self, clips: Clips) -> dict[str, str]:
        """Write the clips and their sounds; give the sound of each file name that only one clip has."""
        sounds = write_sounds(clips, self._seconds, self._out)
        playable = [sound if isinstance(sound, PlayableSound) else None for sound in sounds]
        self.silent = playable.count(None)
        flat = np.zeros_like(next((sound.peaks for sound in playable if sound), np.zeros(1)))
        self._scripts.write(
            "clips",
            {
                "ids": clips.ids,
                "classes": clips.class_names,
                "categories": _categories(clips.class_names),
                "labels": packed(clips.labels + 1),
                "folds": packed(clips.folds - clips.no_fold),
                "folds_from": clips.no_fold + 1,
                "files": [sound and sound.file for sound in playable],
                "seconds": [sound and round(sound.seconds, 2) for sound in playable],
                "reasons": {str(row): str(error) for row, error in enumerate(sounds) if isinstance(error, MediaError)},
                "longest": self._seconds,
                "peaks": packed(levels(np.stack([sound.peaks if sound else flat for sound in playable]), bits=8)),
            },
        )
        names = [Path(clip).name for clip in clips.ids]
        return {
            name: sound.file for name, sound in zip(names, playable, strict=True) if sound and names.count(name) == 1
        }


def _categories(class_names: Sequence[str]) -> dict[str, Any] | None:
    if not is_esc50(class_names):
        return None
    return {"names": ESC50_CATEGORIES, "of": [number // CLASSES_PER_CATEGORY for number in range(len(class_names))]}
