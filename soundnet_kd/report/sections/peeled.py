"""Sounds that were followed through the layers of a network."""

from pathlib import Path
from typing import Any

from soundnet_kd.report.inputs import ReportInputs
from soundnet_kd.report.section import Content, Section
from soundnet_kd.report.sounds import PlayableSound
from soundnet_kd.storage import read_json


def show(inputs: ReportInputs) -> Content | None:
    """Return the figures of the peeled sounds of a run, each with the sound of the page that it is, if it is one."""
    files = _files_by_name(inputs)
    peeled = []
    for label, folder in inputs.files.peels.items():
        about = inputs.skipped.read(label, _about, folder)
        if about is not None:
            figures = inputs.figures.copied(folder, label)
            # The layers come first, then what is made of them.
            figures.sort(key=lambda figure: (figure.name != "layers", figure.name))
            peeled.append({**about, "figures": figures, "file": files.get(about["sound"])})
    return Content({"peeled": peeled}) if peeled else None


def _about(folder: Path) -> dict[str, Any]:
    content = read_json(folder / "peel.json")
    return {"sound": str(content["sound"]["file"]), "network": str(content["network"]["architecture"])}


def _files_by_name(inputs: ReportInputs) -> dict[str, str]:
    """Return the page's sound of each file name that only one clip has."""
    names = [Path(clip).name for clip in inputs.clips.ids] if inputs.clips is not None else []
    return {
        name: sound.file
        for name, sound in zip(names, inputs.sounds, strict=True)
        if isinstance(sound, PlayableSound) and names.count(name) == 1
    }


PEELED = Section("peeled", "Peeled", show)
