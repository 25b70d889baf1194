"""Which neurons are selective beyond chance: their counts compared with those under shuffled labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.statistics import NeuronStatistics
from soundnet_kd.errors import SettingsError
from soundnet_kd.transfer.input_checks import Column, labels_of

FALSE_DISCOVERY_RATE = 0.05
QUANTILE = 0.95


@dataclass(frozen=True, eq=False)
class Chance:
    """How the best shares of a layer's neurons compare with chance.

    Attributes
    ----------
    share : float
        The 95 % quantile of the best share under shuffled labels, for a neuron that as many clips activate as expected.
    p_values : (neurons,) float64
        Probability, under shuffled labels, of a best share at least as large as the neuron's.
    q_values : (neurons,) float64
        The p-values, corrected for the number of neurons in the layer (Benjamini and Hochberg, 1995).
    """

    share: float
    p_values: NDArray[np.float64]
    q_values: NDArray[np.float64]

    @property
    def is_above(self) -> NDArray[np.bool_]:
        """(neurons,) whether the best share is above chance, at a false discovery rate of 5 %."""
        return self.q_values <= FALSE_DISCOVERY_RATE


class ShuffledLabels:
    """Counts of the commonest class among clips whose labels are shuffled.

    Shuffling makes the labels of the clips that activate a neuron a sample without replacement of all labels. The
    counts of their classes follow the multivariate hypergeometric distribution and are drawn from it directly; neurons
    activated by equally many clips share their draws.

    Every clip is shuffled by itself. Clips cut from one recording are more alike than independent ones, so that chance
    is then somewhat higher than estimated here.

    Parameters
    ----------
    labels : (clips,) int or str
        -1 or None where unlabeled; such clips are left out.
    shuffles : int
        Number of draws.
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
        """Count the clips of the commonest class among `clips` clips, in each shuffle.

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
        """Compare the best shares of a layer with chance.

        The observed labels count as one of the shuffles, so that no p-value is 0 (Phipson and Smyth, 2010).
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
