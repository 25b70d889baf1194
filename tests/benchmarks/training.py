"""How fast a student trains, and how much of that is lost to reading the targets.

    python -m tests.benchmarks.training [TARGETS] [--device cuda --batch_sizes 64 256 --precision bf16]

The limit is the same optimizer step on a batch that is held in the device's memory, in a plain loop; both are measured
in turn. Without a folder of targets one is made, of 256 clips of noise in 64 parts.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from soundnet_kd.commands.distill import distill
from soundnet_kd.data import Targets
from soundnet_kd.distill import DistillationLoss
from soundnet_kd.distill.data import HeldOutClips
from soundnet_kd.models import SoundNet8, choose_device
from soundnet_kd.models.device import keep_freed_memory
from soundnet_kd.training.callbacks import read_history
from tests.targets import SAMPLE_RATE, make_clip, make_targets

MADE_CLIPS = 256
CLASSES = {"objects": tuple(map(str, range(1000))), "scenes": tuple(map(str, range(401)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="?", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[8])
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device = choose_device(options.device)
    logging.getLogger("soundnet_kd").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        targets = options.targets or _make(Path(folder) / "targets")
        print(f"{device}, {options.precision}, {options.steps} steps, medians of {options.repeats}")
        print("batch  in memory   distill     ratio   waiting for data")
        for batch_size in options.batch_sizes:
            limits, found, waits = [], [], []
            for repeat in range(options.repeats):
                limits.append(_in_memory(targets, batch_size, options.steps, device, options.precision))
                out = Path(folder) / f"{batch_size}-{repeat}"
                speed, wait = _distill(targets, out, batch_size, options)
                found.append(speed)
                waits.append(wait)
            print(
                f"{batch_size:5d}  {median(limits):7.2f}/s  {median(found):7.2f}/s  "
                f"{median(found) / median(limits):7.2f}  {median(waits):10.1%}"
            )


def _make(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    sound = (rng.normal(size=20 * SAMPLE_RATE) * 3000).astype(np.int16)
    clips = [
        make_clip(f"{number}.mp4", 4, rng, classes=CLASSES, sound=np.roll(sound, number))
        for number in range(MADE_CLIPS)
    ]
    return make_targets(folder, clips, clips_per_part=4, classes=CLASSES)


def _in_memory(folder: Path, batch_size: int, steps: int, device: torch.device, precision: str) -> float:
    """Give the clips per second of a plain loop that sees one batch again and again."""
    keep_freed_memory()
    targets = Targets(folder)
    clips = HeldOutClips(targets)
    examples = [clips[index % len(clips)] for index in range(batch_size)]
    sound = torch.stack([example[0] for example in examples]).to(device)
    rows: dict[str, Tensor] = {
        name: torch.stack([example[1][name] for example in examples]).to(device) for name in targets.class_names
    }
    student, loss = SoundNet8(targets.class_names).to(device).train(), DistillationLoss()
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    started = 0.0
    for step in range(steps + 3):
        if step == 3:
            _synchronise(device)
            started = perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            total, _ = loss(student(student.preprocessing.scale(sound)), rows)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _synchronise(device)
    return steps * batch_size / (perf_counter() - started)


def _distill(targets: Path, out: Path, batch_size: int, options: argparse.Namespace) -> tuple[float, float]:
    """Give clips per second and the share of waiting of a real run, without its first steps."""
    distill(
        targets,
        out,
        steps=options.steps + 2,
        batch_size=batch_size,
        precision=options.precision,
        held_out=0.0,
        workers=options.workers,
        device=options.device,
    )
    rows = [row for row in read_history(out) if row["step"] > 2]
    return median(row["train/clips_per_second"] for row in rows), float(
        np.mean([row["train/data_wait_share"] for row in rows])
    )


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


if __name__ == "__main__":
    main()
