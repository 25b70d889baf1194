"""What the commands that read a feature cache refuse, all in the same way."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.commands.project import project
from soundnet_kd.errors import RunConflictError, SettingsError
from tests.analysis.caches import write_cache
from tests.commands.caches import make_cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_cache(tmp_path)


@pytest.mark.parametrize("command", [evaluate, neurons, project])
def test_an_unknown_layer_names_the_nearest_one(command: type, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no layer 'pol5'; did you mean 'pool5'"):
        command(cache, tmp_path / "out", layers=["pol5"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "change"),
    [
        (evaluate, {"seed": 1}),
        (neurons, {"percentile": 90.0}),
        (project, {"seed": 1}),
    ],
)
def test_a_folder_that_holds_another_run_is_refused_and_kept(
    command: Callable[..., object], change: dict[str, float], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels, folds = [0, 1] * 10, [1, 1, 2, 2] * 5
    features = write_cache(
        tmp_path / "features.h5", {"conv1": rng.random((20, 4)).astype(np.float32)}, labels, folds, ("a", "b")
    )
    out = tmp_path / "out"
    command(features, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RunConflictError, match=rf"settings\.{next(iter(change))} was"):
        command(features, out, **change)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
