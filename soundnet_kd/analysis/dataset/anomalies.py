"""Which sounds are unlike the others: in the principal components of their spectra, and under a mixture per class."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MIXED = 2
"""Gaussians in the mixture of a class; a class with too few sounds for two has one."""
SOUNDS_PER_GAUSSIAN = 10
"""Sounds that a class needs for each Gaussian of a mixture of several."""
MIN_VARIANCE = 1e-3
"""Added to the variances of a Gaussian, so that it does not shrink to a point on equal sounds."""


@dataclass(frozen=True, eq=False)
class Anomalies:
    """How unusual each sound is.

    Attributes
    ----------
    points : (sounds, components) float64
        Principal components of the standardised spectra.
    explained : float
        Fraction of the variance that these components explain.
    distance : (sounds,) float64
        Mahalanobis distance from the mean: each component is divided by its standard deviation.
    log_likelihood : (sounds,) float64
        Log-likelihood under the mixture of the sound's own class.
    likeliest : (sounds,) int64
        The class with the highest posterior probability: likelihood times the class's fraction of the sounds.
    """

    points: NDArray[np.float64] = field(repr=False)
    explained: float
    distance: NDArray[np.float64] = field(repr=False)
    log_likelihood: NDArray[np.float64] = field(repr=False)
    likeliest: NDArray[np.int64] = field(repr=False)


def find_anomalies(spectra: NDArray[np.floating], labels: NDArray[np.int64], components: int, seed: int) -> Anomalies:
    """Find unusual sounds, overall and within their classes.

    Parameters
    ----------
    spectra : (sounds, bands) float
        Of more sounds than components.
    labels : (sounds,) int
    components : int
        Number of principal components.
    seed : int
        Seed of the mixtures' initial values.
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
        in_class = labels == label
        gaussians = MIXED if in_class.sum() >= MIXED * SOUNDS_PER_GAUSSIAN else 1
        if in_class.sum() > 1:
            mixture = GaussianMixture(gaussians, reg_covar=MIN_VARIANCE, random_state=seed).fit(scaled[in_class])
            likelihood[:, label] = mixture.score_samples(scaled)
    log_priors = np.log(np.maximum(np.bincount(labels, minlength=likelihood.shape[1]), 1) / len(labels))
    return Anomalies(
        points,
        float(analysis.explained_variance_ratio_.sum()),
        distance,
        likelihood[np.arange(len(labels)), labels],
        np.asarray((likelihood + log_priors).argmax(axis=1), dtype=np.int64),
    )
