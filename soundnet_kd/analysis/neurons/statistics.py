"""Which classes the neurons of a layer answer to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.validation import Column, features_of, labelled_clips, labels_of, names_of

NO_CLASS = -1

SELECTIVE = 0.30
"""Best share above which the notebook shows a neuron's classes."""

COMMON = 5
"""Neurons that a class must be the best of, and one more, for the notebook to show it."""


@dataclass(frozen=True, eq=False)
class NeuronStatistics:
    """What activates each neuron of a layer.

    A neuron is activated by the clips that lie above its own percentile, strictly.

    Attributes
    ----------
    thresholds : (neurons,) float64
    activated : (neurons,) int64
        Clips that activate each neuron: `expected`, or fewer where a neuron is silent (0) for most clips.
    expected : int
        Clips above the percentile where no two are equal: 100 of 2000 for the 95th.
    counts : (neurons, classes) int64
        Activating clips of each class.
    share : (neurons, classes) float64
        `counts / expected`. For a neuron that fewer clips activate this is less than their proportion, so that one
        which answers to a single clip does not look like a perfect detector.
    best_class : (neurons,) int64
        The class with the largest share, the first of equals; -1 for a neuron that no clip activates.
    best_share : (neurons,) float64
    order : (neurons, clips) int32
        Rows of the labelled clips, each neuron's strongest first, of equals the first.
    classes : tuple of str
    """

    thresholds: NDArray[np.float64]
    activated: NDArray[np.int64]
    expected: int
    counts: NDArray[np.int64]
    share: NDArray[np.float64]
    best_class: NDArray[np.int64]
    best_share: NDArray[np.float64]
    order: NDArray[np.int32]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        neurons, classes = self.counts.shape
        return f"NeuronStatistics({neurons} neurons, {classes} classes, {self.expected} clips above each threshold)"

    @property
    def neurons_per_class(self) -> NDArray[np.int64]:
        """(classes,) of how many neurons each class is the best class."""
        return np.bincount(self.best_class[self.best_class >= 0], minlength=len(self.classes))


def neuron_statistics(
    activations: ArrayLike,
    labels: Column,
    class_names: Sequence[str] | None = None,
    percentile: float = 95.0,
) -> NeuronStatistics:
    """Count which classes activate each neuron.

    Parameters
    ----------
    activations : (clips, neurons) float
        Averages over time, as an array, lists, a tensor or a table.
    labels : (clips,) int or str
        Numbers from 0, or names. Clips with -1, None, NaN or an empty text have no label and are left out.
    class_names : sequence of str, optional
        Of every class, also of those without a clip, in the order of the numbers.
    percentile : float
        Above which of its own values, over the clips, a neuron counts as activated.

    Returns
    -------
    NeuronStatistics

    Raises
    ------
    FormatError
        If the lengths differ or an activation is not finite.
    SettingsError
        If no clip has a label, or `percentile` is not between 0 and 100.
    """
    if not 0 < percentile < 100:
        raise SettingsError(f"percentile is {percentile:g}; expected more than 0 and less than 100, such as 95")
    features = features_of(activations)
    numbers, named = labels_of(labels, class_names)
    rows = np.flatnonzero(labelled_clips(features, numbers))
    classes = names_of(numbers, named)
    # A neuron's values side by side are read and sorted many times as fast as in columns.
    data, truth = np.ascontiguousarray(features[rows].T), numbers[rows]
    thresholds = np.percentile(data, percentile, axis=1)
    above = data > thresholds[:, None]
    ranks = np.arange(len(rows))
    expected = int((ranks > np.percentile(ranks, percentile)).sum())
    # Whole numbers far below 2^24 are exact in float32, whose matrix product is fast.
    of_class = np.eye(len(classes), dtype=np.float32)[truth]
    counts = (above.astype(np.float32) @ of_class).astype(np.int64)
    activated = above.sum(axis=1)
    best_class = np.where(activated > 0, counts.argmax(axis=1), NO_CLASS)
    share = counts / max(expected, 1)
    return NeuronStatistics(
        thresholds=thresholds.astype(np.float64),
        activated=activated,
        expected=expected,
        counts=counts,
        share=share,
        best_class=best_class,
        best_share=share.max(axis=1),
        order=rows[np.argsort(-data, axis=1, kind="stable")].astype(np.int32),
        classes=classes,
    )
