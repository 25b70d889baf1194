"""The results of a finished distillation."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundnet_kd.distill.card import student_card
from soundnet_kd.distill.module import AVERAGED, VALIDATION
from soundnet_kd.errors import FormatError, SettingsError, counted
from soundnet_kd.figures import filters
from soundnet_kd.figures.style import COLORS, GREY, new_figure
from soundnet_kd.models import STUDENT_FILE, Student, read_student, write_network
from soundnet_kd.models.checkpoint import read_training
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.training.checkpoints import (
    AVERAGED_PREFIX,
    FOLDER,
    STUDENT_PREFIX,
    best_checkpoint,
    is_average_better,
    last_checkpoint,
    student_state,
)
from soundnet_kd.training.history import draw_curve, finish_curves, write_history
from soundnet_kd.training.model_card import write_model_card

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEST_STUDENT_FILE = "best.safetensors"
AVERAGED_STUDENT_FILE = "averaged.safetensors"
LOSS, RETRIEVAL, CHANCE, AGREEMENT = "loss_", "retrieval_", "chance_", "agreement_"
STAGES = {"train": ("training", "-"), VALIDATION: ("held out", "--"), AVERAGED: ("held out, average", ":")}
"""What the figures of a training begin with, what they are called in its curves, and how their lines look."""


@dataclass(frozen=True)
class HeldOut:
    """How a student did on held-out videos at the end.

    Attributes
    ----------
    loss : float
    agreement : dict from teacher to float
        Fraction of label steps at which its first guess is the teacher's.
    retrieval : dict from teacher to (share, chance)
        Fraction of sounds of which the nearest picture is their own, and what a guess would have; empty where contrast
        is no objective.
    """

    loss: float
    agreement: dict[str, float]
    retrieval: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class DistillResult:
    """The results of a distillation.

    Attributes
    ----------
    out : Path
    steps : int
        Total number of optimizer steps.
    first_loss, last_loss : float
        Training loss at the start and at the end of the log.
    agreement : dict from teacher to float
        Fraction of held-out label steps at which the student's first guess is the teacher's; empty if nothing was held
        out.
    averaged : HeldOut, optional
        The same of the average of the weights, and its loss; None if there is none, or nothing was held out.
    held_out_loss : float
        Not a number if nothing was held out.
    retrieval : dict from teacher to (share, chance)
        Fraction of held-out sounds of which the nearest picture is their own, and what a guess would have; empty where
        contrast is no objective.
    """

    out: Path
    steps: int
    first_loss: float
    last_loss: float
    agreement: dict[str, float]
    averaged: HeldOut | None = None
    held_out_loss: float = math.nan
    retrieval: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        said = (
            f"wrote {self.out / STUDENT_FILE}: {counted(self.steps, 'step')}, "
            f"loss {self.first_loss:.4f} -> {self.last_loss:.4f}{_said(self.agreement)}"
        )
        for name, (share, chance) in self.retrieval.items():
            said += f", nearest picture of {name} is the sound's own for {share:.0%} (chance {chance:.0%})"
        if self.averaged is not None:
            said += (
                f"; {AVERAGED_STUDENT_FILE}: held-out loss {self.averaged.loss:.4f} (student: {self.held_out_loss:.4f})"
                f"{_said(self.averaged.agreement)}"
            )
        return said


def _said(agreement: Mapping[str, float]) -> str:
    return "".join(f", {share:.0%} agreement on {name}" for name, share in agreement.items())


def write_results(out: str | Path, student: Student, settings: Mapping[str, Any], held_out_clips: int) -> DistillResult:
    """Write the students, the history and the figures of a finished training.

    Raises
    ------
    SettingsError
        If the training diverged; the best student before that is kept.
    """
    out = Path(out)
    last = last_checkpoint(out)
    best = best_checkpoint(out / FOLDER, f"there is no {BEST_STUDENT_FILE}")
    assert last is not None
    state, steps = student_state(last)
    history = read_history(out)
    write_history(out, [({}, history)])
    result = _result(out, steps, history)
    draw_history(history, out / "history.png", settings.get("objectives"))
    if best is not None:
        is_average = is_average_better(best)
        best_state, best_step = student_state(best, AVERAGED_PREFIX if is_average else STUDENT_PREFIX)
        student.load_state_dict(best_state)
        about = {"steps_done": best_step} | ({"weights": "averaged"} if is_average else {})
        write_network(student, out / BEST_STUDENT_FILE, {**settings, **about})
    if not math.isfinite(result.last_loss):
        raise SettingsError(
            f"the training diverged (loss {result.last_loss} at step {steps}); try a lower --learning_rate, or "
            f"--gradient_clip 1, with another --out"
            + (f" ({out / BEST_STUDENT_FILE} is the best student before that)" if best is not None else "")
        )
    figures = {"steps_done": steps, "loss": result.last_loss}
    averaged, _ = student_state(last, AVERAGED_PREFIX)
    if averaged:
        student.load_state_dict(averaged)
        write_network(student, out / AVERAGED_STUDENT_FILE, {**settings, **figures})
    student.load_state_dict(state)
    draw_filters(student, out / "conv1.png")
    write_model_card(
        student_card(student, settings, result.agreement, result.retrieval, result.held_out_loss, held_out_clips), out
    )
    write_network(student, out / STUDENT_FILE, {**settings, **figures})
    return result


def read_finished(out: str | Path, steps: int) -> DistillResult | None:
    """Read the results of a finished training from its folder; None if its student is missing or of other steps."""
    out = Path(out)
    try:
        read_student(out / STUDENT_FILE)
        done = read_training(out / STUDENT_FILE).get("steps_done")
    except FormatError:
        return None
    return _result(out, steps, read_history(out)) if done == steps else None


def _result(out: Path, steps: int, history: list[dict[str, float]]) -> DistillResult:
    losses = [row["train/loss"] for row in history if "train/loss" in row] or [math.nan]
    own, averaged = _held_out(history, VALIDATION), _held_out(history, AVERAGED)
    return DistillResult(
        out,
        steps,
        losses[0],
        losses[-1],
        own.agreement,
        None if math.isnan(averaged.loss) else averaged,
        own.loss,
        own.retrieval,
    )


def _held_out(history: list[dict[str, float]], stage: str) -> HeldOut:
    last = {column: value for row in history for column, value in row.items()}
    start = f"{stage}/{AGREEMENT}"
    agreement = {
        column.removeprefix(start): value
        for column, value in last.items()
        if column.startswith(start) and not column.startswith(f"{start}top")
    }
    retrieval = {
        (name := column.removeprefix(f"{stage}/{RETRIEVAL}")): (value, last.get(f"{stage}/{CHANCE}{name}", math.nan))
        for column, value in last.items()
        if column.startswith(f"{stage}/{RETRIEVAL}")
    }
    return HeldOut(last.get(f"{stage}/loss", math.nan), agreement, retrieval)


def draw_filters(student: Student, path: str | Path) -> None:
    """Draw conv1's filters as waves, with their frequency responses, or those over spectrograms as pictures."""
    weights = student.get_parameter("conv1.weight").detach().cpu().float().numpy()[:, 0]
    if weights.ndim == 3:
        filters.draw_filter_pictures(weights, "conv1", path)
    else:
        filters.draw_filters(weights, student.preprocessing.sample_rate, "conv1", path)


def draw_history(
    history: Sequence[dict[str, float]], path: str | Path, objectives: Collection[str] | None = None
) -> None:
    """Draw the losses in training and on held-out videos and how well the student does there, over the steps.

    Parameters
    ----------
    history : sequence of dict from column to number
    path : str or Path
    objectives : collection of str, optional
        Those whose losses are named by them, such as train/loss_kl_objects: each has a panel of its own, since their
        losses are of different sizes. [default: train/loss_objects is the loss of the only one]
    """
    columns = {column for row in history for column in row}
    panels: dict[str, list[tuple[str, str, str, str]]] = {}
    starts = {f"Loss of {name}": f"{LOSS}{name}_" for name in objectives or ()} or {"Loss": LOSS}
    teachers = sorted(
        {
            column.removeprefix(f"train/{start}")
            for start in starts.values()
            for column in columns
            if column.startswith(f"train/{start}")
        }
    )
    colors = dict(zip(teachers, itertools.cycle(COLORS)))
    for title, start in starts.items():
        panels[title] = [
            (f"{stage}/{start}{teacher}", f"{teacher}, {said}", color, line)
            for teacher, color in colors.items()
            for stage, (said, line) in STAGES.items()
        ]
    panels["Agreement with the teachers on held-out videos"] = [
        (f"{stage}/{AGREEMENT}{top}{teacher}", f"{teacher}, {said}{of}", color, line)
        for teacher, color in colors.items()
        for stage, of, lines in ((VALIDATION, "", ("-", "--")), (AVERAGED, ", average", (":", "-.")))
        for (top, said), line in zip((("", "first guess"), ("top5_", "in first five")), lines, strict=True)
    ]
    panels["Sounds whose own picture is the nearest"] = [
        (f"{stage}/{RETRIEVAL}{teacher}", f"{teacher}, {among}", color, STAGES[stage][1])
        for teacher, color in colors.items()
        for stage, among in (
            ("train", "in a training batch"),
            (VALIDATION, "among held-out clips"),
            (AVERAGED, "among held-out clips, average"),
        )
    ] + [
        # Hardly different from teacher to teacher; one entry of the legend is enough.
        (f"{stage}/{CHANCE}{teacher}", f"{'_' * (number > 0)}chance {among}", GREY, STAGES[stage][1])
        for number, teacher in enumerate(name for name in teachers if f"train/{CHANCE}{name}" in columns)
        for stage, among in (("train", "in a training batch"), (VALIDATION, "among held-out clips"))
    ]
    shown = {title: curves for title, curves in panels.items() if any(column in columns for column, *_ in curves)}
    # Four stand in a square.
    across = 2 if len(shown) == 4 else min(len(shown), 3)
    down = -(-len(shown) // max(across, 1))
    with new_figure(path, 7 if across < 2 else 5.5 * across, 4.2 * down) as figure:
        places = figure.subplots(max(down, 1), max(across, 1), squeeze=False).flatten()
        for axes, (title, curves) in zip(places, shown.items(), strict=False):
            for column, label, color, line in curves:
                _draw_curve(axes, history, column, label, color, line)
            if is_loss := title.startswith("Loss"):
                # From 0, as on the page; this also leaves room for the legend.
                top = axes.dataLim.ymax
                # Of a training that diverged there may be no number at all.
                axes.set_ylim(0, 1.06 * top if math.isfinite(top) and top > 0 else None)
            finish_curves(axes, title, fractions=not is_loss)
            axes.legend()
        for axes in places[len(shown) :]:
            axes.set_axis_off()


def _draw_curve(
    axes: "Axes", history: Sequence[Mapping[str, float]], column: str, label: str, color: str, line: str
) -> None:
    marker = "o" if sum(column in row for row in history) < 30 else None
    alpha = 0.5 if column.startswith(AVERAGED) else 1.0
    draw_curve(axes, history, column, linestyle=line, label=label, color=color, marker=marker, ms=3, alpha=alpha)
