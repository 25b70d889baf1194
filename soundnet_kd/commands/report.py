"""The command `report`: a page that shows what a run found, and plays its sounds."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from soundnet_kd.errors import SettingsError, counted
from soundnet_kd.features import FeatureCache
from soundnet_kd.report.find import MARK, RunFiles
from soundnet_kd.report.inputs import ReportInputs
from soundnet_kd.report.page import PAGE_FILE, SECTIONS, write_page
from soundnet_kd.storage import lock_folder, make_folder, versions, write_json

_BEGUN = {".lock", f".partial-{MARK}"}
"""Files of a report that was killed before its folder was marked as a report."""


@dataclass(frozen=True)
class ReportResult:
    """The sections of a page, what could not be shown, and where the page is."""

    page: Path
    sections: tuple[str, ...]
    clips: int
    silent: int
    skipped: Mapping[str, str]
    hints: tuple[str, ...]

    def __str__(self) -> str:
        silent = f", {self.silent} of which cannot be played" if self.silent else ""
        clips = f"; {counted(self.clips, 'clip')}{silent}" if self.clips else ""
        hints = [f"the page would also have the section {hint}" for hint in self.hints]
        skipped = [f"left out: {name} ({reason})" for name, reason in self.skipped.items()]
        return "\n".join([*skipped, *hints, f"wrote {self.page}: {', '.join(self.sections).lower()}{clips}"])


def report(
    run: str | Path,
    out: str | Path | None = None,
    features: str | Path | None = None,
    sounds: str | Path | None = None,
    clip_seconds: float = 10.0,
) -> ReportResult:
    """Make a page of the results of a run, with sounds to play; it opens from disk, without a server or network.

    It shows whatever the other commands wrote in the run's folder and its sub-folders: trainings, features,
    evaluations, neurons, maps, layer activations of single sounds. The clips that activate a neuron, those taken for
    another class, and the points of a map can be played. Sections without contents are left out.

    Parameters
    ----------
    run : str or Path
        Folder that `soundnet-kd run`, or several commands, wrote to.
    out : str or Path, optional
        Folder of the page, index.html. [default: report, in the run's folder]
    features : str or Path, optional
        Which features.h5 of the run the page is about. [default: the one that most of the other files were made from]
    sounds : str or Path, optional
        Where the sounds are now, if they were moved, as given to `soundnet-kd extract`.
    clip_seconds : float
        Length of each sound on the page, from its start.

    Raises
    ------
    SettingsError
        If there is nothing to show.
    RunConflictError
        If another report is being written there.
    """
    if not 0 < clip_seconds < float("inf"):
        raise SettingsError(f"clip_seconds is {clip_seconds:g}; give a length above 0, such as 10")
    folder = Path(run)
    files = RunFiles.find(folder)
    target = folder / "report" if out is None else Path(out)
    # A report removes other files from its folder, so the folder must not hold anything else.
    if target.is_dir() and not (target / MARK).is_file() and {file.name for file in target.iterdir()} - _BEGUN:
        raise SettingsError(f"{target} is not empty and holds no report; choose another --out, or an empty folder")
    chosen = files.choose_cache(features)
    make_folder(target)
    with lock_folder(target), ExitStack() as stack:
        # From here on the folder is marked as a report, so that no outputs are looked for in it.
        write_json(target / MARK, {"run": str(folder), "features": chosen and str(chosen), "versions": versions()})
        cache = None if chosen is None else stack.enter_context(FeatureCache(chosen))
        inputs = ReportInputs(files, cache, sounds, clip_seconds, target)
        shown = {section.name: section.title for section in write_page(inputs)}
    return ReportResult(
        page=target / PAGE_FILE,
        sections=tuple(shown.values()),
        clips=0 if inputs.clips is None else len(inputs.clips.ids),
        silent=inputs.silent,
        skipped=inputs.skipped,
        hints=tuple(_hints(inputs, shown, chosen)),
    )


def _hints(inputs: ReportInputs, shown: Collection[str], features: Path | None) -> Iterator[str]:
    """Return the commands whose outputs are missing, and would add a section to the page."""
    if features is None or not inputs.is_labelled:
        return
    for section in SECTIONS:
        if section.command and section.name not in shown and not getattr(inputs.files, section.outputs or ""):
            command = section.command.replace("FEATURES", str(features))
            yield f"{section.name} with `{command} --out {inputs.files.folder / section.name}`"
