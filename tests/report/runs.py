"""A small run to report on, made by the real commands: sounds that can be told by their pitch, and features of them."""

from pathlib import Path

import av
import numpy as np
import torch

from soundnet_kd.commands.compare import compare
from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.commands.peel import peel
from soundnet_kd.commands.project import project
from soundnet_kd.commands.rank import rank
from soundnet_kd.models import SoundNet5
from tests.analysis.caches import write_cache
from tests.media_files import sine

SAMPLE_RATE = 16_000
LEVEL = 0.5
HOSTILE = "<img src=x onerror=window.hurt=1>"
CLASS_NAMES = ("cat", "dog_bark", HOSTILE)
PER_CLASS = 8
LABELS = [number for number in range(len(CLASS_NAMES)) for _ in range(PER_CLASS)]
LAYERS = ("conv1", "pool5")
MISTAKEN = 3
"""Clips of dog_bark whose features are those of a cat, but for a hundredth."""


def pitch_of(clip: int) -> float:
    """Frequency in Hz by which a clip can be told from the others."""
    return 300.0 + 60 * clip


def pitch_heard(file: Path) -> float:
    """Frequency of a sine in a sound file, read straight by FFmpeg."""
    with av.open(str(file)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]
        rate = stream.rate
    waveform = np.concatenate(frames).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * rate / len(waveform))


def make_sounds(folder: Path) -> list[Path]:
    """Write a sound for each clip; some have names that a careless page would take for its own code."""
    folder.mkdir()
    paths = []
    for clip in range(len(LABELS)):
        name = f"{HOSTILE}{clip}.wav" if clip % 5 == 4 else f"clip {clip}.wav"
        path = folder / name
        with av.open(str(path), "w", format="wav") as container:
            stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
            levels = (sine(pitch_of(clip), 0.5, SAMPLE_RATE, LEVEL) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(levels[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        paths.append(path)
    return paths


def features(seed: int = 0) -> dict[str, np.ndarray]:
    """Layers of which pool5 tells the classes, but for MISTAKEN dogs that look like cats; conv1 is noise."""
    rng = np.random.default_rng(seed)
    telling = rng.random((len(LABELS), 6)) + 5 * np.eye(6)[LABELS]
    telling[PER_CLASS : PER_CLASS + MISTAKEN] = telling[:MISTAKEN] + 0.01
    return {"conv1": rng.random((len(LABELS), 4)).astype(np.float32), "pool5": telling.astype(np.float32)}


def make_run(folder: Path) -> Path:
    """Make sounds, features, results, a comparison, a ranking, neurons, maps and a peeled sound in a folder."""
    folder.mkdir()
    paths = make_sounds(folder / "sounds")
    folds = [1 + clip % 2 for clip in range(len(LABELS))]
    cache = write_cache(folder / "features.h5", features(), LABELS, folds, CLASS_NAMES, paths, "SoundNet8")
    evaluate(cache, folder / "results")
    neurons(cache, folder / "neurons", percentile=75, shuffles=200)
    project(cache, folder / "maps", layers=["pool5", "conv1"])
    compare(folder / "results", folder / "results", folder / "comparison.csv", layers=["conv1:pool5"])
    compare(folder / "results", folder / "results", folder / "learned.csv", layers=["conv1", "pool5"])
    rank([folder / "results"], folder / "ranking")
    torch.manual_seed(0)
    peel(paths[0], SoundNet5({"objects": 10}), folder / "peel")
    return folder
