"""The command `predict`: what a network takes sounds for, as text, JSON or a table."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from soundnet_kd.data.checks import describe_files
from soundnet_kd.data.sources.stored import find_all
from soundnet_kd.errors import MediaError, SettingsError, none_readable
from soundnet_kd.features.predictor import Span, hear_arriving, predict_sound, prepare_to_predict
from soundnet_kd.inference.backends import BackendOrAuto, Precision
from soundnet_kd.inference.prepared import Engine
from soundnet_kd.media import StoredMedia, local_file
from soundnet_kd.models import Network, choose_device
from soundnet_kd.pretrained import load_network
from soundnet_kd.storage import escape_name, failures_file, make_folder, write_csv, write_failures, write_json

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Predictions:
    """What a network takes some sounds for.

    Attributes
    ----------
    sounds : dict from file to list of Span
        One span for the whole sound, or one for each 5 s, or each segment.
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
        sounds = [{"file": file, "spans": [_plain(span) for span in spans]} for file, spans in self.sounds.items()]
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


@dataclass(frozen=True)
class ArrivingPredictions(Predictions):
    """What a network takes a sound for while it arrives on standard input.

    Attributes
    ----------
    arriving : iterator of Span
        One for each 5 s, or each segment, as soon as it has been heard.
    """

    arriving: Iterator[Span] = field(default_factory=lambda: iter(()))

    def lines(self) -> Iterator[str]:
        """Return a line for each span: text, or a JSON object."""
        for span in self.arriving:
            if self.as_json:
                yield json.dumps(_plain(span), ensure_ascii=False)
            else:
                heads = (
                    f"{head} " + "; ".join(f"{guess.probability:.1%} {guess.name}" for guess in guesses)
                    for head, guesses in span.guesses.items()
                )
                yield f"{_seconds(span.start_seconds)}-{_seconds(span.end_seconds)} s  " + "  |  ".join(heads)


def predict(
    sounds: str | Path | Iterable[str | Path],
    student: str | Path | Network = "soundnet8",
    out: Path | str | None = None,
    top: int = 5,
    per_step: bool = False,
    json: bool = False,
    device: str = "auto",
    backend: BackendOrAuto = "auto",
    precision: Precision = "32",
    dry_run: bool = False,
) -> Predictions:
    """Say which classes a network hears in sounds: objects and scenes, or those that it learned from labels.

    A student listens as in training: in clips of 20 s, each with a guess for every 5 s. A shorter rest is padded with
    silence to a whole number of 5 s and repeated; below a second, after other clips, it is left out. Any other network
    gives one guess for each segment of the length that it asks for. A fine-tuned one asks for 20 s, and repeats a
    shorter rest of a second or more. A network from scratch leaves a shorter rest out, and pads a sound that is shorter
    than a segment with silence.

    `-` reads standard input: a line for each 5 s as soon as they have arrived, with --json a JSON object, as in
    `ffmpeg -i … -f wav - | soundnet-kd predict - --json`. A student is given the last 20 s each time.

    Parameters
    ----------
    sounds : str or Path, or several of them
        Sound or video files, folders of them, or tars (`'shards/*.tar'`); also under an address such as s3://bucket.
        Or -, a sound that arrives on standard input.
    student : str or Path or Network
        A network: the file of a student, a fine-tuned network or one from scratch, the run folder of `soundnet-kd
        distill`, `finetune` or `train` that holds one, or a name (`soundnet-kd weights list`); soundnet8, the released
        network, is fetched when it is first needed (54 MB).
    out : str or Path, optional
        File to write the guesses to, .csv or .json. Sounds that cannot be read are named, with the reason, in a table
        beside it.
    top : int
        How many classes to name; for a student, how many objects and how many scenes.
    per_step : bool
        Guesses for each 5 s, or each segment, in place of their average over the sound.
    json : bool
        Print JSON in place of text.
    device : str
        Where the network runs: auto, cpu, cuda, cuda:1, mps.
    backend : str
        What runs it: torch, openvino or onnxruntime (extras of those names), or auto.
    precision : str
        32, or bf16: probabilities within 0.01 of those of 32, faster where the device has bfloat16 instructions.
    dry_run : bool
        Say how many sounds there are and which, and stop: nothing is decoded or written.

    Raises
    ------
    SettingsError
        If there is no such network, or `out` has another suffix.
    MediaError
        If not a single sound could be read.
    """
    out = None if out is None else Path(out)
    if top < 1:
        raise SettingsError(f"top is {top}; at least one guess is shown")
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise SettingsError(f"{out} has to end in .csv or .json")
    sounds = [sounds] if isinstance(sounds, str | Path) else list(sounds)
    if STANDARD_INPUT in map(str, sounds):
        if len(sounds) > 1 or out is not None or dry_run:
            raise SettingsError(
                "- is standard input, which is heard alone and as it comes; leave out other sounds, --dry_run and "
                "--out (what is printed can be sent to a file)"
            )
        prepared = prepare_to_predict(load_network(student).to(choose_device(device)), Engine(backend, precision))
        return ArrivingPredictions({}, as_json=json, arriving=hear_arriving(prepared, sys.stdin.buffer, top))
    files = find_all(sounds)
    if dry_run:
        return Predictions({}, {}, reading=describe_files(files))
    if out is not None:
        # Better now than when all sounds are through the network.
        make_folder(out.parent)
    network = load_network(student).to(choose_device(device))
    prepared = prepare_to_predict(network, Engine(backend, precision), len(files))
    read: dict[str, list[Span]] = {}
    failures: dict[str, str] = {}
    for file in tqdm(files, desc="predict", unit="sound", leave=False):
        name = file.address if isinstance(file, StoredMedia) else escape_name(file)
        try:
            with local_file(file) as path:
                read[name] = predict_sound(prepared, path, top, per_step)
        except MediaError as error:
            failures[name] = str(error)
    if out is not None:
        write_failures(failures_file(out), failures)
    if not read:
        raise none_readable(f"{len(failures)} sounds", failures, None if out is None else failures_file(out))
    predictions = Predictions(read, failures, out, json)
    if out is not None and out.suffix.lower() == ".csv":
        header = ("file", "start_seconds", "end_seconds", "head", "rank", "class", "probability")
        write_csv(out, header, predictions.rows())
    elif out is not None:
        write_json(out, predictions.plain())
    return predictions


def _plain(span: Span) -> dict[str, Any]:
    return {
        "start_seconds": span.start_seconds,
        "end_seconds": span.end_seconds,
        **{
            head: [{"class": guess.name, "probability": guess.probability} for guess in guesses]
            for head, guesses in span.guesses.items()
        },
    }


def _seconds(time: float) -> str:
    return f"{time:.1f}".removesuffix(".0")
