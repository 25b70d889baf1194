"""The command `compare`: two evaluations of the same clips side by side."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.comparison import Comparison, LayerComparison, require_same_clips, write_comparison
from soundnet_kd.transfer.results import StoredResults
from soundnet_kd.transfer.significance import bootstrap_interval, mcnemar


def compare(
    results: Path | str,
    baseline: Path | str,
    out: Path | str,
    names: list[str] | None = None,
    layers: list[str] | None = None,
) -> Comparison:
    """Set two evaluations of the same sounds side by side, and tell whether their difference is more than chance.

    They may have different layers and protocols. For every layer: both accuracies, McNemar's test, and a 95 % bootstrap
    interval of the gain that keeps clips of one source recording together, where the recordings are known.

    Parameters
    ----------
    results : str or Path
        Folder or results.json that `soundnet-kd evaluate` wrote.
    baseline : str or Path
        The same for what it is compared with, such as the untrained student.
    out : str or Path
        CSV file to write.
    names : list of str, optional
        What to call the baseline and the results. [default: baseline results]
    layers : list of str, optional
        What to compare: pool5 is that layer of both, conv5:pool5 the baseline's conv5 and the results' pool5.
        [default: all layers that both have, and the best of each]

    Raises
    ------
    SettingsError
        If a layer is missing, or the two have other clips, labels or classes.
    """
    results = Path(results)
    baseline = Path(baseline)
    out = Path(out)
    if names is not None and len(names) != 2:
        raise SettingsError(f"names are two, for the baseline and the results, not {len(names)}")
    first, second = names or ("baseline", "results")
    before, after = StoredResults.read(baseline), StoredResults.read(results)
    require_same_clips(before, after)
    pairs = _default_pairs(before, after) if layers is None else [_pair(layer, before, after) for layer in layers]
    ids = tuple(after.labels)
    known = after.groups or before.groups
    groups = None if known is None else np.unique([known[clip] for clip in ids], return_inverse=True)[1]
    rows = []
    for pair in pairs:
        right = before.right(pair[0], ids), after.right(pair[1], ids)
        rows.append(
            LayerComparison(
                layers=pair,
                accuracy=(float(right[0].mean()), float(right[1].mean())),
                interval=bootstrap_interval(*right, groups),
                test=mcnemar(*right),
            )
        )
    comparison = Comparison(
        out=out,
        names=(first, second),
        protocols=(before.protocol, after.protocol),
        rows=tuple(rows),
        clips=len(ids),
        groups=None if groups is None else int(groups.max()) + 1,
    )
    write_comparison(comparison)
    return comparison


def _default_pairs(before: StoredResults, after: StoredResults) -> Sequence[tuple[str, str]]:
    common = [(layer, layer) for layer in after.layers if layer in before.layers]
    return list(dict.fromkeys([*common, (before.best_layer, after.best_layer)]))


def _pair(layers: str, before: StoredResults, after: StoredResults) -> tuple[str, str]:
    first, _, second = layers.partition(":")
    pair = first, second or first
    for layer, side in zip(pair, (before, after), strict=True):
        if layer not in side.layers:
            nearest = difflib.get_close_matches(layer, side.layers, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"{side.folder} has no layer {layer!r}, did you mean {nearest!r}? It has {', '.join(side.layers)}"
            )
    return pair
