"""What a student hears in a sound: the objects and scenes that it expects to be seen with it."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, tile_to_clip
from soundnet_kd.data.checks import describe_files
from soundnet_kd.errors import MediaError, SettingsError
from soundnet_kd.media import find_media, stream_audio
from soundnet_kd.models import SoundNet, choose_device
from soundnet_kd.pretrained import load_student
from soundnet_kd.storage import escape_name, failures_file, make_folder, write_csv, write_failures, write_json

MIN_SECONDS = 1.0
"""A shorter rest of a sound says too little."""


@dataclass(frozen=True)
class Guess:
    """A class and the student's probability for it."""

    name: str
    probability: float


@dataclass(frozen=True)
class Span:
    """What is heard in a part of a sound.

    Attributes
    ----------
    start_seconds, end_seconds : float
    guesses : dict from head to list of Guess
        The likeliest first.
    """

    start_seconds: float
    end_seconds: float
    guesses: dict[str, list[Guess]]


@dataclass(frozen=True)
class Predictions:
    """What is heard in some sounds.

    Attributes
    ----------
    sounds : dict from file to list of Span
        One span for the whole sound, or one for each 5 s.
    failures : dict from file to reason
    out : Path, optional
        Where it was written.
    as_json : bool
        How it is printed.
    reading : str
        Which sounds there are, where nothing but this was asked for.
    """

    sounds: dict[str, list[Span]]
    failures: dict[str, str] = field(default_factory=dict)
    out: Path | None = None
    as_json: bool = False
    reading: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it as lists and dictionaries that JSON can hold: `sounds`, and the reasons of `failures`."""
        sounds = [
            {
                "file": file,
                "spans": [
                    {
                        "start_seconds": span.start_seconds,
                        "end_seconds": span.end_seconds,
                        **{
                            head: [{"class": guess.name, "probability": guess.probability} for guess in guesses]
                            for head, guesses in span.guesses.items()
                        },
                    }
                    for span in spans
                ],
            }
            for file, spans in self.sounds.items()
        ]
        return {"sounds": sounds, "failures": self.failures}

    def rows(self) -> Iterator[tuple[str, float, float, str, int, str, float]]:
        """Return a row for each guess: file, start and end in seconds, head, rank, class, probability."""
        for file, spans in self.sounds.items():
            for span in spans:
                for head, guesses in span.guesses.items():
                    for rank, guess in enumerate(guesses, start=1):
                        yield file, span.start_seconds, span.end_seconds, head, rank, guess.name, guess.probability

    def __str__(self) -> str:
        if self.reading:
            return self.reading
        if self.as_json:
            return json.dumps(self.plain(), indent=2, ensure_ascii=False)
        lines = []
        for file, spans in self.sounds.items():
            for span in spans:
                lines.append(f"{file}  {_seconds(span.start_seconds)}-{_seconds(span.end_seconds)} s")
                width = max(len(head) for head in span.guesses)
                for head, guesses in span.guesses.items():
                    # One a line: the names of ImageNet's classes hold commas.
                    for rank, guess in enumerate(guesses):
                        lines.append(f"  {'' if rank else head:<{width}}  {guess.probability:6.1%}  {guess.name}")
        lines += [f"not read: {reason}" for reason in self.failures.values()]
        if self.out is not None:
            skipped = f", {len(self.failures)} not read (see {failures_file(self.out)})" if self.failures else ""
            lines.append(f"wrote {self.out}{skipped}")
        return "\n".join(lines)


def predict(
    sounds: str | Path | Iterable[str | Path],
    student: SoundNet | str | Path = "soundnet8",
    out: Path | str | None = None,
    top: int = 5,
    per_step: bool = False,
    json: bool = False,
    device: str = "auto",
    dry_run: bool = False,
) -> Predictions:
    """Say which objects and scenes a student hears in sounds.

    A sound is listened to as in training: in clips of 20 s, each with a guess for every 5 s. A shorter rest is filled
    up with silence to whole 5 s and repeated; one below a second, behind other clips, is left out.

    Parameters
    ----------
    sounds : str or Path, or several of them
        Sound or video files, or folders of them.
    student : str or Path or SoundNet
        A student.safetensors, the run folder that holds one, or a name such as soundnet8 (`soundnet-kd weights list`).
    out : str or Path, optional
        File to write the guesses to, .csv or .json. Sounds that cannot be read are named, with the reason, in a table
        beside it.
    top : int
        How many objects to name, and how many scenes.
    per_step : bool
        Guesses for each 5 s, in place of their average over the sound.
    json : bool
        Print JSON in place of text.
    device : str
        Where the student runs: auto, cpu, cuda, cuda:1, mps.
    dry_run : bool
        Say how many sounds there are and which, and stop: nothing is decoded or written.

    Raises
    ------
    SettingsError
        If there is no such student, or `out` has another suffix.
    MediaError
        If not a single sound could be read.
    """
    out = None if out is None else Path(out)
    if top < 1:
        raise SettingsError(f"top is {top}; at least one guess is shown")
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise SettingsError(f"{out} has to end in .csv or .json")
    files = find_media(sounds)
    if dry_run:
        return Predictions({}, {}, reading=describe_files(files))
    if out is not None:
        # Better now than when all sounds are heard.
        make_folder(out.parent)
    # A network that is given stays as it is, wherever this one goes.
    network = deepcopy(student) if isinstance(student, SoundNet) else load_student(student)
    network.eval().to(choose_device(device))
    heard: dict[str, list[Span]] = {}
    failures: dict[str, str] = {}
    for file in tqdm(files, desc="predict", unit="sound", leave=False):
        try:
            heard[escape_name(file)] = _spans(network, list(listen(network, file)), top, per_step)
        except MediaError as error:
            failures[escape_name(file)] = str(error)
    if out is not None:
        write_failures(failures_file(out), failures)
    if not heard:
        raise MediaError(f"none of the {len(failures)} sounds could be read, such as: {next(iter(failures.values()))}")
    predictions = Predictions(heard, failures, out, json)
    if out is not None and out.suffix.lower() == ".csv":
        header = ("file", "start_seconds", "end_seconds", "head", "rank", "class", "probability")
        write_csv(out, header, predictions.rows())
    elif out is not None:
        write_json(out, predictions.plain())
    return predictions


def listen(student: SoundNet, sound: str | Path) -> Iterator[tuple[float, float, dict[str, NDArray[np.float32]]]]:
    """Return what a student hears in each 5 s of a sound of any length.

    Parameters
    ----------
    student : SoundNet
    sound : str or Path

    Yields
    ------
    start_seconds, end_seconds : float
    distributions : dict from head to (classes,) float32

    Raises
    ------
    MediaError
        If the file holds no readable sound.
    """
    sound = Path(sound)
    asked = student.preprocessing
    device = next(student.parameters()).device
    with closing(stream_audio(sound, asked.sample_rate, asked.channel, block_seconds=CLIP_SECONDS)) as blocks:
        for number, block in enumerate(blocks):
            span_seconds = len(block) / asked.sample_rate
            if number and span_seconds < MIN_SECONDS:
                return
            steps = math.ceil(span_seconds / STEP_SECONDS)
            clip = torch.from_numpy(tile_to_clip(block, steps, asked.sample_rate)).to(device)
            with torch.inference_mode():
                answers = student(asked.scale(clip)[None, None])
            rows = {head: logits[0].softmax(dim=0).T.cpu().numpy() for head, logits in answers.items()}
            for step in range(steps):
                start = number * CLIP_SECONDS + step * STEP_SECONDS
                end = min(start + STEP_SECONDS, number * CLIP_SECONDS + span_seconds)
                yield start, end, {head: row[step] for head, row in rows.items()}


def _spans(
    student: SoundNet,
    steps: Sequence[tuple[float, float, dict[str, NDArray[np.float32]]]],
    top: int,
    per_step: bool,
) -> list[Span]:
    if not per_step:
        averages = {head: np.mean([rows[head] for _, _, rows in steps], axis=0) for head in student.class_names}
        steps = [(steps[0][0], steps[-1][1], averages)]
    return [
        Span(start, end, {head: _best(student.class_names[head], row, top) for head, row in rows.items()})
        for start, end, rows in steps
    ]


def _best(names: Sequence[str], probabilities: NDArray[np.float32], top: int) -> list[Guess]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [Guess(names[index], round(float(probabilities[index]), 6)) for index in order]


def _seconds(time: float) -> str:
    return f"{time:.1f}".removesuffix(".0")
