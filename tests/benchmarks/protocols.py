"""Time protocols of `evaluate`, and take their peak memory, beside another checkout.

Run by hand, `python -m tests.benchmarks.protocols FEATURES --protocol best --layers pool5 --before CHECKOUT`, on a file
that `soundnet-kd extract` wrote (of whole sequences for `paper`). Each evaluation runs in a process of its own, the two
checkouts in turn, and has to give the same accuracies and chosen settings in both.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--protocol", default="best")
    parser.add_argument("--layers", nargs="+", help="[default: all]")
    parser.add_argument("--choose", action="store_true", help="choose the layers as the settings are")
    parser.add_argument("--before", type=Path, help="another checkout, such as of the commit before")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(_evaluate(options)))
        return
    checkouts = {"now": CHECKOUT, **({"before": options.before.resolve()} if options.before else {})}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(options.rounds):
        for name, checkout in checkouts.items():
            found[name].append(_run(checkout))
    for name, runs in found.items():
        for unit in ("seconds", "cpu_seconds", "peak_mib"):
            each = [run[unit] for run in runs]
            print(f"{name:8}{unit:12}{statistics.median(each):8.1f} ({min(each):.1f} to {max(each):.1f})")
    answers = [run["answers"] for runs in found.values() for run in runs]
    print("answers", answers[0], "the same in all" if answers.count(answers[0]) == len(answers) else "NOT the same")
    if options.before:
        for unit in ("seconds", "cpu_seconds"):
            ratios = [b[unit] / a[unit] for a, b in zip(found["now"], found["before"], strict=True)]
            print(f"{unit}: before / now {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _evaluate(options: argparse.Namespace) -> dict[str, Any]:
    from soundnet_kd.transfer import evaluate_layers

    wall, cpu = time.perf_counter(), time.process_time()
    evaluation = evaluate_layers(options.features, options.layers, options.protocol, choose=options.choose)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "answers": {
            layer: [list(result.fold_accuracy), [dict(setting) for setting in result.chosen]]
            for layer, result in evaluation.results.items()
        },
    }


def _run(checkout: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--once"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=checkout)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    main()
