"""Which sounds are unlike the others: by principal components of their spectra, and by a mixture for each class."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MIXED = 2
"""Gaussians of a class's mixture; one where it has too few sounds for two."""
SOUNDS_PER_GAUSSIAN = 10
MIN_VARIANCE = 1e-3
"""Added to a Gaussian's variances, so that a few equal sounds do not make it a point."""


@dataclass(frozen=True, eq=False)
class Anomalies:
    """How strange each sound is.

    Attributes
    ----------
    points : (sounds, components) float64
        Principal components of the standardised spectra.
    explained : float
        Share of the variance that they have.
    distance : (sounds,) float64
        From the middle, each component by its own standard deviation (Mahalanobis).
    log_likelihood : (sounds,) float64
        Under the mixture of the sound's own class.
    likeliest : (sounds,) int64
        The class whose mixture, with its share of the sounds, makes the sound most likely.
    """

    points: NDArray[np.float64] = field(repr=False)
    explained: float
    distance: NDArray[np.float64] = field(repr=False)
    log_likelihood: NDArray[np.float64] = field(repr=False)
    likeliest: NDArray[np.int64] = field(repr=False)


def find_anomalies(spectra: NDArray[np.floating], labels: NDArray[np.int64], components: int, seed: int) -> Anomalies:
    """Find what is strange.

    Parameters
    ----------
    spectra : (sounds, bands) float
        More sounds than components.
    labels : (sounds,) int
    components : int
    seed : int
        Of the mixtures' first guess.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture
    from sklearn.preprocessing import StandardScaler

    analysis = PCA(min(components, spectra.shape[1]), random_state=seed)
    points = analysis.fit_transform(StandardScaler().fit_transform(spectra.astype(np.float64)))
    deviations = np.maximum(points.std(axis=0), 1e-12)
    distance = np.sqrt(np.square(points / deviations).sum(axis=1))
    scaled = points / deviations
    likelihood = np.full((len(points), int(labels.max()) + 1), -np.inf)
    for label in np.unique(labels):
        mine = labels == label
        gaussians = MIXED if mine.sum() >= MIXED * SOUNDS_PER_GAUSSIAN else 1
        if mine.sum() > 1:
            mixture = GaussianMixture(gaussians, reg_covar=MIN_VARIANCE, random_state=seed).fit(scaled[mine])
            likelihood[:, label] = mixture.score_samples(scaled)
    shares = np.log(np.maximum(np.bincount(labels, minlength=likelihood.shape[1]), 1) / len(labels))
    return Anomalies(
        points,
        float(analysis.explained_variance_ratio_.sum()),
        distance,
        likelihood[np.arange(len(labels)), labels],
        np.asarray((likelihood + shares).argmax(axis=1), dtype=np.int64),
    )
