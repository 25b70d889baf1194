import numpy as np
import pytest

from soundnet_kd.analysis.maps.quality import held_out_quality, knn_accuracy, map_quality, silhouette

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1], 15)
# Two bundles of directions, at right angles: far apart by the cosine, whatever their lengths.
BUNDLES = ((np.eye(4)[2 * LABELS] + 0.1 * RNG.random((30, 4))) * RNG.uniform(1, 50, (30, 1))).astype(np.float32)


def test_nearest_neighbor_votes_by_hand() -> None:
    # On a line: the clip at 10 is of class 0 but stands among class 1; every other clip is among its own.
    places = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [13.0]])
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    assert knn_accuracy(places, labels, 2, "euclidean") == pytest.approx(5 / 7)


def test_silhouette_by_hand() -> None:
    # Own class at 1; the other at 9 and 10, on average, or 10 and 11.
    places = np.array([[0.0], [1.0], [10.0], [11.0]])
    own, others = 1, np.array([10.5, 9.5, 9.5, 10.5])
    expected = np.mean((others - own) / others)
    assert silhouette(places, np.array([0, 0, 1, 1]), "euclidean") == pytest.approx(expected)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], []])
def test_no_silhouette_without_two_classes_of_several_clips(labels: list[int]) -> None:
    assert silhouette(np.arange(len(labels), dtype=float)[:, None], np.array(labels), "euclidean") is None


def test_quality_of_a_map_that_is_the_features() -> None:
    angles = np.linspace(0, 1.2, 20) ** 2  # no two neighbors equally far
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    quality = map_quality(circle, circle, np.full(20, -1))
    assert quality.trustworthiness == pytest.approx(1.0)
    assert quality.knn_accuracy_features is None
    assert quality.silhouette_map is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folds", "no_fold", "clips"),
    [
        (np.zeros(30, dtype=int), 0, 6),
        (1 + np.arange(30) % 5, 0, 6),
        (np.arange(30) % 4, -1, 8),  # Counted from 0: the first one is held out, and no fifth of all.
    ],
)
def test_unseen_clips_of_two_bundles_land_in_their_bundle(folds: np.ndarray, no_fold: int, clips: int) -> None:
    found = held_out_quality(BUNDLES, LABELS, folds, no_fold=no_fold)
    assert found is not None
    assert (found.clips, found.knn_accuracy_features, found.knn_accuracy_map) == (clips, 1.0, 1.0)


@pytest.mark.slow
def test_a_map_drawn_with_labels_that_mean_nothing_flatters_only_the_clips_it_saw() -> None:
    from soundnet_kd.analysis import umap_map

    rng = np.random.default_rng(0)
    noise = rng.random((200, 8)).astype(np.float32)
    labels = rng.integers(0, 4, 200)
    seen = map_quality(noise, umap_map(noise, labels, supervised=True), labels)
    unseen = held_out_quality(noise, labels, 1 + np.arange(200) % 2)
    assert seen.knn_accuracy_map is not None
    assert seen.knn_accuracy_map > 0.8
    assert unseen is not None
    assert unseen.knn_accuracy_map < 0.45


def test_nothing_is_held_out_of_too_few_clips() -> None:
    assert held_out_quality(BUNDLES[:5], LABELS[:5], np.zeros(5, dtype=int)) is None
    assert held_out_quality(BUNDLES, np.full(30, -1), np.zeros(30, dtype=int)) is None
    assert held_out_quality(BUNDLES, LABELS, np.ones(30, dtype=int)) is None
