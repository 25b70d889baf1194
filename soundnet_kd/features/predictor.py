"""What a network takes a sound for: the probability of each of its classes, stretch by stretch or over all of it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundnet_kd.data import CLIP_SECONDS, STEP_SECONDS, tile_to_clip
from soundnet_kd.media import stream_audio
from soundnet_kd.models import Network
from soundnet_kd.models.device import full_precision

MIN_SECONDS = 1.0
"""A shorter rest of a sound says too little."""

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


def predict_sound(network: Network, sound: str | Path, top: int, per_step: bool) -> list[Span]:
    """Return the likeliest classes of a sound of any length.

    Parameters
    ----------
    network : Network
        In evaluation mode.
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
    answers = list(stream_probabilities(network, sound))
    if not per_step:
        averages = {head: np.mean([rows[head] for _, _, rows in answers], axis=0) for head in network.class_names}
        answers = [(answers[0][0], answers[-1][1], averages)]
    return [
        Span(start, end, {head: _likeliest(network.class_names[head], row, top) for head, row in rows.items()})
        for start, end, rows in answers
    ]


def stream_probabilities(network: Network, sound: str | Path) -> Iterator[Answer]:
    """Return the probabilities of a network's classes in a sound of any length, stretch by stretch.

    Parameters
    ----------
    network : Network
        In evaluation mode. One that answers step by step, a student, has a stretch for each 5 s; any other one has one
        for each segment of the length that it asks for.
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
    has_steps = network.receptive_field(network.output_layer) is not None
    return _step_answers(network, Path(sound)) if has_steps else _segment_answers(network, Path(sound))


def _step_answers(network: Network, sound: Path) -> Iterator[Answer]:
    """Return the answers to each 5 s, in clips as the network learned from."""
    asked = network.preprocessing
    device = next(network.parameters()).device
    with closing(stream_audio(sound, asked.sample_rate, asked.channel, block_seconds=CLIP_SECONDS)) as blocks:
        for number, block in enumerate(blocks):
            clip_seconds = len(block) / asked.sample_rate
            if number and clip_seconds < MIN_SECONDS:
                return
            steps = math.ceil(clip_seconds / STEP_SECONDS)
            clip = torch.from_numpy(tile_to_clip(block, steps, asked.sample_rate)).to(device)
            with torch.inference_mode():
                answers = network(asked.scale(clip)[None, None])
            rows = {head: network.probabilities(logits)[0].T.cpu().numpy() for head, logits in answers.items()}
            for step in range(steps):
                start = number * CLIP_SECONDS + step * STEP_SECONDS
                end = min(start + STEP_SECONDS, number * CLIP_SECONDS + clip_seconds)
                yield start, end, {head: row[step] for head, row in rows.items()}


def _segment_answers(network: Network, sound: Path) -> Iterator[Answer]:
    """Return the answers to each segment of the length that the network asks for."""
    asked = network.preprocessing
    device = next(network.parameters()).device
    segment_seconds = asked.least_samples / asked.sample_rate
    # A network that does not repeat short sounds learned nothing about a rest that is followed by silence.
    min_samples = min(MIN_SECONDS * asked.sample_rate, asked.least_samples) if asked.repeats else asked.least_samples
    with closing(stream_audio(sound, asked.sample_rate, asked.channel, block_seconds=segment_seconds)) as blocks:
        for number, block in enumerate(blocks):
            if number and len(block) < min_samples:
                return
            with torch.inference_mode(), full_precision():
                answers = network(asked.prepare(block)[None].to(device))
            start = number * segment_seconds
            rows = {head: network.probabilities(logits)[0].cpu().numpy() for head, logits in answers.items()}
            yield start, start + len(block) / asked.sample_rate, rows


def _likeliest(names: Sequence[str], probabilities: NDArray[np.float32], top: int) -> list[Guess]:
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [Guess(names[index], round(float(probabilities[index]), 6)) for index in order]
