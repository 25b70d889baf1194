import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from soundnet_kd.analysis import umap_map
from soundnet_kd.analysis.maps.quality import map_quality
from soundnet_kd.errors import FormatError, SettingsError

LABELS = np.repeat([0, 1], 15)
# Two bundles of directions, at right angles: far apart by the cosine, whatever their lengths.
RNG = np.random.default_rng(0)
BUNDLES = ((np.eye(4)[2 * LABELS] + 0.1 * RNG.random((30, 4))) * RNG.uniform(1, 50, (30, 1))).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("supervised", [False, True])
def test_two_bundles_stay_apart_in_the_map(supervised: bool) -> None:
    points = umap_map(BUNDLES, LABELS, seed=0, neighbors=5, supervised=supervised)
    assert points.shape == (30, 2)
    assert points.dtype == np.float32
    assert map_quality(BUNDLES, points, LABELS).knn_accuracy_map == 1.0
    assert umap_map(BUNDLES, LABELS, seed=0, neighbors=5, supervised=supervised).tolist() == points.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("supervised", [False, True])
def test_a_map_is_that_of_umap_alone(supervised: bool) -> None:
    """To the last bit, though the neighbors are found another way."""
    from umap import UMAP

    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(size=(300, 12)) + 2 * np.eye(12)[np.arange(300) % 12], 0).astype(np.float32)
    labels = np.arange(300) % 4
    mapper = UMAP(n_neighbors=15, metric="cosine", random_state=3, n_jobs=1)
    wanted = mapper.fit_transform(features, y=labels if supervised else None)
    np.testing.assert_array_equal(umap_map(features, labels, seed=3, supervised=supervised), wanted)


@pytest.mark.slow
def test_what_numba_compiles_is_kept_for_the_next_process() -> None:
    program = (
        "import numpy as np; from soundnet_kd.analysis import umap_map; umap_map(np.random.rand(12, 3), seed=0); "
        "from umap.layouts import _nb_optimize_layout_euclidean_single_epoch as epoch; "
        "from umap.umap_ import compute_membership_strengths, smooth_knn_dist; "
        "print(sum(len(each.stats.cache_misses) for each in (epoch, compute_membership_strengths, smooth_knn_dist)), "
        "sum(len(each.stats.cache_hits) for each in (epoch, compute_membership_strengths, smooth_knn_dist)))"
    )
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("clips", [5, 6, 10, 11, 16])
def test_a_handful_of_clips_has_a_map(clips: int) -> None:
    points = umap_map(BUNDLES[:clips], seed=0)
    assert points.shape == (clips, 2)
    assert np.isfinite(points).all()
    assert map_quality(BUNDLES[:clips], points, LABELS[:clips]).neighbors < clips / 2


@pytest.mark.slow
def test_silent_features_have_a_map() -> None:
    features = BUNDLES.copy()
    features[:4] = 0
    points = umap_map(features, seed=0)
    assert np.isfinite(points).all()
    # They lie together outside of the map, which is that of the others.
    np.testing.assert_array_equal(points[4:], umap_map(features[4:], seed=0))
    assert (points[:4] == points[0]).all()
    assert (points[0] < points[4:].min(axis=0)).all()
    quality = map_quality(features, points, LABELS)
    assert quality == map_quality(features[4:], points[4:], LABELS[4:])
    assert quality.clips == 26


def test_a_map_needs_clips_that_are_not_silent() -> None:
    with pytest.raises(SettingsError, match="only 4 of 30 clips are not all zeros; a map needs at least 5"):
        umap_map(np.where(np.arange(30)[:, None] < 26, 0, BUNDLES))


@pytest.mark.slow
def test_a_map_takes_tensors_and_names() -> None:
    wanted = umap_map(BUNDLES, LABELS, seed=0, supervised=True)
    names = ["b" if label else "a" for label in LABELS]
    assert umap_map(torch.tensor(BUNDLES), names, seed=0, supervised=True).tolist() == wanted.tolist()


@pytest.mark.slow
def test_a_map_says_nothing_and_leaves_the_number_of_threads_as_it_was() -> None:
    """In a new process, since numba sets it once: whatever follows, such as a training, computes as before."""
    program = (
        "import torch; import numpy as np; from soundnet_kd.analysis import umap_map; "
        "before = torch.get_num_threads(); umap_map(np.random.rand(12, 3), seed=0); "
        "assert (before, torch.get_num_threads()) == (1, 1)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    if sys.platform == "linux":
        environment["NUMBA_THREADING_LAYER"] = "omp"
    command = [sys.executable, "-W", "default", "-c", program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0)


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(SettingsError, match="at least 5 clips"):
        umap_map(BUNDLES[:4])


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(FormatError, match="NaN or infinite"):
        umap_map(np.where(np.arange(30)[:, None] == 2, np.nan, BUNDLES))


def test_a_supervised_map_needs_labels() -> None:
    with pytest.raises(SettingsError, match="needs labels"):
        umap_map(BUNDLES, np.full(30, -1), supervised=True)
