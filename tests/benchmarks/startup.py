"""Time whole processes from the command line against `python -c "import torch"`, in turn, with a warm file cache.

Run by hand, `python -m tests.benchmarks.startup [COMMAND…]`: commands are rows of `COMMANDS`, and without any all of
them. `--before CHECKOUT` times the same with another checkout. `--cpu` counts the seconds of processors, which say more
where others compute on the machine. `--student` names the network of `predict` and `extract`; otherwise it is
a file with weights that are drawn here. Their sounds are ESC-50's where SOUNDNET_KD_DATA points at the data folder,
elsewhere noise.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from soundnet_kd.cli.table import COMMANDS as TABLE
from soundnet_kd.media import write_audio
from soundnet_kd.models import SoundNet8, write_network
from tests.kill_scenarios import SCENARIOS, inputs

FLOOR = "import torch"
COMMANDS: Mapping[str, str] = {
    "import": "",
    "--help": "--help",
    **{f"{name} --help": f"{name} --help" for name in TABLE},
    "predict": "predict ../one.wav --student STUDENT",
    "extract": "extract ../eight --student STUDENT --out out/f.h5",
    **{
        name: scenario.arguments
        for name, scenario in SCENARIOS.items()
        if name not in ("predict", "extract", "run", "weights fetch")
    },
    "weights list": "weights list",
    "weights show": "weights show soundnet8",
}
"""What is run in a folder beside that of the inputs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commands", nargs="*", metavar="COMMAND")
    parser.add_argument("--before", type=Path, help="Another checkout of this repository.")
    parser.add_argument("--student", help="Of predict and extract: a file or a name.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="Seconds of processors, in place of those of a clock.")
    options = parser.parse_args()
    clock = processor_seconds if options.cpu else time.perf_counter
    checkouts = {"ours": Path(__file__).resolve().parents[2]}
    if options.before is not None:
        checkouts["before"] = options.before.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sounds(folder)
        student = options.student or "../student.safetensors"
        with inputs(folder) as made:
            shutil.copy(folder / "student.safetensors", made)
            for name in options.commands or COMMANDS:
                words = [student if word == "STUDENT" else word for word in COMMANDS[name].split()]
                print_row(name, measure(folder, words, name, checkouts, options.repeats, clock))


def make_sounds(folder: Path) -> None:
    """Write one sound of 5 s, a folder of eight, and a student of full size."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    write_network(SoundNet8().eval(), folder / "student.safetensors", {})
    data = os.environ.get("SOUNDNET_KD_DATA")
    found = sorted((Path(data) / "esc50" / "audio").iterdir())[::250] if data else []
    for number in range(8):
        place = folder / "eight" / f"{number}.wav"
        if found:
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(found[number])
        else:
            write_audio(place, 0.1 * rng.standard_normal(5 * 44_100).astype(np.float32), 44_100)
    (folder / "one.wav").symlink_to(folder / "eight" / "0.wav")


def measure(
    folder: Path,
    words: Sequence[str],
    name: str,
    checkouts: Mapping[str, Path],
    repeats: int,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Return the seconds of every repeat, after one that warms the file cache and is not counted."""
    seconds: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        for label, taken in one_round(folder, words, name, checkouts, clock):
            if repeat:
                seconds.setdefault(label, []).append(taken)
    return seconds


def one_round(
    folder: Path, words: Sequence[str], name: str, checkouts: Mapping[str, Path], clock: Callable[[], float]
) -> Iterator[tuple[str, float]]:
    yield FLOOR, run([sys.executable, "-c", FLOOR], folder, next(iter(checkouts.values())), clock)
    for label, checkout in checkouts.items():
        trial = folder / "trial"
        (trial / "out").mkdir(parents=True)
        before = SCENARIOS[name].before if name in SCENARIOS else ()
        cli = [sys.executable, "-m", "soundnet_kd.cli"]
        for made in before:
            run([*cli, *made.split()], trial, checkout, clock)
        command = [*cli, *words] if words else [sys.executable, "-c", "import soundnet_kd"]
        yield label, run(command, trial, checkout, clock)
        shutil.rmtree(trial)


def run(command: Sequence[str], folder: Path, checkout: Path, clock: Callable[[], float]) -> float:
    """Return the seconds of a process, which has to end well."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    if "import" in command:
        environment["SOUNDNET_KD_CACHE"] = str(folder / "out")
    start = clock()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    taken = clock() - start
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return taken


def processor_seconds() -> float:
    """Return how long processors were at the processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def print_row(name: str, seconds: Mapping[str, Sequence[float]]) -> None:
    """Print medians with the least and the most, and the medians of the ratios within a round."""
    ours = seconds["ours"]
    cells = [f"{name:22}"]
    for label, several in seconds.items():
        cells.append(f"{label} {statistics.median(several):5.2f} s ({min(several):.2f}-{max(several):.2f})")
    cells.append(f"{_ratio(ours, seconds[FLOOR]):.2f} x {FLOOR}")
    if "before" in seconds:
        cells.append(f"before / ours {_ratio(seconds['before'], ours):.1f}")
    print("  ".join(cells), flush=True)


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


if __name__ == "__main__":
    main()
