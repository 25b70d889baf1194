"""Which shares of a class are above chance: the same counts with the labels shuffled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.statistics import NeuronStatistics
from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.validation import Column, labels_of

FALSE_DISCOVERY_RATE = 0.05
QUANTILE = 0.95


@dataclass(frozen=True, eq=False)
class Chance:
    """What the best shares of a layer are worth.

    Attributes
    ----------
    share : float
        The 95 % quantile of the best share under shuffled labels, for a neuron with all its activating clips.
    p_values : (neurons,) float64
        Probability of a best share as large as the neuron's where the labels are shuffled, for the neuron alone.
    q_values : (neurons,) float64
        The same, corrected for the neurons of the layer (Benjamini and Hochberg, 1995).
    """

    share: float
    p_values: NDArray[np.float64]
    q_values: NDArray[np.float64]

    @property
    def is_above(self) -> NDArray[np.bool_]:
        """(neurons,) whether the best share is above chance: of those called so, at most 5 % are expected not to be."""
        return self.q_values <= FALSE_DISCOVERY_RATE


class ShuffledLabels:
    """The commonest class among clips that are drawn blindly.

    Shuffling the labels gives the clips that activate a neuron the labels of as many clips drawn without replacement,
    whichever clips they are. The counts of their classes therefore follow the multivariate hypergeometric
    distribution, from which they are drawn here at once; neurons activated by equally many clips share their draws.

    Every clip is shuffled for itself. Where several clips are cut from one recording they are more alike than that, and
    chance is somewhat higher than said here.

    Parameters
    ----------
    labels : (clips,) int or str
        -1 or None where unlabeled; these are left out.
    shuffles : int
    seed : int
        The same seed gives the same draws.

    Raises
    ------
    SettingsError
        If `shuffles` is less than 1.
    """

    def __init__(self, labels: Column, shuffles: int = 10_000, seed: int = 0) -> None:
        if shuffles < 1:
            raise SettingsError(f"shuffles is {shuffles}; expected at least 1, such as 10000")
        numbers = labels_of(labels)[0]
        self._class_sizes = np.bincount(numbers[numbers >= 0])
        self._shuffles = shuffles
        self._seed = seed
        self._drawn: dict[int, NDArray[np.int64]] = {}

    def largest_counts(self, clips: int) -> NDArray[np.int64]:
        """Return how many of `clips` clips the commonest class has, in each shuffle.

        Returns
        -------
        (shuffles,) int64, ascending
        """
        if clips not in self._drawn:
            rng = np.random.default_rng((self._seed, clips))
            counts = rng.multivariate_hypergeometric(self._class_sizes, clips, size=self._shuffles)
            self._drawn[clips] = np.sort(counts.max(axis=1))
        return self._drawn[clips]

    def judge(self, statistics: NeuronStatistics) -> Chance:
        """Say which best shares of a layer are above chance.

        A p-value counts the shuffle that was found as one of them and so is never 0 (Phipson and Smyth, 2010).
        """
        from scipy.stats import false_discovery_control

        best = statistics.counts.max(axis=1)
        p_values = np.ones(len(best))
        for clips in np.unique(statistics.activated):
            among = statistics.activated == clips
            drawn = self.largest_counts(int(clips))
            as_large = len(drawn) - np.searchsorted(drawn, best[among], side="left")
            p_values[among] = (1 + as_large) / (1 + len(drawn))
        quantile = np.quantile(self.largest_counts(statistics.expected), QUANTILE)
        return Chance(
            share=float(quantile) / max(statistics.expected, 1),
            p_values=p_values,
            q_values=np.asarray(false_discovery_control(p_values)),
        )
