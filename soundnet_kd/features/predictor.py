"""What a network takes a sound for: the probability of each of its classes, stretch by stretch or over all of it."""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, tile_to_clip
from soundnet_kd.inference.prepared import Engine, PreparedNetwork
from soundnet_kd.media import stream_audio
from soundnet_kd.media.live import Pipe, stream_arriving
from soundnet_kd.models import Network
from soundnet_kd.models.device import full_precision

MIN_SECONDS = 1.0
"""Least rest of a sound that is heard behind others."""

Answer = tuple[float, float, dict[str, NDArray[np.float32]]]
"""Start and end of a stretch in seconds, and the probabilities (classes,) of each head."""


@dataclass(frozen=True)
class Guess:
    """A class and the network's probability for it."""

    name: str
    probability: float


@dataclass(frozen=True)
class Span:
    """What a network takes a stretch of a sound for.

    Attributes
    ----------
    start_seconds, end_seconds : float
    guesses : dict from head to list of Guess
        The likeliest first.
    """

    start_seconds: float
    end_seconds: float
    guesses: dict[str, list[Guess]]


def prepare_to_predict(network: Network, engine: Engine | None = None, sounds: int = 1) -> PreparedNetwork:
    """Make a network on its device, in evaluation mode, ready to predict about so many sounds."""
    network.warn_of_untaught(network.class_names)
    return PreparedNetwork(network, [network.output_layer], engine=engine, sounds=sounds)


def predict_sound(prepared: PreparedNetwork, sound: str | Path, top: int, per_step: bool) -> list[Span]:
    """Return the likeliest classes of a sound of any length.

    Parameters
    ----------
    prepared : PreparedNetwork
        Its output layer.
    sound : str or Path
    top : int
        Classes of each head.
    per_step : bool
        A span for each stretch, in place of one for their average.

    Raises
    ------
    MediaError
        If the file holds no readable sound.
    """
    network = prepared.network
    answers = list(stream_probabilities(prepared, sound))
    if not per_step:
        averages = {head: np.mean([rows[head] for _, _, rows in answers], axis=0) for head in network.class_names}
        answers = [(answers[0][0], answers[-1][1], averages)]
    return [_span(network, *answer, top) for answer in answers]


def stream_probabilities(prepared: PreparedNetwork, sound: str | Path) -> Iterator[Answer]:
    """Return the probabilities of a network's classes in a sound of any length, stretch by stretch.

    Parameters
    ----------
    prepared : PreparedNetwork
        Its output layer. A network that answers step by step, a student, has a stretch for each 5 s; any other one has
        one for each segment of the length that it asks for.
    sound : str or Path

    Yields
    ------
    start_seconds, end_seconds : float
    probabilities : dict from head to (classes,) float32

    Raises
    ------
    MediaError
        If the file holds no readable sound.
    """
    answers = _step_answers if _has_steps(prepared.network) else _segment_answers
    return answers(prepared, Path(sound))


def hear_arriving(prepared: PreparedNetwork, pipe: Pipe, top: int) -> Iterator[Span]:
    """Return the likeliest classes of each 5 s of a sound that arrives, as soon as they have been heard.

    A network that hears 20 s is given the last 20 s, of which the last 5 s are asked for; before there are as many,
    what is there, as if the sound ended now. One that hears segments of a fixed length, and does not repeat shorter
    ones, answers to each segment. A rest of less than a second at the end is left out, as in a file.

    Parameters
    ----------
    prepared : PreparedNetwork
        Its output layer.
    pipe : file with a descriptor
        Such as sys.stdin.buffer.
    top : int
        Classes of each head.

    Raises
    ------
    MediaError
        If what arrives is no readable sound.
    """
    network, asked = prepared.network, prepared.network.preprocessing
    has_steps = _has_steps(network)
    segment_seconds = CLIP_SECONDS if has_steps else asked.least_samples / asked.sample_rate
    slides = has_steps or (asked.repeats and segment_seconds > STEP_SECONDS)
    heard_seconds = STEP_SECONDS if slides else segment_seconds
    last: deque[NDArray[np.float32]] = deque(maxlen=int(segment_seconds // heard_seconds))
    answer = _hear_clip if has_steps else _hear_segment
    with closing(stream_arriving(pipe, asked.sample_rate, asked.channel, block_seconds=heard_seconds)) as blocks:
        for number, block in enumerate(blocks):
            if number and len(block) < _least_rest(network):
                return
            last.append(block)
            rows = answer(prepared, np.concatenate(last))
            start = number * heard_seconds
            end = start + len(block) / asked.sample_rate
            yield _span(network, start, end, {head: row[:, -1] for head, row in rows.items()}, top)


def _has_steps(network: Network) -> bool:
    """Tell whether a network answers step by step, as a student does."""
    return network.receptive_field(network.output_layer) is not None


def _step_answers(prepared: PreparedNetwork, sound: Path) -> Iterator[Answer]:
    """Return the answers to each 5 s, in clips as the network learned from."""
    asked = prepared.network.preprocessing
    with closing(stream_audio(sound, asked.sample_rate, asked.channel, block_seconds=CLIP_SECONDS)) as blocks:
        for number, block in enumerate(blocks):
            if number and len(block) < _least_rest(prepared.network):
                return
            clip_seconds = len(block) / asked.sample_rate
            rows = _hear_clip(prepared, block)
            for step in range(math.ceil(clip_seconds / STEP_SECONDS)):
                start = number * CLIP_SECONDS + step * STEP_SECONDS
                end = min(start + STEP_SECONDS, number * CLIP_SECONDS + clip_seconds)
                yield start, end, {head: row[:, step] for head, row in rows.items()}


def _segment_answers(prepared: PreparedNetwork, sound: Path) -> Iterator[Answer]:
    """Return the answers to each segment of the length that the network asks for."""
    asked = prepared.network.preprocessing
    segment_seconds = asked.least_samples / asked.sample_rate
    with closing(stream_audio(sound, asked.sample_rate, asked.channel, block_seconds=segment_seconds)) as blocks:
        for number, block in enumerate(blocks):
            if number and len(block) < _least_rest(prepared.network):
                return
            rows = _hear_segment(prepared, block)
            start = number * segment_seconds
            yield start, start + len(block) / asked.sample_rate, {head: row[:, 0] for head, row in rows.items()}


def _least_rest(network: Network) -> float:
    """Return how many samples of a sound are heard behind others; a shorter rest says too little."""
    asked = network.preprocessing
    if _has_steps(network):
        return MIN_SECONDS * asked.sample_rate
    # A network that does not repeat short sounds learned nothing about a rest that is followed by silence.
    return min(MIN_SECONDS * asked.sample_rate, asked.least_samples) if asked.repeats else asked.least_samples


def _hear_clip(prepared: PreparedNetwork, sound: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities (classes, steps) of each head in up to 20 s, filled up as in training."""
    asked = prepared.network.preprocessing
    steps = math.ceil(len(sound) / (STEP_SECONDS * asked.sample_rate))
    clip = torch.from_numpy(tile_to_clip(sound, steps, asked.sample_rate))
    return {head: row[:, :steps] for head, row in _probabilities(prepared, asked.scale(clip)[None]).items()}


def _hear_segment(prepared: PreparedNetwork, sound: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities (classes, 1) of each head in a sound of at most a segment's length."""
    return _probabilities(prepared, prepared.network.preprocessing.prepare(sound))


def _probabilities(prepared: PreparedNetwork, waveform: Tensor) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities (classes, steps) of each head for a preprocessed waveform (1, samples)."""
    network = prepared.network
    with full_precision():
        logits = prepared(waveform[None])[network.output_layer]
    heads = torch.split(logits, [len(names) for names in network.class_names.values()], dim=1)
    return {
        head: network.probabilities(each)[0].cpu().numpy()
        for head, each in zip(network.class_names, heads, strict=True)
    }


def _span(network: Network, start: float, end: float, rows: Mapping[str, NDArray[np.float32]], top: int) -> Span:
    return Span(start, end, {head: _likeliest(network.class_names[head], row, top) for head, row in rows.items()})


def _likeliest(names: Sequence[str], probabilities: NDArray[np.float32], top: int) -> list[Guess]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [Guess(names[index], round(float(probabilities[index]), 6)) for index in order]
