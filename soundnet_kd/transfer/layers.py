"""The same cross-validation for every layer of a feature cache."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from soundnet_kd.data.datasets.esc50 import SOURCE_COLUMN
from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.features import FeatureCache
from soundnet_kd.features.pooling import Pooling
from soundnet_kd.storage import versions
from soundnet_kd.transfer.classifiers import ClassifierName
from soundnet_kd.transfer.cross_validation import CrossValidation, cross_validate
from soundnet_kd.transfer.folds import plan_folds, recordings, require_whole_groups
from soundnet_kd.transfer.inputs import layer_inputs
from soundnet_kd.transfer.protocols import ProtocolName, Selection, plan_grid
from soundnet_kd.transfer.results import Evaluation
from soundnet_kd.transfer.windows import Windows


def evaluate_layers(
    features: str | Path,
    layers: Sequence[str] | None = None,
    protocol: ProtocolName = "notebook",
    *,
    head: ClassifierName | None = None,
    selection: Selection | None = None,
    together: bool = False,
    poolings: Sequence[Pooling] | None = None,
    windows: Windows | None = None,
    folds: int | None = None,
    groups: str | None = None,
    seed: int = 0,
) -> Evaluation:
    """Cross-validate the layers of a cache.

    Parameters
    ----------
    features : str or Path
        File that `soundnet-kd extract` wrote.
    layers : sequence of str, optional
        Layers to evaluate. [default: all]
    protocol, head, selection : str
        As in `cross_validate`.
    together, poolings, windows
        As in `layer_inputs`. [default: the protocol's own windows]
    folds : int, optional
        Number of folds to make. [default: those of the data set]
    groups : str, optional
        Column of the data set's table that names the recording that a clip was cut from. [default: src_file, if there
        is one]
    seed : int
        Seed of the folds and of the classifiers.

    Raises
    ------
    SettingsError
        If a layer, column, protocol or classifier does not exist, or no clip has a label.
    FormatError
        If `features` is no feature cache.
    """
    features = Path(features)
    cut = windows or plan_grid(protocol, head, None).windows
    with FeatureCache(features) as cache:
        wanted = choose_layers(cache, layers)
        labels = cache.labels
        sources = _sources(cache, groups)
        plan = plan_folds(cache.folds, labels, seed, folds, sources, cache.no_fold, cache.splits)
        if groups is not None and sources is not None and plan.tested is None:
            require_whole_groups(plan.folds, labels, sources)
        results: dict[str, CrossValidation] = {}
        channels: dict[str, int] = {}
        inputs = layer_inputs(cache, wanted, together, poolings, cut)
        # Windows other than the protocol's own are named with the result.
        suffix = "" if windows is None else f" in {windows.seconds:g} s windows"
        for each in tqdm(inputs, desc="evaluate", unit="layer", total=1 if together else len(wanted)):
            name = each.name + suffix
            channels[name] = each.rows.shape[1]
            results[name] = cross_validate(
                each.rows,
                labels,
                plan.folds,
                protocol,
                head=head,
                selection=selection,
                clips=each.clips,
                class_names=cache.class_names,
                tested=plan.tested,
                seed=seed,
            )
        return Evaluation(
            kind="features",
            results=results,
            channels=channels,
            classes=next(iter(results.values())).classes,
            ids=cache.ids,
            labels=plan.hide_untested(labels),
            folds=plan.folds,
            groups=sources,
            source={
                "features": str(features.resolve()),
                "identity": cache.identity,
                "folds": plan.origin,
                "windows": None if cut is None else asdict(cut),
                "seed": seed,
                "versions": versions(),
            },
        )


def _sources(cache: FeatureCache, column: str | None) -> tuple[str, ...] | None:
    if column is None:
        column = SOURCE_COLUMN
        if column not in cache.columns:
            return None
    if column not in cache.columns:
        raise SettingsError(
            f"{cache.path} carries no column {column!r} (it has {', '.join(cache.columns) or 'none'}); extract from a "
            "table that has it"
        )
    return recordings(cache.ids, cache.columns[column])


def choose_layers(cache: FeatureCache, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the wanted layers of a cache, from the input on; all of them if `layers` is None.

    Raises
    ------
    SettingsError
        If the cache lacks one of them.
    """
    if layers is None:
        return cache.layers
    if not layers:
        raise SettingsError(f"no layers are asked for; {cache.path} has {', '.join(cache.layers)}")
    for layer in layers:
        if layer not in cache:
            hint = nearest(layer, cache.layers, always=True)
            raise SettingsError(f"{cache.path} has no layer {layer!r}{hint} It has {', '.join(cache.layers)}")
    return tuple(layer for layer in cache.layers if layer in layers)
