"""The students of the trial with pictures: how each is trained, and what its layers are worth on what it never heard.

Each stage of a run is a process of its own: `pace` measures the CPU time of a step of a row, `train` trains a student
for as many steps as its CPU time allows, `evaluate` trains and tests classifiers on its layers. What a stage writes is
whole or absent; a training that was killed goes on from its last checkpoint, and its CPU time is counted on.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

import numpy as np

from soundnet_kd.commands.distill import distill
from soundnet_kd.commands.extract import extract
from soundnet_kd.commands.predict import predict
from soundnet_kd.data import Targets
from soundnet_kd.distill.feature_objectives import ContrastSettings, ProjectionSettings
from soundnet_kd.features import FeatureCache
from soundnet_kd.models import STUDENT_FILE, Student
from soundnet_kd.pretrained import load_student
from soundnet_kd.pretrained.conversion import UNTRAINED_FILE
from soundnet_kd.storage import read_json, write_json
from soundnet_kd.training.augmentation import ClipAugmentation
from soundnet_kd.training.settings_file import DISTILL_FILE
from soundnet_kd.transfer import cross_validate
from soundnet_kd.transfer.inputs import JOINT, layer_inputs
from tests.benchmarks.picture_videos import TESTED_FOLD, UNHEARD, pictures_of

Stage = Literal["pace", "train", "evaluate"]
RELEASED = "soundnet8"
STUDENT = "student"
"""Key of a row, beside the arguments of `distill`: the file of a run folder that is evaluated."""
STEPS = "steps"
"""Given in a row it is no matter of the budget."""
BRIEF: dict[str, Any] = {
    "batch_size": 16,
    "schedule": "cosine",
    "augmentation": ClipAugmentation(join=True, shift=True, mix=0.5, gain_db=6.0),
}
"""For a short training on few clips, of 5 s each, four of which fill 20 s.

The paper's objective is a quarter of `kl` where one teacher has 1000 classes; Adam goes the same way by either.
"""
LOG_MEL: dict[str, Any] = {"architecture": "LogMelCNN", **BRIEF}
GOING_ON: dict[str, Any] = {
    **BRIEF,
    "init": RELEASED,
    "kept_learning_rate": 3e-4,
    "keep_statistics": True,
    # A new head takes many steps.
    "batch_size": 8,
}
ROWS: dict[str, dict[str, Any]] = {
    "untrained": {STEPS: 1, STUDENT: UNTRAINED_FILE},
    "soundnet": {},
    "kl": {"objectives": ["kl"], **BRIEF},
    "match": {"objectives": ["match"], **BRIEF},
    "contrast": {"objectives": ["contrast"], **BRIEF},
    "relation": {"objectives": ["relation"], **BRIEF},
    "kl + match": {"objectives": ["kl", "match:2"], **BRIEF},
    "kl + contrast": {"objectives": ["kl", "contrast"], **BRIEF},
    "log-mel untrained": {STEPS: 1, STUDENT: UNTRAINED_FILE, "architecture": "LogMelCNN"},
    "log-mel soundnet": {"architecture": "LogMelCNN"},
    "log-mel kl": {"objectives": ["kl"], **LOG_MEL},
    "log-mel match": {"objectives": ["match"], **LOG_MEL},
    "log-mel contrast": {"objectives": ["contrast"], **LOG_MEL},
    "log-mel relation": {"objectives": ["relation"], **LOG_MEL},
    "log-mel kl + match": {"objectives": ["kl", "match:2"], **LOG_MEL},
    "log-mel kl + contrast": {"objectives": ["kl", "contrast"], **LOG_MEL},
    "log-mel contrast, none masked": {
        "objectives": ["contrast"],
        "contrast": ContrastSettings(masked_similarity=1.0),
        **LOG_MEL,
    },
    "log-mel contrast, more masked": {
        "objectives": ["contrast"],
        "contrast": ContrastSettings(masked_similarity=0.7),
        **LOG_MEL,
    },
    "log-mel contrast, queue": {"objectives": ["contrast"], "contrast": ContrastSettings(queue=512), **LOG_MEL},
    "released": {STEPS: 1, STUDENT: UNTRAINED_FILE, "init": RELEASED},
    "released soundnet": {"init": RELEASED, "kept_learning_rate": 3e-4},
    "released kl": {"objectives": ["kl"], **GOING_ON},
    "released kl, from conv4": {"objectives": ["kl"], "freeze": "conv4", **GOING_ON},
    "released kl + match": {"objectives": ["kl", "match:2"], **GOING_ON},
    "released kl + contrast": {"objectives": ["kl", "contrast"], **GOING_ON},
    "released kl + contrast, pool5": {
        "objectives": ["kl", "contrast"],
        "projection": ProjectionSettings(layer="pool5"),
        **GOING_ON,
    },
}
"""Arguments of `distill` by the name of the row; without them, the paper's."""
LAYERS: dict[str, tuple[str, ...]] = {
    "SoundNet8": ("pool5", "conv4", "conv6"),
    "LogMelCNN": ("pool5", "pool3", "pool4"),
}
"""Layers of each architecture that are evaluated, the first for itself too, and all of them side by side."""
JOINT_LAYERS = "joint"
TARGETS, UNHEARD_TARGETS = "targets", "targets_unheard"
HELD_OUT = 0.05
CHECKPOINT_MINUTES = 2.0
PACE_STEPS = 6
USAGE_SECONDS = 5.0


@dataclass(frozen=True)
class Run:
    """A row of the trial with one seed.

    Attributes
    ----------
    data, folder : Path
        Where the data and the trial lie.
    row : str
    seed : int
    minutes : float
        CPU time to train in.
    threads : int
        Of each of its processes.
    """

    data: Path
    folder: Path
    row: str
    seed: int
    minutes: float
    threads: int = 1

    @property
    def row_folder(self) -> Path:
        """Of all seeds."""
        return self.folder / "students" / f"{self.minutes:g}_minutes" / self.row.replace(" ", "_")

    @property
    def out(self) -> Path:
        """Run folder of the student."""
        return self.row_folder / f"seed_{self.seed}"

    @property
    def pace(self) -> Path:
        """CPU time of a step."""
        return self.row_folder / "pace.json"

    @property
    def usage(self) -> Path:
        """CPU time and memory of the training."""
        return self.out / "usage.json"

    @property
    def student(self) -> Path:
        """The network that is evaluated."""
        return self.out / str(ROWS[self.row].get(STUDENT, STUDENT_FILE))

    @property
    def evaluation(self) -> Path:
        """What its layers are worth."""
        return self.out / "evaluation.json"

    @property
    def log(self) -> Path:
        """What its stages said."""
        return self.out / "log.txt"

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `distill`, but for its steps."""
        given = {name: value for name, value in ROWS[self.row].items() if name not in (STUDENT, STEPS)}
        return {"held_out": HELD_OUT, "seed": self.seed, "device": "cpu", **given}

    @property
    def steps(self) -> int:
        """Number of steps that the budget lets the student take."""
        if STEPS in ROWS[self.row]:
            return int(ROWS[self.row][STEPS])
        cpu_seconds_per_step: float = read_json(self.pace)["cpu_seconds_per_step"]
        return max(1, round(60 * self.minutes / cpu_seconds_per_step))

    def results(self) -> dict[str, Any]:
        """Return what is known of a finished run: its steps too, which another pace may have allowed it."""
        steps = read_json(self.out / DISTILL_FILE)["steps"]
        return {"steps": steps, **read_json(self.usage), **read_json(self.evaluation)}

    def do(self, stage: Stage) -> None:
        """Go through a stage, if it is not done, in a process of its own, which writes what it says to the log.

        Raises
        ------
        CalledProcessError
            If it fails.
        """
        if {"pace": self.pace, "train": self.out / STUDENT_FILE, "evaluate": self.evaluation}[stage].exists():
            return
        self.out.mkdir(parents=True, exist_ok=True)
        words = [stage, self.data, self.folder, self.row, self.seed, self.minutes]
        with self.log.open("a", encoding="utf-8") as log:
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.picture_runs", *map(str, words)],
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
                stdout=log,
                stderr=log,
                check=True,
            )


def find_pace(run: Run) -> None:
    """Measure the CPU time of a step of the row: that of some more steps of a training, as others run beside it."""
    if STEPS in ROWS[run.row]:
        return
    spent = []
    for steps in (2, 2, 2 + PACE_STEPS):
        with tempfile.TemporaryDirectory(dir=run.row_folder) as folder:
            before = _cpu_seconds()
            distill(run.folder / TARGETS, folder, steps=steps, **{**run.arguments, "held_out": 0.0})
            spent.append(_cpu_seconds() - before)
    # The first training also loads what the later ones find loaded.
    write_json(run.pace, {"cpu_seconds_per_step": (spent[2] - spent[1]) / PACE_STEPS})


def train(run: Run) -> None:
    """Train the student within its budget."""
    with _metered(run.usage):
        distill(
            run.folder / TARGETS,
            run.out,
            steps=run.steps,
            checkpoint_minutes=CHECKPOINT_MINUTES,
            keep_checkpoints=1,
            **run.arguments,
        )


def evaluate(run: Run) -> None:
    """Train classifiers on folds 1 to 4 of ESC-50, and test them on fold 5, for the student's layers."""
    student = load_student(run.student)
    layers = LAYERS[student.architecture]
    features = run.student.with_suffix(".h5")
    extract(run.data / "esc50", run.student, features, layers=layers, device="cpu")
    with FeatureCache(features) as cache:
        accuracies = _accuracies(cache, layers, run.data)
    agreement = _agreement(student, run.folder)
    parameters = sum(each.numel() for each in student.parameters())
    write_json(run.evaluation, {"layer": layers[0], **accuracies, "agreement": agreement, "parameters": parameters})


def _accuracies(cache: FeatureCache, layers: tuple[str, ...], data: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return accuracies by protocol, layer and group: all tested clips, those of classes with pictures, and without."""
    pictured = np.isin(cache.labels, [cache.class_names.index(name) for name in pictures_of(data)])
    tested = cache.folds == TESTED_FOLD
    joint = JOINT.join(sorted(layers, key=cache.layers.index))
    groups = {"all": tested, "pictures": tested & pictured, "no pictures": tested & ~pictured}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for protocol in ("notebook", "best"):
        for inputs in layer_inputs(cache, [*layers, joint]):
            answers = cross_validate(
                inputs.rows,
                cache.labels,
                cache.folds,
                protocol,
                # The tested fold takes no part in the choice of settings.
                selection="nested",
                class_names=cache.class_names,
                tested=TESTED_FOLD,
            )
            is_right = answers.predictions == cache.labels
            name = JOINT_LAYERS if inputs.name == joint else inputs.name
            found.setdefault(protocol, {})[name] = {
                group: float(is_right[clips].mean()) for group, clips in groups.items()
            }
    return found


def _agreement(student: Student, folder: Path) -> float:
    """Return how often the student's first guess is the teacher's, over the videos of the tested fold."""
    targets = Targets(folder / UNHEARD_TARGETS)
    (teacher,) = targets.class_names
    predictions = predict(folder / UNHEARD, student, top=1, device="cpu").sounds
    guesses = {Path(file).name: span.guesses[teacher][0].name for file, (span,) in predictions.items()}
    seen = {
        clip.source: targets.class_names[teacher][clip.distributions[teacher].mean(axis=0).argmax()] for clip in targets
    }
    return float(np.mean([guesses[video] == name for video, name in seen.items()]))


@contextmanager
def _metered(path: Path) -> Iterator[None]:
    """Keep the CPU time of this process in a file, on top of what is there, and its peak memory; if killed, nearly."""
    before: Mapping[str, float] = read_json(path) if path.exists() else {"cpu_seconds": 0.0, "peak_mib": 0.0}
    done = Event()

    def write() -> None:
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        spent = before["cpu_seconds"] + _cpu_seconds()
        write_json(path, {"cpu_seconds": spent, "peak_mib": max(before["peak_mib"], peak_mib)})

    def keep_writing() -> None:
        while not done.wait(USAGE_SECONDS):
            write()

    writer = Thread(target=keep_writing)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
        write()


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


STAGES: Mapping[Stage, Callable[[Run], None]] = {"pace": find_pace, "train": train, "evaluate": evaluate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("seed", type=int)
    parser.add_argument("minutes", type=float)
    options = parser.parse_args()
    STAGES[options.stage](Run(options.data, options.folder, options.row, options.seed, options.minutes))


if __name__ == "__main__":
    main()
