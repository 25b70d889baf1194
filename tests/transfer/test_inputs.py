"""Layers, poolings and windows of a cache, and the protocol of the paper on whole sequences."""

from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8, extract
from soundnet_kd.errors import SettingsError
from soundnet_kd.media import write_audio
from soundnet_kd.transfer import inputs
from soundnet_kd.transfer.inputs import layer_inputs
from soundnet_kd.transfer.layers import evaluate_layers
from soundnet_kd.transfer.windows import Windows

RATE = 22_050


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve sounds of 3 s of two classes, steady and in bursts, with sources and folds."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    rows = ["path,label,fold,src_file"]
    for number in range(12):
        noise = rng.normal(size=3 * RATE) * 0.1
        if number % 2:
            noise *= np.arange(3 * RATE) % 2000 < 500
        write_audio(folder / f"{number}.wav", noise.astype(np.float32), RATE)
        rows.append(f"{number}.wav,{'bursts' if number % 2 else 'steady'},{1 + number // 4},{number // 4}")
    (folder / "sounds.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3}).eval()
    out = folder / "features.h5"
    extract(folder / "sounds.csv", student, out, ["pool2", "conv5", "pool5"], sequences=True, device="cpu")
    return out


def test_layers_alone_and_together(cache: Path) -> None:
    with FeatureCache(cache) as features:
        alone = list(layer_inputs(features, ["pool2", "pool5"]))
        (together,) = layer_inputs(features, ["pool2", "pool5"], together=True)
        assert [each.name for each in alone] == ["pool2", "pool5"]
        np.testing.assert_array_equal(alone[1].rows, features["pool5"])
        assert together.name == "pool2+pool5"
        np.testing.assert_array_equal(together.rows, np.concatenate([features["pool2"], features["pool5"]], axis=1))
        assert together.clips.tolist() == list(range(12))


def test_layers_joined_by_name_and_chosen(cache: Path) -> None:
    with FeatureCache(cache) as features:
        joint, alone = layer_inputs(features, ["conv5+pool5", "pool5"], poolings=["mean", "std"])
        (together,) = layer_inputs(features, ["conv5", "pool5"], together=True, poolings=["mean", "std"])
        assert (joint.name, alone.name) == ("conv5+pool5 mean+std", "pool5 mean+std")
        np.testing.assert_array_equal(joint.rows, together.rows)
        with pytest.raises(SettingsError, match="windows take one layer"):
            list(layer_inputs(features, ["conv5+pool5"], windows=Windows(1.0)))
    wanted = ["pool5+conv5", "pool2", "conv5", "conv5+pool5"]
    every = evaluate_layers(cache, wanted, "best")
    assert list(every.results) == ["pool2", "conv5", "conv5+pool5"]
    chosen = evaluate_layers(cache, wanted, "best", choose=True)
    (name,) = chosen.results
    assert name == "chosen layers"
    names = {setting["features"] for setting in chosen.results[name].chosen}
    assert names <= {"pool2", "conv5", "conv5+pool5"}
    assert chosen.channels[name] == max(every.channels[each] for each in names)
    with pytest.raises(SettingsError, match="choose takes one of several layers, pooled over whole clips"):
        evaluate_layers(cache, ["conv5"], together=True, choose=True)
    with pytest.raises(SettingsError, match="has no layer 'conv9'"):
        evaluate_layers(cache, ["conv5+conv9"])


def test_poolings_of_a_cache_are_joined_without_sequences(cache: Path, tmp_path: Path) -> None:
    folder = cache.parent
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3}).eval()
    several = tmp_path / "several.h5"
    extract(folder / "sounds.csv", student, several, ["conv5", "pool5"], ["mean", "std"], device="cpu")
    with FeatureCache(several) as features, FeatureCache(cache) as kept:
        (own,) = layer_inputs(features, ["pool5"])
        (expected,) = layer_inputs(kept, ["pool5"], poolings=["mean", "std"])
        assert own.name == expected.name == "pool5 mean+std"
        np.testing.assert_allclose(own.rows, expected.rows, rtol=1e-4, atol=1e-5)
        (first,) = layer_inputs(features, ["pool5"], poolings=["mean"])
        assert first.name == "pool5"
        np.testing.assert_array_equal(first.rows, features["pool5"])
        with pytest.raises(SettingsError, match="extract with --sequences"):
            list(layer_inputs(features, ["pool5"], poolings=["max"]))


def test_several_poolings_are_those_of_the_sequences(cache: Path) -> None:
    with FeatureCache(cache) as features:
        (each,) = layer_inputs(features, ["conv5"], poolings=["mean", "max", "std"])
        assert each.name == "conv5 mean+max+std"
        for index in range(12):
            steps = features.sequence(index, "conv5").astype(np.float64)
            wanted = np.concatenate([steps.mean(axis=0), steps.max(axis=0), steps.std(axis=0)])
            np.testing.assert_allclose(each.rows[index], wanted, rtol=1e-5, atol=1e-7)
        with pytest.raises(SettingsError, match=r"poolings are \['median'\]; choose from mean, max, std"):
            list(layer_inputs(features, ["conv5"], poolings=["median"]))  # type: ignore[list-item]


def test_windows_of_a_second_of_pool5_are_three_steps(cache: Path) -> None:
    """A step of pool5 is 2 · 8 · 2 · 8 · 2 · 2 · 2 · 4 = 8192 samples, 0.37 s; 10 s of the tiled sound are 27."""
    with FeatureCache(cache) as features:
        assert features.step_seconds("pool5") == 8192 / RATE
        windows = Windows(seconds=1.0, pooling="flatten", clip_seconds=10.0)
        (each,) = layer_inputs(features, ["pool5"], windows=windows)
        assert each.rows.shape == (12 * 25, 3 * 256)
        assert np.bincount(each.clips).tolist() == [25] * 12
        steps = features.sequence(2, "pool5")
        np.testing.assert_array_equal(each.rows[each.clips == 2][4], steps[4:7].ravel())
        halves = next(layer_inputs(features, ["pool5"], windows=Windows(1.0, 0.75, "max")))
        np.testing.assert_array_equal(halves.rows[halves.clips == 2][3], steps[6:9].max(axis=0))
        with pytest.raises(SettingsError, match="windows take one layer"):
            list(layer_inputs(features, ["pool5"], together=True, windows=windows))


def test_a_clip_shorter_than_a_window() -> None:
    steps = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(Windows(5.0).cut(steps, 1.0), [[2.0, 3.0]])
    with pytest.raises(SettingsError, match="a clip has 3 steps where a window has 5"):
        Windows(5.0, pooling="flatten").cut(steps, 1.0)
    with pytest.raises(SettingsError, match=r"windows\.seconds is 0; it has to be above 0"):
        Windows(0)


def test_the_protocol_of_the_paper_takes_the_sequences(cache: Path, tmp_path: Path) -> None:
    evaluation = evaluate_layers(cache, ["pool5"], "paper")
    result = evaluation.results["pool5"]
    assert evaluation.channels["pool5"] == 768
    assert (result.protocol, result.head, result.selection) == ("paper", "linear_svm", "fixed")
    assert result.chosen == ({"C": 0.01},) * 3
    assert result.accuracy > 0.9
    assert evaluation.groups == tuple(str(number // 4) for number in range(12))
    other = evaluate_layers(cache, ["pool5"], "power", selection="nested", folds=3)
    assert other.results["pool5"].selection == "nested"
    assert "clips of one source together" in other.source["folds"]
    halves = evaluate_layers(cache, ["pool5"], windows=Windows(2.0))
    assert list(halves.results) == ["pool5 in 2 s windows"]
    assert halves.source["windows"]["seconds"] == 2.0
    assert evaluate_layers(cache, ["pool5"], groups="src_file").folds.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    with pytest.raises(SettingsError, match="folds is 9, but the smallest class has 3 recordings"):
        evaluate_layers(cache, ["pool5"], folds=9)
    with pytest.raises(SettingsError, match="carries no column 'take'"):
        evaluate_layers(cache, ["pool5"], groups="take")


def test_windows_that_would_not_fit_into_memory_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 2**20)
    with FeatureCache(cache) as features, pytest.raises(SettingsError, match="take a deeper layer"):
        list(layer_inputs(features, ["pool2"], windows=Windows(1.0, pooling="flatten")))


def test_what_a_cache_without_sequences_or_rate_lacks_is_named(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.full(RATE, 0.1, np.float32), 16_000)
    torch.manual_seed(0)
    student = SoundNet8({"objects": 3}).eval()
    extract(tmp_path / "a.wav", student, tmp_path / "mean.h5", ["pool2"], device="cpu")
    extract(tmp_path / "a.wav", student, tmp_path / "native.h5", ["pool2"], rate="native", sequences=True, device="cpu")
    with FeatureCache(tmp_path / "mean.h5") as features, pytest.raises(SettingsError, match="extract with --sequences"):
        list(layer_inputs(features, ["pool2"], windows=Windows(1.0)))
    with FeatureCache(tmp_path / "native.h5") as features, pytest.raises(SettingsError, match="--rate model"):
        list(layer_inputs(features, ["pool2"], windows=Windows(1.0)))
