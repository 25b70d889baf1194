"""Time `report`, `neurons` and `project` on a run, beside another checkout, and tell which of their files differ.

Run it with `python -m tests.benchmarks.report RUN [--commands report,neurons] [--rounds 3] [--before CHECKOUT]`, where
RUN is a folder with features.h5 and the outputs of `neurons`, `project` and `evaluate`. Every round runs each checkout
once, each command in a new process that writes to an empty folder; the figures are medians over the rounds, with the
least and the most.
"""

import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

_START = "import sys; from soundnet_kd.cli import main; sys.exit(main())"
_OWN = Path(__file__).parents[2]


def measure(checkout: Path, command: str, run: Path, out: Path) -> tuple[float, float]:
    """Run a command of a checkout; return the seconds of processor time, of all its processes, and of the clock."""
    given = run if command == "report" else run / "features.h5"
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    arguments = [sys.executable, "-c", _START, command, str(given), "--out", str(out)]
    before, start = os.times(), time.perf_counter()
    subprocess.run(arguments, cwd=checkout, env=environment, check=True, capture_output=True)
    seconds, after = time.perf_counter() - start, os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system,
        seconds,
    )


def differing(one: Path, other: Path) -> Counter[str]:
    """Count the files of two folders that are not the same in both, by their endings."""
    files = {file.relative_to(folder) for folder in (one, other) for file in folder.rglob("*") if file.is_file()}
    same = {file for file in files if all((folder / file).is_file() for folder in (one, other))}
    same = {file for file in same if filecmp.cmp(one / file, other / file, shallow=False)}
    return Counter(file.suffix for file in files - same)


def describe(values: list[float]) -> str:
    return f"{statistics.median(values):7.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--commands", default="report,neurons,project")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    checkouts = {"ours": _OWN, **({"before": given.before.resolve()} if given.before else {})}
    for command in given.commands.split(","):
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
        with tempfile.TemporaryDirectory() as folder:
            for number in range(given.rounds):
                for name, checkout in checkouts.items():
                    out = Path(folder) / f"{name}-{number}"
                    measured[name].append(measure(checkout, command, given.run.resolve(), out))
            for name, pairs in measured.items():
                processor, clock = map(list, zip(*pairs, strict=True))
                print(f"{command:8} {name:7} processor {describe(processor)} s   clock {describe(clock)} s")
            if given.before:
                for place, kind in enumerate(("processor", "clock")):
                    ratios = [
                        before[place] / ours[place]
                        for ours, before in zip(measured["ours"], measured["before"], strict=True)
                    ]
                    print(f"{command:8} {kind:9} {describe(ratios)} x as fast")
                endings = differing(Path(folder) / "ours-0", Path(folder) / "before-0")
                print(f"{command:8} files that differ, by ending: {dict(endings)}")


if __name__ == "__main__":
    main()
