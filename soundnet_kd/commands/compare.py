"""The command `compare`: two evaluations of the same clips side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.transfer.comparison import Comparison, LayerComparison, require_same_clips, write_comparison
from soundnet_kd.transfer.results import Evaluation, read_evaluation
from soundnet_kd.transfer.significance import bootstrap_interval, mcnemar


@dataclass(frozen=True)
class CompareResult:
    """The comparison of two evaluations, and where its table is.

    Attributes
    ----------
    out : Path
    comparison : Comparison
    clips : int
    groups : int or None
        Number of recordings that the clips were cut from, if known.
    """

    out: Path
    comparison: Comparison = field(repr=False)
    clips: int
    groups: int | None

    @property
    def rows(self) -> tuple[LayerComparison, ...]:
        """The compared layers."""
        return self.comparison.rows

    def __str__(self) -> str:
        names = self.comparison.names
        widths = [max(len(name), 8) for name in names]
        width = max(7, *(len(row.name) for row in self.rows))
        lines = [
            f"{'layer':<{width}} {names[0]:>{widths[0]}} {names[1]:>{widths[1]}}     gain   95 % interval        p"
        ]
        for row in self.rows:
            before, after = row.accuracy
            low, high = row.interval
            lines.append(
                f"{row.name:<{width}} {before:>{widths[0]}.1%} {after:>{widths[1]}.1%} {100 * row.gain:>+8.1f}"
                f"  {100 * low:>+6.1f} … {100 * high:>+5.1f}  {_p_value(row.test.p_value)}"
            )
        counted = "1 comparison" if len(self.rows) == 1 else f"{len(self.rows)} comparisons"
        many = len({row.layers for row in self.rows}) > 1
        resampled = "clips" if self.groups is None else f"the {self.groups} source recordings"
        return "\n".join(
            [
                *lines,
                *(f"{name}: {protocol}" for name, protocol in zip(names, self.comparison.protocols, strict=True)),
                f"gain in percentage points; interval: bootstrap over {resampled}; p: McNemar's test of each row, "
                "treating clips as independent",
                *(["a row whose layer was chosen by its accuracy on these clips is optimistic"] if many else []),
                f"wrote {self.out}: {counted} on {self.clips} clips",
            ]
        )


def compare(
    results: Path | str,
    baseline: Path | str,
    out: Path | str,
    names: list[str] | None = None,
    layers: list[str] | None = None,
) -> CompareResult:
    """Compare two evaluations of the same sounds, and test whether their difference is more than chance.

    They may have different layers and protocols. The table has, for every layer, both accuracies, McNemar's test, and a
    95 % bootstrap interval of the gain; clips of one recording are resampled together where recordings are known.

    Parameters
    ----------
    results : str or Path
        Folder or results.json that `soundnet-kd evaluate` wrote.
    baseline : str or Path
        The evaluation to compare it with, such as that of the untrained student.
    out : str or Path
        CSV file to write.
    names : list of str, optional
        Names of the baseline and the results in the table. [default: baseline results]
    layers : list of str, optional
        Layers to compare: pool5 for that layer of both, conv5:pool5 for the baseline's conv5 and the results' pool5.
        [default: all layers that both have, and the best of each]

    Raises
    ------
    SettingsError
        If a layer is missing, or the two differ in clips, labels or classes.
    """
    results = Path(results)
    baseline = Path(baseline)
    out = Path(out)
    if names is not None and len(names) != 2:
        raise SettingsError(f"names has to be two names, of the baseline and of the results, not {len(names)}")
    first, second = names or ("baseline", "results")
    before, after = read_evaluation(baseline), read_evaluation(results)
    require_same_clips(before, after)
    pairs = _default_pairs(before, after) if layers is None else [_pair(layer, before, after) for layer in layers]
    clips = tuple(after.place_of)
    recordings = _recordings(after if after.groups else before, clips)
    rows = []
    for pair in pairs:
        correct = before.correct(pair[0], clips), after.correct(pair[1], clips)
        accuracy = float(correct[0].mean()), float(correct[1].mean())
        rows.append(
            LayerComparison(
                layers=pair,
                accuracy=accuracy,
                gain=accuracy[1] - accuracy[0],
                interval=bootstrap_interval(*correct, recordings),
                test=mcnemar(*correct),
            )
        )
    comparison = Comparison((first, second), (before.protocol, after.protocol), tuple(rows))
    write_comparison(comparison, out)
    return CompareResult(out, comparison, len(clips), None if recordings is None else int(recordings.max()) + 1)


def _recordings(evaluation: Evaluation, clips: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the recording of each clip as a number, (clips,); None if recordings are not known."""
    if not evaluation.groups:
        return None
    names = [evaluation.groups[evaluation.place_of[clip]] for clip in clips]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _default_pairs(before: Evaluation, after: Evaluation) -> Sequence[tuple[str, str]]:
    common = [(layer, layer) for layer in after.layers if layer in before.layers]
    return list(dict.fromkeys([*common, (_best_layer(before), _best_layer(after))]))


def _best_layer(evaluation: Evaluation) -> str:
    """Return the layer with the most correct clips; on a tie the one nearest the input."""
    clips = tuple(evaluation.place_of)
    return max(evaluation.layers, key=lambda layer: int(evaluation.correct(layer, clips).sum()))


def _pair(layers: str, before: Evaluation, after: Evaluation) -> tuple[str, str]:
    first, _, second = layers.partition(":")
    pair = first, second or first
    for layer, side in zip(pair, (before, after), strict=True):
        if layer not in side.layers:
            hint = nearest(layer, side.layers, always=True)
            raise SettingsError(f"{side.folder} has no layer {layer!r}{hint} It has {', '.join(side.layers)}")
    return pair


def _p_value(p_value: float) -> str:
    return "<0.0001" if p_value < 1e-4 else f"{p_value:>7.4f}"
