"""The command `neurons` on a small cache: what it writes, and that it says what was put in."""

import csv
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.commands.neurons import neurons
from soundnet_kd.errors import SettingsError
from tests.analysis.caches import write_cache
from tests.commands.caches import NAMES, PNG, make_cache, rows_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_cache(tmp_path)


def test_neurons_writes_a_row_for_each_neuron(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "neurons"
    result = neurons(cache, out, percentile=80, top_clips=2, neuron=3)
    table = rows_of(out / "neurons.csv")
    assert [(row["layer"], row["neuron"]) for row in table] == [
        (layer, str(neuron)) for layer in ("conv1", "pool5") for neuron in range(4)
    ]
    assert [row["best class"] for row in table[4:7]] == list(NAMES)
    assert {row["best share"] for row in table[4:7]} == {"1.0000"}
    assert {row["above chance"] for row in table[4:7]} == {"yes"}
    assert int(table[4]["top clip 1"].removeprefix("clip-")) < 10
    layers = rows_of(out / "layers.csv")
    assert [(row["layer"], row["neurons"]) for row in layers] == [("conv1", "4"), ("pool5", "4")]
    assert (layers[1]["above 30 %"], layers[1]["classes best for more than 5"]) == ("4", "0")
    for figure in ("neurons_conv1", "best_share_pool5", "selective_pool5", "neuron_pool5_3", "best_share_by_layer"):
        assert (out / f"{figure}.png").read_bytes().startswith(PNG)
        assert (out / f"{figure}.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert not (out / "best_classes_pool5.png").exists()
    assert str(result).splitlines()[-1] == f"wrote {out}: 8 neurons of 2 layers"


def test_clips_that_a_neuron_does_not_answer_to_are_not_among_its_strongest(tmp_path: Path) -> None:
    """Of four neurons one answers to no clip, one to clip 7 alone, one to all as to silence, one to all."""
    features = np.zeros((20, 4), np.float32)
    features[7, 1] = 2
    features[:, 2] = 0.5
    features[:, 3] = np.arange(20)
    cache = write_cache(tmp_path / "f.h5", {"conv5": features}, [0, 1] * 10, [0] * 20, ("a", "b"))
    neurons(cache, tmp_path / "neurons", top_clips=3, shuffles=10)
    with (tmp_path / "neurons" / "neurons.csv").open(encoding="utf-8", newline="") as handle:
        named = [row[9:] for row in csv.reader(handle)][1:]
    assert named == [[], ["clip-7"], [], ["clip-19", "clip-18", "clip-17"]]


def test_a_neuron_that_a_layer_lacks_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no neuron 4 in conv1, which has 4 \(0 to 3\)"):
        neurons(cache, tmp_path / "neurons", neuron=4)
    assert not (tmp_path / "neurons").exists()
