"""Runs of networks that learn from labelled sounds: sounds that can be told apart by ear, and what a run left."""

import csv
import json
from pathlib import Path

import numpy as np
import torch

from soundnet_kd import SoundNet8
from soundnet_kd.media import write_audio
from soundnet_kd.models import Preprocessing, write_network
from tests.media_files import sine

TONE_RATE = 22_050
HERTZ = {"deep": 200.0, "high": 4000.0, "middle": 1000.0}
TONES = 24
ANIMAL_RATE = 16_000


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def write_tones(folder: Path, other_in_fold: int | None = None) -> Path:
    """Write tones of three kinds into two folds; those of one fold may be others than the name says."""
    rows = []
    for number in range(TONES):
        name, fold = list(HERTZ)[number % 3], 1 + number // 3 % 2
        hertz = 2500.0 if fold == other_in_fold else HERTZ[name] * (1 + number / 200)
        write_audio(folder / f"{number}.wav", sine(hertz, 0.4 + number / 100, TONE_RATE, 0.3), TONE_RATE)
        rows.append(f"{number}.wav,{name},{fold}")
    table = folder / "sounds.csv"
    table.write_text("\n".join(["path,label,fold", *rows]) + "\n", encoding="utf-8")
    return table


def write_animals(folder: Path) -> Path:
    """Cats are high, dogs are low, each with noise; some at other rates."""
    rng = np.random.default_rng(0)
    for name, hertz in (("cat", 1500.0), ("dog", 150.0)):
        for number in (*range(8), 90, 91):
            rate = 22_050 if number == 3 else ANIMAL_RATE
            tone = sine(hertz * (1 + number % 10 / 50), 0.8 + number / 100, rate, 0.4)
            write_audio(folder / f"{name}_{number}.wav", tone + rng.normal(0, 0.02, len(tone)).astype(np.float32), rate)
    return folder


def write_student(path: Path) -> Path:
    """Write a student whose batch norms have heard something, as those of a trained one have."""
    torch.manual_seed(1)
    network = SoundNet8({"objects": 3}, Preprocessing(least_samples=1))
    with torch.no_grad():
        for _ in range(20):
            network(256 * 0.1 * torch.randn(4, 1, 11_025), ("conv4",))
    write_network(network, path, {})
    return path


def untimed(out: Path) -> dict[str, object]:
    """Give what a run found, without what it took."""
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    results["source"].pop("training_seconds")
    trainings = [{**row, "training_seconds": ""} for row in rows_of(out / "trainings.csv")]
    tables = ("predictions.csv", "classes.csv", "probabilities.csv", "history.csv", "accuracy.csv")
    found = {name: (out / name).read_bytes() for name in tables if (out / name).exists()}
    return {"results": results, "trainings": trainings, **found}


def spent_before(trials: Path) -> float:
    """Give the seconds of training that a killed run has told of: of the trials that are done, and of that in hand."""
    done = [json.loads(file.read_text(encoding="utf-8"))["seconds"] for file in trials.glob("*.json")]
    last = [torch.load(file, weights_only=True) for file in trials.glob("*/checkpoints/step=*.ckpt")]
    return float(sum(done) + max((each["callbacks"]["Stopwatch"]["seconds"] for each in last), default=0.0))
