import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from soundnet_kd.analysis.neurons.file import NeuronsFile
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.errors import FormatError
from tests.analysis.caches import write_cache


def test_the_arrays_are_those_of_the_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = {"conv1": rng.random((40, 3)).astype(np.float32), "pool5": rng.random((40, 5)).astype(np.float32)}
    labels = [*np.arange(39) % 3, -1]
    cache = write_cache(tmp_path / "features.h5", features, labels, [0] * 40, ("a", "b", "c"))
    neurons(cache, tmp_path / "out", percentile=90, shuffles=99)

    with h5py.File(tmp_path / "out" / "neurons.h5") as file:
        assert file.attrs["format_version"] == 1
        assert json.loads(file.attrs["source"])["settings"]["percentile"] == 90
        assert list(file["class_names"].asstr()) == ["a", "b", "c"]
        assert list(file["id"].asstr())[39] == "clip-39"
        assert file["label"][:].tolist() == labels
        for layer, rows in features.items():
            found = file[layer]
            # 39 clips have a label; ranks above the 90th percentile of 0 to 38, which is 34.2, are 35 to 38.
            assert found.attrs["expected"] == 4
            order = found["order"][:]
            for neuron in range(rows.shape[1]):
                assert sorted(order[neuron]) == list(range(39))
                curve = rows[order[neuron], neuron]
                assert (np.diff(curve) <= 0).all()
                strongest = np.argsort(-rows[:39, neuron])[:4]
                counts = np.bincount(np.array(labels)[strongest], minlength=3)
                assert found["counts"][neuron].tolist() == counts.tolist()
                assert found["share"][neuron].tolist() == (counts / 4).tolist()
                assert found["best_share"][neuron] == counts.max() / 4
                assert found["best_class"][neuron] == counts.argmax()
            assert found["activated"][:].tolist() == [4] * rows.shape[1]
            assert ((found["p_value"][:] >= 0.01) & (found["q_value"][:] >= found["p_value"][:])).all()


def test_the_statistics_read_back(tmp_path: Path) -> None:
    features = {"pool5": np.random.default_rng(0).random((12, 4)).astype(np.float32)}
    cache = write_cache(tmp_path / "features.h5", features, [*np.arange(11) % 2, -1], [0] * 12, ("a", "b"))
    written = neurons(cache, tmp_path / "out", percentile=80, shuffles=30)
    path = tmp_path / "out" / "neurons.h5"
    for is_old in (False, True):
        if is_old:
            # Version 0.1.0 named no kind.
            with h5py.File(path, "a") as handle:
                del handle.attrs["kind"]
        file = NeuronsFile(path)
        assert (file.layers, file.percentile, file.shuffles) == (("pool5",), 80, 30)
        for found, wanted in zip(file.read("pool5"), (written.layers["pool5"], written.chances["pool5"]), strict=True):
            for name, value in vars(wanted).items():
                assert np.array_equal(getattr(found, name), value), name
    with pytest.raises(FormatError, match=r"neurons\.h5 is not what `soundnet-kd neurons` writes .*make it again"):
        file.read("conv1")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "neurons.h5"
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(FormatError, match=r"is not what `soundnet-kd neurons` writes"):
        NeuronsFile(path)
    with h5py.File(path, "w") as handle:
        handle.attrs["kind"] = "brains"
    with pytest.raises(FormatError, match="is of brains"):
        NeuronsFile(path)
