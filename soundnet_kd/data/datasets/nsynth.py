"""NSynth (Engel et al., ICML 2017): notes of instruments, in the layout in which it is published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soundnet_kd.data.manifest import Clip, Manifest, Split
from soundnet_kd.data.splits import WITHOUT_FOLDS, SplitSounds, draw_split
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.storage import read_json

NOTES_FILE = "examples.json"
CARRIED = ("instrument_str", "instrument_source_str", "pitch", "velocity")
FAMILY = "instrument_family_str"


@dataclass(frozen=True)
class NSynth:
    """A folder that holds nsynth-train, nsynth-valid or nsynth-test, each with examples.json and audio/.

    Attributes
    ----------
    learned : str
        The folder that is learned from; a part of it is for validation.
    test : str
        The folder that is tested on.
    validation_share : float
        Of the notes of the folder that is learned from, family by family.
    left_out : tuple of str
        Families that are left out; nsynth-valid and nsynth-test have no synth_lead.
    """

    learned: str = "nsynth-valid"
    test: str = "nsynth-test"
    validation_share: float = 0.33
    left_out: tuple[str, ...] = ("synth_lead",)

    def read(self, place: str | Path, seed: int) -> SplitSounds:
        """Find the notes.

        Raises
        ------
        SettingsError
            If one of the folders is not there.
        FormatError
            If examples.json is not what it is in NSynth, or not a note is left.
        """
        place = Path(place)
        notes: list[tuple[str, Path, dict[str, Any]]] = []
        unusable: dict[str, str] = {}
        for name in (self.learned, self.test):
            found, lacking = _notes(place, name)
            notes += found
            unusable |= lacking
        notes = [note for note in notes if note[2][FAMILY] not in self.left_out]
        if not notes:
            raise FormatError(
                f"{place} has no note of {self.learned} and {self.test} that could be used; unpack both whole, and see "
                "which families data.nsynth.left_out leaves"
            )
        families = tuple(sorted({note[FAMILY] for _, _, note in notes}))
        clips = tuple(
            Clip(
                f"{folder}/{file.stem}",
                file,
                families.index(note[FAMILY]),
                carried=tuple(str(note.get(column, "")) for column in CARRIED),
            )
            for folder, file, note in notes
        )
        learned = np.array([folder == self.learned for folder, _, _ in notes])
        labels = np.array([clip.label for clip in clips])
        splits = np.full(len(clips), "test", dtype=object)
        splits[learned] = draw_split(labels[learned], {"validation": self.validation_share}, seed)
        chosen: list[Split] = splits.tolist()
        return SplitSounds(Manifest(clips, families, CARRIED), {WITHOUT_FOLDS: chosen}, unusable=unusable)


def _notes(place: Path, name: str) -> tuple[list[tuple[str, Path, dict[str, Any]]], dict[str, str]]:
    """Return the notes of one folder, and those that are named there but cannot be used."""
    folder = place / name
    if not (folder / NOTES_FILE).is_file():
        raise SettingsError(
            f"{folder} holds no {NOTES_FILE}; unpack NSynth's {name}.jsonwav.tar.gz there, or name another folder with "
            "--set data.nsynth.learned=... and data.nsynth.test=..."
        )
    content = read_json(folder / NOTES_FILE)
    if not isinstance(content, dict) or not all(
        isinstance(note, dict) and isinstance(note.get(FAMILY), str) for note in content.values()
    ):
        raise FormatError(f"{folder / NOTES_FILE} does not give each note its {FAMILY}, as NSynth's does")
    audio = folder / "audio"
    there = (
        {file.stem: file for file in sorted(audio.iterdir()) if not file.name.startswith(".")} if audio.is_dir() else {}
    )
    missing = f"{NOTES_FILE} names it, but there is no such file in audio"
    unusable = {f"{name}/{note}": missing for note in content if note not in there}
    unusable |= {f"{name}/{note}": f"{NOTES_FILE} does not name it" for note in there if note not in content}
    return [(name, there[note], about) for note, about in sorted(content.items()) if note in there], unusable
