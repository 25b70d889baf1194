"""Which classes activate the neurons of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.input_checks import Column, features_of, labelled_clips, labels_of, names_of

NO_CLASS = -1

SELECTIVE = 0.30
"""Best share above which the classes of a neuron are shown, as in the ESC-50 notebook."""

COMMON = 5
"""A class is shown if it is the best class of more neurons than this, as in the ESC-50 notebook."""


@dataclass(frozen=True, eq=False)
class NeuronStatistics:
    """What activates each neuron of a layer.

    A clip activates a neuron if its activation is strictly above the neuron's own percentile.

    Attributes
    ----------
    thresholds : (neurons,) float64
        The percentile of each neuron.
    activated : (neurons,) int64
        Number of clips that activate each neuron: `expected`, or fewer for a neuron that is 0 for most clips.
    expected : int
        Number of clips above the percentile if no two are equal: 100 of 2000 for the 95th.
    counts : (neurons, classes) int64
        Number of activating clips of each class.
    share : (neurons, classes) float64
        `counts / expected`. For a neuron that fewer clips activate this is less than their proportion, so that a
        neuron activated by a single clip does not look like a perfect detector.
    best_class : (neurons,) int64
        The class with the largest share, the first one of equals; -1 for a neuron that no clip activates.
    best_share : (neurons,) float64
        The share of that class.
    order : (neurons, clips) int32
        Rows of the labelled clips by activation of each neuron, strongest first; equals keep their order.
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
        """(classes,) number of neurons whose best class it is."""
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
        Averages over time, as an array, lists, a tensor or a data frame.
    labels : (clips,) int or str
        Numbers from 0, or names. Clips with -1, None, NaN or an empty text have no label and are left out.
    class_names : sequence of str, optional
        Names of all classes, in the order of their numbers, with or without clips.
    percentile : float
        A neuron counts as activated above this percentile of its own values over the clips.

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
    # With the values of a neuron side by side in memory, reading and sorting is many times as fast.
    data, truth = np.ascontiguousarray(features[rows].T), numbers[rows]
    thresholds = np.percentile(data, percentile, axis=1)
    above = data > thresholds[:, None]
    ranks = np.arange(len(rows))
    expected = int((ranks > np.percentile(ranks, percentile)).sum())
    # Integers below 2^24 are exact in float32, whose matrix product is fast.
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
