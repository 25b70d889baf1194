"""Protocols: named combinations of transforms, classifier, settings to try, and how these are chosen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from soundnet_kd.errors import SettingsError, nearest
from soundnet_kd.transfer.classifiers import CLASSIFIERS, DECADES, ClassifierName
from soundnet_kd.transfer.windows import Windows

ProtocolName = Literal["notebook", "paper", "power", "best"]
Selection = Literal["same folds", "nested", "fixed"]

Found = TypeVar("Found")

SELECTIONS: Mapping[Selection, str] = {
    "same folds": (
        "the setting with the best mean accuracy on the same folds that are reported, so the accuracy is a little too "
        "good"
    ),
    "nested": "for each fold the setting that did best inside its training folds; the tested fold takes no part",
    "fixed": "there is one setting, so nothing is chosen",
}
"""How settings are chosen, in plain words, which stand in files of results and stay as they are."""


@dataclass(frozen=True)
class Protocol:
    """A way to evaluate features.

    Attributes
    ----------
    about : str
    steps : callable
        Makes the transforms of the features, (name, transformer) each.
    head : str
    grid : mapping from parameter to the values that are tried
        Parameters of the classifier by their names, those of a transform as in scikit-learn's pipelines, such as
        `whiten__shrinkage`.
    selection : str
    windows : Windows, optional
        The windows of a clip that are classified one by one. [default: the whole clip]
    """

    about: str
    steps: Callable[[], list[tuple[str, Any]]]
    head: ClassifierName
    grid: Mapping[str, Sequence[float]]
    selection: Selection
    windows: Windows | None = field(default=None)


def _keep() -> list[tuple[str, Any]]:
    return []


def _standardize() -> list[tuple[str, Any]]:
    from sklearn.preprocessing import StandardScaler

    return [("scale", StandardScaler())]


def _take_root(exponent: float) -> list[tuple[str, Any]]:
    from soundnet_kd.transfer.transforms import SignedPower

    return [("root", SignedPower(exponent)), *_standardize()]


def _take_cube_root() -> list[tuple[str, Any]]:
    return _take_root(1 / 3)


def _whiten() -> list[tuple[str, Any]]:
    from sklearn.preprocessing import Normalizer

    from soundnet_kd.transfer.transforms import WithinClassRotation, WithinClassScaling

    return [
        *_take_root(1 / 2),
        ("rotate", WithinClassRotation()),
        ("whiten", WithinClassScaling()),
        ("norm", Normalizer()),
    ]


PROTOCOLS: Mapping[ProtocolName, Protocol] = {
    "notebook": Protocol(
        "averages over time, standardised, linear SVM; six decades of C, as in the ESC-50 notebook",
        _standardize,
        "linear_svm",
        {"C": DECADES},
        "same folds",
    ),
    "paper": Protocol(
        "windows of 1 s of the first 10 s, their steps side by side, linear SVM with C = 0.01, decision values "
        "averaged over a clip's windows, as in the authors' script",
        _keep,
        "linear_svm",
        {"C": (0.01,)},
        "fixed",
        Windows(seconds=1.0, pooling="flatten", clip_seconds=10.0),
    ),
    "power": Protocol(
        "notebook, with the cube root of the averages",
        _take_cube_root,
        "linear_svm",
        {"C": (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)},
        "same folds",
    ),
    "best": Protocol(
        "square root, standardised, whitened within the classes, rows of length 1, kernel ridge regression",
        _whiten,
        "kernel_ridge",
        {"whiten__shrinkage": (0.3, 0.5, 0.7), "gamma": (1.0, 2.0), "alpha": (0.03, 0.1)},
        "nested",
    ),
}
"""Protocols by name."""


def plan_grid(
    protocol: ProtocolName, head: ClassifierName | None, grid: Mapping[str, Sequence[float]] | None
) -> Protocol:
    """Return a protocol, with the classifier and settings exchanged if others are given.

    Raises
    ------
    SettingsError
        If there is no such protocol or classifier, or a setting to try is missing or not above 0.
    """
    plan = _require_known(PROTOCOLS, protocol, "protocol")
    if head is not None and head != plan.head:
        # The transforms keep their settings; those of the classifier are replaced.
        of_steps = {name: values for name, values in plan.grid.items() if "__" in name}
        plan = replace(plan, head=head, grid={**of_steps, **_require_known(CLASSIFIERS, head, "head").grid})
        if plan.selection == "fixed":
            plan = replace(plan, selection="nested")
    if grid is not None:
        for name, values in grid.items():
            _require_known(plan.grid, name, "setting")
            if not len(values):
                raise SettingsError(f"the grid has no value for {name}; give at least one")
        plan = replace(plan, grid={**plan.grid, **grid})
    if min(min(values) for values in plan.grid.values()) <= 0:
        raise SettingsError(f"the grid is {dict(plan.grid)}; every value has to be above 0")
    return plan


def _require_known(table: Mapping[Any, Found], name: str, what: str) -> Found:
    if name not in table:
        hint = nearest(name, table, always=True)
        raise SettingsError(f"there is no {what} {name!r}{hint} There are: {', '.join(table)}")
    return table[name]
