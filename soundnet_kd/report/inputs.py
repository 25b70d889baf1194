"""What the sections of a page share: the files of a run, the features and clips of the page, and its own files."""

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
from soundnet_kd.report.find import RunFiles, Skipped
from soundnet_kd.report.page_data import PageData
from soundnet_kd.report.sounds import PlayableSound, write_sounds

DEFAULT_PERCENTILE = 95.0


@dataclass(frozen=True)
class ShownNeurons:
    """The statistics of neurons on the page.

    Attributes
    ----------
    name : str
        Name of the output.
    folder : Path
    file : NeuronsFile
    layers : tuple of str
        The layers that the page's features have too; at least one.
    """

    name: str
    folder: Path
    file: NeuronsFile
    layers: tuple[str, ...]


class ReportInputs:
    """What the sections of a page read, and where they write.

    Parameters
    ----------
    files : RunFiles
    cache : FeatureCache or None
        The features of the page.
    sounds : str or Path or None
        Where the sounds are now, if they were moved.
    clip_seconds : float
        Length of each sound on the page, at most.
    out : str or Path
        Folder of the page.

    Attributes
    ----------
    skipped : Skipped
        Collects the outputs that cannot be read.
    figures : FigureFolder
    data : PageData
    evaluations : list of ShownEvaluation
        In the order of the page.
    clips : Clips or None
    """

    def __init__(
        self,
        files: RunFiles,
        cache: FeatureCache | None,
        sounds: str | Path | None,
        clip_seconds: float,
        out: str | Path,
    ) -> None:
        self.files, self.cache, self.clip_seconds, self.out = files, cache, clip_seconds, Path(out)
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
        """The page's features if they are one vector per clip; neurons and maps are not shown for sequences."""
        return self.cache if self.cache is not None and self.cache.pooling != "none" else None

    @property
    def is_labelled(self) -> bool:
        """Whether any clip has a class."""
        return self.clips is not None and self.clips.is_labelled

    @cached_property
    def sounds(self) -> list[PlayableSound | MediaError]:
        """The sound of each clip, written into the page's folder, or the reason why there is none."""
        return [] if self.clips is None else write_sounds(self.clips, self.clip_seconds, self.out)

    @property
    def silent(self) -> int:
        """Number of clips that cannot be played."""
        return sum(isinstance(sound, MediaError) for sound in self.sounds)

    @cached_property
    def neurons(self) -> ShownNeurons | None:
        """The first statistics of the neurons of the page's features."""
        if self.pooled is None or self.clips is None:
            return None
        for name, folder in self.files.select_made_from(self.files.neurons, self.pooled.path).items():
            file = self.skipped.read(name, NeuronsFile, folder / NEURONS_FILE)
            layers = tuple(layer for layer in file.layers if layer in self.pooled) if file is not None else ()
            return ShownNeurons(name, folder, file, layers) if file is not None and layers else None
        return None

    @property
    def percentile(self) -> float:
        """Percentile of a neuron's values above which a clip activates it."""
        return DEFAULT_PERCENTILE if self.neurons is None else self.neurons.file.percentile


def preferred_layer(layers: Sequence[str]) -> str:
    """Return the layer to show first: pool5, as in the ESC-50 notebook, or else the last one."""
    return "pool5" if "pool5" in layers else layers[-1]
