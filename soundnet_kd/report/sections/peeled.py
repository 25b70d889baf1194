"""Single sounds in every layer of a network."""

from pathlib import Path

from soundnet_kd.features.activation_file import read_peel_source
from soundnet_kd.report.inputs import ReportInputs
from soundnet_kd.report.section import Content, Section
from soundnet_kd.report.sounds import PlayableSound


def show(inputs: ReportInputs) -> Content | None:
    """Return the figures of the peeled sounds of a run, each with the same sound on the page, if it is there."""
    files = _files_by_name(inputs)
    peeled = []
    for label, folder in inputs.files.peels.items():
        about = inputs.skipped.read(label, read_peel_source, folder)
        if about is not None:
            figures = inputs.figures.copy(folder, label)
            # The layers come first, then pooled activations and heads.
            figures.sort(key=lambda figure: (figure.name != "layers", figure.name))
            peeled.append(
                {"sound": about.sound, "network": about.network, "figures": figures, "file": files.get(about.sound)}
            )
    return Content({"peeled": peeled}) if peeled else None


def _files_by_name(inputs: ReportInputs) -> dict[str, str]:
    """Return the page's sounds by the names of the clips' files; names that several clips share are left out."""
    names = [Path(clip).name for clip in inputs.clips.ids] if inputs.clips is not None else []
    return {
        name: sound.file
        for name, sound in zip(names, inputs.sounds, strict=True)
        if isinstance(sound, PlayableSound) and names.count(name) == 1
    }


PEELED = Section("peeled", "Peeled", show)
