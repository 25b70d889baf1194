"""What students learn from real sounds with real pictures, of which the tested fold was never heard.

Run by hand, `python -m tests.benchmarks.picture_trial DATA --out FOLDER [--cpu_minutes 30 --seeds 0 1 2 --rows kl]`,
with the folders `esc50`, `pictures` and `teachers` in DATA. The released network comes from where `soundnet-kd weights
fetch soundnet8` puts it.

Each clip of ESC-50 whose class has pictures becomes a video of its sound and a picture. Students hear those of folds 1
to 4, without labels: an image network, MobileNetV2, is their teacher. Then classifiers on their layers are trained on
folds 1 to 4 of ESC-50 and tested on fold 5, on all of its clips, and apart on those of classes that have pictures and
those of classes that have none. Every student has the same CPU time.

Killed and started again, it goes on where it was. FOLDER then holds the videos, the targets and the students, and

    table.md, results.json    a row for each way to learn, with mean and standard deviation over the seeds
    curves.png                what is lost on held-out videos, and agreement with the teacher there, over CPU time
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from subprocess import CalledProcessError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.commands.teach import teach
from soundnet_kd.figures.style import color_and_marker, new_figure, percent_formatter
from soundnet_kd.storage import atomic_write, ensure_same_settings, write_json
from soundnet_kd.training.callbacks import read_history
from tests.benchmarks.picture_runs import JOINT_LAYERS, ROWS, TARGETS, UNHEARD_TARGETS, Run, Stage
from tests.benchmarks.picture_videos import HEARD, UNHEARD, make_videos

TEACHER = "mobilenet_v2:{}/teachers/mobilenet_v2_imagenet.pth"
SEED = 0
"""Of the videos."""
COLUMNS: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "steps": lambda found: found["steps"],
    "layer, notebook": lambda found: 100 * found["notebook"][found["layer"]]["all"],
    "layer, best": lambda found: 100 * found["best"][found["layer"]]["all"],
    "joint, best": lambda found: 100 * found["best"][JOINT_LAYERS]["all"],
    "classes with pictures": lambda found: 100 * found["best"][JOINT_LAYERS]["pictures"],
    "classes without": lambda found: 100 * found["best"][JOINT_LAYERS]["no pictures"],
    "agreement": lambda found: 100 * found["agreement"],
    "parameters, M": lambda found: found["parameters"] / 1e6,
    "CPU minutes": lambda found: found["cpu_seconds"] / 60,
    "peak MiB": lambda found: found["peak_mib"],
}
"""Columns of the table, and how each is made of the results of a run: shares of the tested clips in %.

The layer is that of the architecture that features are taken from first, pool5 of SoundNet8; joint are several side by
side, and so are the accuracies of the classes apart. Agreement is with the teacher's first guess on the tested videos.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu_minutes", type=float, default=30.0, help="CPU time of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--variants", type=int, default=1, help="videos made of each clip that is heard")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="students that learn at the same time")
    options = parser.parse_args()
    data, folder = options.data.resolve(), options.out.resolve()
    make_videos(data, folder, SEED, options.variants)
    for kind, targets in ((HEARD, TARGETS), (UNHEARD, UNHEARD_TARGETS)):
        teach(folder / kind, folder / targets, objects=TEACHER.format(data), keep_features=True)
    runs = [
        Run(data, folder, row, seed, options.cpu_minutes, options.threads)
        for seed in options.seeds
        for row in options.rows
    ]
    for run in runs:
        # A row that was written otherwise since is another one.
        ensure_same_settings(run.row_folder / "row.json", {"row": repr(ROWS[run.row])})
    with ThreadPoolExecutor(options.processes) as pool:
        # All seeds of a row go at its pace.
        list(pool.map(lambda run: _attempt(run, "pace"), runs[: len(options.rows)]))
        for run in pool.map(lambda run: _attempt(run, "train", "evaluate"), runs):
            if run.evaluation.exists():
                print(f"{run.row}, seed {run.seed}: " + ", ".join(f"{name} {_cell([run], name)}" for name in COLUMNS))
                done = [run for run in runs if run.evaluation.exists()]
                write_table(done, folder)
                draw_curves(done, folder / "curves.png")
    print((folder / "table.md").read_text(encoding="utf-8"))


def _attempt(run: Run, *stages: Stage) -> Run:
    """Go through stages of a run that are not done; one that fails does not stop the trial."""
    for stage in stages:
        try:
            run.do(stage)
        except CalledProcessError:
            print(f"{run.row}, seed {run.seed}: {stage} failed, see {run.log}")
            break
    return run


def write_table(runs: Sequence[Run], folder: Path) -> None:
    """Write a row for each way to learn as Markdown, and all that was found of each student as JSON."""
    rows = _by_row(runs)
    lines = [["row", "seeds", *COLUMNS], ["---", *["--:"] * (1 + len(COLUMNS))]]
    for row, students in rows.items():
        lines.append([row, str(len(students)), *(_cell(students, name) for name in COLUMNS)])
    with atomic_write(folder / "table.md") as partial:
        partial.write_text("".join(f"| {' | '.join(cells)} |\n" for cells in lines), encoding="utf-8")
    write_json(
        folder / "results.json",
        {row: {run.seed: run.results() for run in students} for row, students in rows.items()},
    )


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Draw the held-out loss and agreement of each row over CPU time, the means over its seeds.

    Losses of different objectives lie on different scales, so that each is drawn as a share of its first value.
    """
    panels = {
        "loss": "Loss on held-out videos, share of the first",
        "agreement_objects": "Agreement with the teacher there",
    }
    with new_figure(path, 13, 5) as figure:
        axes_of = figure.subplots(1, len(panels))
        for (column, title), axes in zip(panels.items(), axes_of, strict=True):
            for number, (row, students) in enumerate(_by_row(runs).items()):
                curves = [_curve(run, f"validation/{column}") for run in students]
                curves = [curve for curve in curves if len(curve[0]) > 1]
                if not curves:
                    continue
                minutes, values = np.mean(curves, axis=0)
                color, marker = color_and_marker(number)
                axes.plot(
                    minutes, values / values[0] if column == "loss" else values, marker, ls="-", color=color, label=row
                )
            axes.set_title(title)
            axes.set_xlabel("CPU minutes")
        axes_of[-1].yaxis.set_major_formatter(percent_formatter())
        # Only a few rows have an agreement.
        axes_of[0].legend()


def _curve(run: Run, column: str) -> NDArray[np.float64]:
    """Return minutes and values, (2, points), of a figure of a training; each step counts as the same time."""
    found = run.results()
    minutes_per_step = found["cpu_seconds"] / 60 / found["steps"]
    points = [(row["step"] * minutes_per_step, row[column]) for row in read_history(run.out) if column in row]
    return np.array(points, dtype=np.float64).reshape(-1, 2).T


def _by_row(runs: Sequence[Run]) -> dict[str, list[Run]]:
    rows: dict[str, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.row, []).append(run)
    return rows


def _cell(runs: Sequence[Run], column: str) -> str:
    """Return the mean of a figure over seeds, and its standard deviation where there are several."""
    values = [COLUMNS[column](run.results()) for run in runs]
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
