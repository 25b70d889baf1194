"""Kill every command before every change that it makes to files, start it again, and compare what it leaves.

    python -m tests.benchmarks.kill_matrix [COMMAND …]

Prints a line for each command, and one for each moment that was not survived. All of it takes about an hour.
"""

import sys
import tempfile
from pathlib import Path

from tests.kill_scenarios import SCENARIOS, changes_of, clear, inputs, kill_and_go_on, left


def main(names: list[str]) -> int:
    """Go through the commands and give how many moments were not survived."""
    lost = 0
    with tempfile.TemporaryDirectory() as folder, inputs(Path(folder)):
        for name in names or SCENARIOS:
            # Always the same place, since some results name it.
            trial = Path(folder) / "trial"
            changes = changes_of(SCENARIOS[name], trial)
            wanted, failed = left(trial), 0
            clear(trial)
            for number, change in enumerate(changes):
                wrong = kill_and_go_on(SCENARIOS[name], trial, number)
                if wrong == "" and (found := left(trial)) != wanted:
                    names_that_differ = sorted(key for key in found | wanted if found.get(key) != wanted.get(key))
                    wrong = f"leaves others: {', '.join(names_that_differ)}"
                if wrong:
                    failed += 1
                    print(f"  {name}, {number}, {change}: {wrong}", flush=True)
                clear(trial)
            files = len({change.partition(" ")[2] for change in changes})
            survived = len(changes) - failed
            print(f"{name}: {files} files, {len(changes)} moments, {survived} survived", flush=True)
            lost += failed
    return lost


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
