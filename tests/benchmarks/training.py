"""How fast a student trains, and how much of that is lost to reading the targets.

    python -m tests.benchmarks.training [TARGETS] [--device cuda --batch_sizes 64 256 --precision bf16]
    python -m tests.benchmarks.training --before CHECKOUT [--threads 1 2 --steps 15]

The limit is the same optimizer step on a batch that is held in the device's memory, in a plain loop; both are measured
in turn. Without a folder of targets one is made, of 256 clips of noise in 64 parts. With `--before` it is that step on
the CPU, of this checkout and of another one in turn, in seconds and in seconds of processors: the second say more where
other programs run.
"""

import argparse
import logging
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch

from soundnet_kd.commands.distill import distill
from soundnet_kd.models import choose_device
from soundnet_kd.training.callbacks import read_history
from tests.benchmarks.training_step import CLASSES, Step, StepProcess
from tests.targets import SAMPLE_RATE, make_clip, make_targets

MADE_CLIPS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="?", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[8])
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, help="Another checkout of this repository.")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="With --before.")
    options = parser.parse_args()
    if options.before is not None:
        _compare(options)
        return
    device = choose_device(options.device)
    logging.getLogger("soundnet_kd").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        targets = options.targets or made_targets(Path(folder) / "targets")
        print(f"{device}, {options.precision}, {options.steps} steps, medians of {options.repeats}")
        print("batch  in memory   distill     ratio   waiting for data")
        for batch_size in options.batch_sizes:
            limits, found, waits = [], [], []
            for repeat in range(options.repeats):
                limits.append(_in_memory(batch_size, options.steps, device, options.precision))
                out = Path(folder) / f"{batch_size}-{repeat}"
                speed, wait = measured_run(
                    targets, out, batch_size, options.steps, options.precision, options.device, options.workers
                )
                found.append(speed)
                waits.append(wait)
            print(
                f"{batch_size:5d}  {median(limits):7.2f}/s  {median(found):7.2f}/s  "
                f"{median(found) / median(limits):7.2f}  {median(waits):10.1%}"
            )


def made_targets(folder: Path, clips: int = MADE_CLIPS) -> Path:
    """Make a folder of targets, of clips of noise."""
    rng = np.random.default_rng(0)
    sound = (rng.normal(size=20 * SAMPLE_RATE) * 3000).astype(np.int16)
    classes = {name: tuple(map(str, range(count))) for name, count in CLASSES.items()}
    made = [
        make_clip(f"{number}.mp4", 4, rng, classes=classes, sound=np.roll(sound, number)) for number in range(clips)
    ]
    return make_targets(folder, made, clips_per_part=4, classes=classes)


def _compare(options: argparse.Namespace) -> None:
    """Time steps of this checkout and of another one in turn, each in a process of its own."""
    checkouts = {"ours": Path(__file__).parents[2], "before": options.before.resolve()}
    print(f"cpu, {options.precision}, {options.steps} steps in turn: medians, and of the ratios their quartiles")
    print("threads  batch  seconds: ours  before  ratio                of processors: ours  before  ratio")
    for threads in options.threads:
        for batch_size in options.batch_sizes:
            with ExitStack() as stack:
                steps = {
                    name: stack.enter_context(closing(StepProcess(each, batch_size, options.precision, threads)))
                    for name, each in checkouts.items()
                }
                taken = [[step() for step in steps.values()] for _ in range(options.steps)]
            # (rounds, checkouts, seconds and seconds of processors)
            seconds = np.array(taken)
            ratios = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75), axis=0)
            cells = [
                f"{np.median(seconds[:, 0, kind]):13.3f} {np.median(seconds[:, 1, kind]):7.3f}  "
                f"{middle:5.2f} ({low:.2f} to {high:.2f})"
                for kind, (low, middle, high) in enumerate(ratios.T)
            ]
            print(f"{threads:7d}  {batch_size:5d}  {'  '.join(cells)}", flush=True)


def _in_memory(batch_size: int, steps: int, device: torch.device, precision: str) -> float:
    """Give the clips per second of a plain loop that sees one batch again and again."""
    return batch_size / Step(batch_size, precision, device).seconds_of(steps)


def measured_run(
    targets: Path,
    out: Path,
    batch_size: int,
    steps: int,
    precision: Literal["32", "bf16"],
    device: str,
    workers: int | None = None,
) -> tuple[float, float]:
    """Give clips per second and the share of waiting for data of a real run, without its first steps."""
    distill(
        targets,
        out,
        steps=steps + 2,
        batch_size=batch_size,
        precision=precision,
        held_out=0.0,
        workers=workers,
        device=device,
    )
    rows = [row for row in read_history(out) if row["step"] > 2]
    return median(row["train/clips_per_second"] for row in rows), float(
        np.mean([row["train/data_wait_share"] for row in rows])
    )


if __name__ == "__main__":
    main()
