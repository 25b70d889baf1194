"""What each architecture costs a CPU: parameters, clips of 20 s a second in training, and in extraction of its layers.

Architectures take turns, and the time is that of the processor, with one thread: other programs change it little.

    python -m tests.benchmarks.architectures [NAME ...]
"""

import sys
from collections.abc import Callable
from statistics import median
from time import process_time

import torch

from soundnet_kd.distill import DistillationLoss
from soundnet_kd.inference.prepared import PreparedNetwork
from soundnet_kd.models import Student, build_student
from soundnet_kd.models.device import keep_freed_memory

NAMES = ("SoundNet8", "SoundNet8x0.5", "SoundNet8x0.25", "SoundNet5", "SoundNet5x0.25", "LogMelCNN", "LogMelCNNx0.25")
CLASSES = {"objects": 1000, "scenes": 401}
CLIPS, SAMPLES = 8, 441_000
ROUNDS = 5


def main(names: list[str]) -> None:
    """Print a row for each."""
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    sound = (torch.randn(CLIPS, 1, SAMPLES) * 3000).to(torch.int16)
    students = {name: build_student(name, CLASSES) for name in names}
    steps = {name: training_step(student, sound) for name, student in students.items()}
    trained = seconds(steps)
    heard = seconds({name: extraction(student, sound) for name, student in students.items()})
    print("| student | parameters | without heads | a training step of 8 clips | clips/s | clips/s heard |")
    print("|---|---|---|---|---|---|")
    for name, student in students.items():
        every = sum(each.numel() for each in student.parameters())
        heads = sum(each.numel() for head in student.heads.values() for each in head.parameters())
        print(
            f"| {name} | {every / 1e6:.2f} M | {(every - heads) / 1e6:.2f} M | {trained[name]:.3f} s, "
            f"{trained[name] / trained[names[0]]:.2f} of {names[0]}'s | {CLIPS / trained[name]:.0f} | "
            f"{CLIPS / heard[name]:.0f} |"
        )


def training_step(student: Student, sound: torch.Tensor) -> Callable[[], None]:
    """Return what takes a step, as `distill` does."""
    loss = DistillationLoss()
    optimizer = torch.optim.Adam(student.parameters(), fused=True)
    rows = {name: torch.rand(CLIPS, classes, 4).softmax(dim=1) for name, classes in CLASSES.items()}

    def step() -> None:
        student.train()
        optimizer.zero_grad()
        total, _ = loss(student(student.preprocessing.amplify(sound)), rows)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def extraction(student: Student, sound: torch.Tensor) -> Callable[[], None]:
    """Return what hears the clips, and averages every layer."""
    prepared = PreparedNetwork(student.eval(), student.layers, ("mean",))
    return lambda: void(prepared.pooled(student.preprocessing.amplify(sound)))


def void(_: object) -> None:
    """Return nothing."""


def seconds(tasks: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Return the median over the rounds of what each takes, after two that do not count."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(ROUNDS + 2):
        for name, task in tasks.items():
            started = process_time()
            task()
            if turn > 1:
                taken[name].append(process_time() - started)
    return {name: median(each) for name, each in taken.items()}


if __name__ == "__main__":
    main(sys.argv[1:] or list(NAMES))
