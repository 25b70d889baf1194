"""The same cross-validation for every layer of a feature cache."""

import itertools
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
from soundnet_kd.transfer.fitting import FEATURES
from soundnet_kd.transfer.folds import plan_folds, recordings, require_whole_groups
from soundnet_kd.transfer.inputs import JOINT, layer_inputs
from soundnet_kd.transfer.protocols import ProtocolName, Selection, plan_grid
from soundnet_kd.transfer.results import Evaluation
from soundnet_kd.transfer.windows import Windows

CHOSEN = "chosen layers"
"""Name of the result of layers that are chosen fold by fold."""


def evaluate_layers(
    features: str | Path,
    layers: Sequence[str] | None = None,
    protocol: ProtocolName = "notebook",
    *,
    head: ClassifierName | None = None,
    selection: Selection | None = None,
    together: bool = False,
    choose: bool = False,
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
        Layers to evaluate, such as pool5, or conv5+pool5 for two side by side. [default: all]
    protocol, head, selection : str
        As in `cross_validate`.
    together, poolings, windows
        As in `layer_inputs`. [default: the protocol's own windows]
    choose : bool
        Give one result, `CHOSEN`, for which the layers are chosen as the settings are.
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
    if choose and (together or cut is not None):
        raise SettingsError(
            "choose takes one of several layers, pooled over whole clips; leave together and windows out, and name "
            "layers that belong together as conv5+pool5"
        )
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
        alternatives = [list(inputs)] if choose else ([each] for each in inputs)
        for several in tqdm(
            alternatives, desc="evaluate", unit="layer", total=1 if together or choose else len(wanted)
        ):
            (first, *_) = several
            name = CHOSEN if choose else first.name + suffix
            result = cross_validate(
                {each.name: each.rows for each in several} if choose else first.rows,
                labels,
                plan.folds,
                protocol,
                head=head,
                selection=selection,
                clips=first.clips,
                class_names=cache.class_names,
                tested=plan.tested,
                seed=seed,
            )
            results[name] = result
            sizes = {each.name: each.rows.shape[1] for each in several}
            channels[name] = max(sizes[setting.get(FEATURES, first.name)] for setting in result.chosen)
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
    """Return the wanted layers of a cache, from the input on, then joint ones; all layers if `layers` is None.

    Raises
    ------
    SettingsError
        If the cache lacks one of them.
    """
    if layers is None:
        return cache.layers
    if not layers:
        raise SettingsError(f"no layers are asked for; {cache.path} has {', '.join(cache.layers)}")
    asked = [layer.split(JOINT) for layer in layers]
    for layer in itertools.chain(*asked):
        if layer not in cache:
            hint = nearest(layer, cache.layers, always=True)
            raise SettingsError(f"{cache.path} has no layer {layer!r}{hint} It has {', '.join(cache.layers)}")
    places = sorted({tuple(sorted({cache.layers.index(layer) for layer in each})) for each in asked})
    return tuple(JOINT.join(cache.layers[place] for place in each) for each in sorted(places, key=len))
