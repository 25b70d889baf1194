"""What all sections of a page read from: the files of a run, what it is about, and where the page's own files go."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from soundnet_kd.analysis.neurons.file import NEURONS_FILE, NeuronsFile
from soundnet_kd.errors import MediaError
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.clips import Clips
from soundnet_kd.report.evaluations import read_evaluations
from soundnet_kd.report.figure_files import FigureFolder
from soundnet_kd.report.find import RunFiles
from soundnet_kd.report.page_data import PageData
from soundnet_kd.report.skipped import Skipped
from soundnet_kd.report.sounds import PlayableSound, write_sounds

DEFAULT_PERCENTILE = 95.0


@dataclass(frozen=True)
class ShownNeurons:
    """The statistics of neurons that the page shows.

    Attributes
    ----------
    name : str
        Of the output.
    folder : Path
    file : NeuronsFile
    layers : tuple of str
        That the page's features have too; at least one.
    """

    name: str
    folder: Path
    file: NeuronsFile
    layers: tuple[str, ...]


class ReportInputs:
    """What the sections of a page read from, and write to.

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
    skipped : Skipped
        Takes what cannot be read.
    figures : FigureFolder
    data : PageData
    evaluations : list of ShownEvaluation
        The one that the page begins with is the first.
    clips : Clips or None
    """

    def __init__(
        self, files: RunFiles, cache: FeatureCache | None, sounds: Path | None, clip_seconds: float, out: Path
    ) -> None:
        self.files, self.cache, self.clip_seconds, self.out = files, cache, clip_seconds, out
        self.skipped = Skipped()
        self.figures, self.data = FigureFolder(out), PageData(out)
        self.evaluations = read_evaluations(files, cache, self.skipped)
        self.clips: Clips | None = None
        if cache is not None and cache.ids:
            self.clips = Clips.of_cache(cache, sounds)
        elif self.evaluations:
            self.clips = Clips.of_evaluation(self.evaluations[0].evaluation, sounds)

    @property
    def pooled(self) -> FeatureCache | None:
        """The page's features, if they are one vector for each clip; sequences have no neurons to count and no map."""
        return self.cache if self.cache is not None and self.cache.pooling != "none" else None

    @property
    def is_labelled(self) -> bool:
        """Whether any clip has a class."""
        return self.clips is not None and self.clips.is_labelled

    @cached_property
    def sounds(self) -> list[PlayableSound | MediaError]:
        """The sound of each clip, written into the page's folder; why, where there is none."""
        return [] if self.clips is None else write_sounds(self.clips, self.clip_seconds, self.out)

    @property
    def silent(self) -> int:
        """How many clips cannot be played."""
        return sum(isinstance(sound, MediaError) for sound in self.sounds)

    @cached_property
    def neurons(self) -> ShownNeurons | None:
        """The statistics of the neurons of the page's features, the first that there are."""
        if self.pooled is None or self.clips is None:
            return None
        for name, folder in self.files.of(self.files.neurons, self.pooled.path).items():
            file = self.skipped.read(name, NeuronsFile, folder / NEURONS_FILE)
            layers = tuple(layer for layer in file.layers if layer in self.pooled) if file is not None else ()
            return ShownNeurons(name, folder, file, layers) if file is not None and layers else None
        return None

    @property
    def percentile(self) -> float:
        """Of a neuron's values, above which a clip activates it."""
        return DEFAULT_PERCENTILE if self.neurons is None else self.neurons.file.percentile


def preferred_layer(layers: Sequence[str]) -> str:
    """Return the layer to show first: pool5, the notebook's, or else the last one."""
    return "pool5" if "pool5" in layers else layers[-1]
