"""The gallery of a network: for each class, sounds it is sure are of it, sure are of another, or undecided about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.data import Clip
from soundnet_kd.figures.style import COLORS, GREY, display_name, new_figure
from soundnet_kd.media import local_file, read_audio
from soundnet_kd.storage import make_folder, unique_file_stems, write_csv
from soundnet_kd.supervised.evaluation import class_probabilities
from soundnet_kd.supervised.experiment import ExperimentRun

SURE, SURE_OF_ANOTHER = 0.9, 0.1
"""A network counts as sure of a class above the first probability, and as sure of another class below the second."""
BOUNDARY = 0.5
CLIPS_PER_KIND = 6
KINDS = ("sure", "another", "nearest the boundary")
MIN_POINTS = 2000
"""Number of columns of a drawn waveform; each goes from its lowest to its highest sample."""


@dataclass(frozen=True)
class GalleryClip:
    """A clip in the gallery of a class: its row among the tested clips, the class's probability, and its kind."""

    row: int
    probability: float
    kind: str


def choose_clips(probability: NDArray[np.float64], seed: int = 0) -> list[GalleryClip]:
    """Choose the clips in the gallery of a class.

    Parameters
    ----------
    probability : (clips,) float
        Probability of the class.
    seed : int
        Seed of the random choice among the clips that the network is sure of.

    Returns
    -------
    list of GalleryClip
        Up to six of each kind: random ones above 0.9, random ones below 0.1, and those nearest to 0.5.
    """
    rng = np.random.default_rng(seed)
    found = []
    for kind, rows in (
        ("sure", rng.permutation(np.flatnonzero(probability > SURE))),
        ("another", rng.permutation(np.flatnonzero(probability < SURE_OF_ANOTHER))),
        ("nearest the boundary", np.argsort(np.abs(probability - BOUNDARY), kind="stable")),
    ):
        found += [GalleryClip(int(row), float(probability[row]), kind) for row in rows[:CLIPS_PER_KIND]]
    return found


def write_gallery(run: ExperimentRun) -> None:
    """Draw the gallery of every class for the networks of the first seed, and list its clips in `gallery.csv`."""
    names = run.class_names
    folder = run.out / "gallery"
    make_folder(folder)
    tests = [tested for tested in run.results if tested.trial.seed == run.config.seeds[0]]
    data = run.sets[run.config.seeds[0]]
    clip_of = {clip.id: clip for clip in data.manifest.clips}
    clips = [clip_of[name] for tested in tests for name in tested.ids]
    probabilities = np.concatenate([class_probabilities(tested, len(names)) for tested in tests])
    rows: list[tuple[object, ...]] = []
    for place, (name, stem) in enumerate(zip(names, unique_file_stems(names), strict=True)):
        shown = choose_clips(probabilities[:, place])
        waveforms = [_waveform(clips[each.row], run) for each in shown]
        draw_gallery(name, names, [clips[each.row] for each in shown], shown, waveforms, folder / f"{stem}.png")
        rows += [
            (
                name,
                f"{stem}.png",
                each.kind,
                clips[each.row].id,
                names[clips[each.row].label],
                f"{each.probability:.6f}",
            )
            for each in shown
        ]
    write_csv(folder / "gallery.csv", ("class", "file", "shown as", "id", "truth", "probability"), rows)


def draw_gallery(
    name: str,
    names: Sequence[str],
    clips: Sequence[Clip],
    shown: Sequence[GalleryClip],
    waveforms: Sequence[tuple[NDArray[np.float32], int]],
    path: str | Path,
) -> None:
    """Draw the waveforms of a class's gallery, a row for each kind; sounds of the class itself are in colour.

    Parameters
    ----------
    name : str
        The class.
    names : sequence of str
        Names of all classes.
    clips : sequence of Clip
    shown : sequence of GalleryClip
    waveforms : sequence of (waveform, sample rate)
    path : str or Path
        PNG to write.
    """
    with new_figure(path, 2.1 * CLIPS_PER_KIND, 4.8) as figure:
        panels = figure.subplots(len(KINDS), CLIPS_PER_KIND, squeeze=False)
        for row, kind in enumerate(KINDS):
            mine = [place for place, each in enumerate(shown) if each.kind == kind]
            for column, axes in enumerate(panels[row]):
                axes.set_yticks([])
                axes.set_ylim(-1, 1)
                axes.tick_params(axis="x", labelsize=6)
                axes.grid(visible=False)
                if column == 0:
                    axes.set_ylabel(kind, fontsize=8)
                if column >= len(mine):
                    axes.spines[:].set_visible(False)
                    axes.set_xticks([])
                    if not mine and column == 0:
                        axes.text(0.05, 0.5, "no clip", transform=axes.transAxes, fontsize=8, color=GREY)
                    continue
                place = mine[column]
                waveform, rate = waveforms[place]
                truth = names[clips[place].label]
                colour = COLORS[0] if truth == name else GREY
                edges = np.unique(np.linspace(0, len(waveform), MIN_POINTS + 1).astype(int))[:-1]
                lowest, highest = np.minimum.reduceat(waveform, edges), np.maximum.reduceat(waveform, edges)
                axes.fill_between(edges / rate, lowest, highest, color=colour, linewidth=0.3, rasterized=True)
                axes.set_title(f"{display_name(truth)} {shown[place].probability:.2f}", fontsize=8)
        figure.suptitle(
            f"{display_name(name)}: probability above {SURE}, below {SURE_OF_ANOTHER}, nearest {BOUNDARY} "
            f"(seconds; in colour: truly {display_name(name)})",
            fontsize=10,
        )


def _waveform(clip: Clip, run: ExperimentRun) -> tuple[NDArray[np.float32], int]:
    with local_file(clip.path) as file:
        waveform, rate = read_audio(file)
    part = run.sets[run.config.seeds[0]].segments.get(clip.id)
    if part is not None:
        first = round(part.start_seconds * rate)
        waveform = waveform[first : first + round(part.seconds * rate)]
    return waveform, rate
