"""Features of real sound files through a real network, and a cache that survives anything."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest
import torch

from soundnet_kd import FeatureCache, SoundNet8, extract
from soundnet_kd.data import Clip, Manifest
from soundnet_kd.errors import FormatError, MediaError, RunConflictError, SettingsError
from soundnet_kd.features import cache_joining, extractor
from soundnet_kd.features import cache_writer as writing
from soundnet_kd.features.cache_parts import new_part, written_parts
from soundnet_kd.features.pooling import Pooling, PoolingOrNone
from soundnet_kd.features.reading import batches_of_equal_length
from soundnet_kd.media import read_audio, write_audio
from soundnet_kd.models import Preprocessing, write_network
from soundnet_kd.storage import lock_folder
from tests.media_files import write_sound
from tests.small_student import BLOCKS

RATE = 22_050
LAYERS = ("conv1", "pool1", "pool2", "conv5", "pool5", "conv8")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    write_network(SoundNet8({"objects": 3, "scenes": 2}), path, {})
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven noises in two folders, of two lengths and rates, one broken file among them."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for number in range(7):
        rate, seconds = (RATE, 1.0) if number % 3 else (16_000, 1.5)
        noise = (rng.normal(size=int(rate * seconds)) * 0.1).astype(np.float32)
        write_audio(folder / ("rain" if number % 2 else "wind") / f"{number}.wav", noise, rate)
    (folder / "rain" / "broken.wav").write_bytes(b"RIFF but not really")
    return folder


@pytest.fixture(scope="module")
def cached(sounds: Path, student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "features.h5"
    extract(sounds, student, out, layers=LAYERS, sequences=True, workers=0, device="cpu")
    return out


def test_rows_are_the_manifests(cached: Path) -> None:
    with FeatureCache(cached) as cache:
        assert cache.layers == LAYERS
        assert cache.ids == (
            "rain/1.wav",
            "rain/3.wav",
            "rain/5.wav",
            "wind/0.wav",
            "wind/2.wav",
            "wind/4.wav",
            "wind/6.wav",
        )
        assert cache.class_names == ("rain", "wind")
        assert cache.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert cache.folds.tolist() == [0] * 7
        assert list(cache.failures) == ["rain/broken.wav"]
        assert {layer: features.shape for layer, features in cache.items()} == {
            "conv1": (7, 16), "pool1": (7, 16), "pool2": (7, 32), "conv5": (7, 256), "pool5": (7, 256), "conv8": (7, 5),
        }  # fmt: skip
    table = cached.with_name("features.h5.failures.csv").read_text().splitlines()
    assert table[0] == "file,reason"
    assert table[1].startswith("rain/broken.wav,")


def test_features_are_time_averages_of_the_network_on_the_tiled_sound(
    cached: Path, student: Path, sounds: Path
) -> None:
    """Worked out by hand for one sound: x 256, 22 050 samples tiled 441000 // 22050 + 1 = 21 times."""
    from soundnet_kd import load_student

    waveform, _ = read_audio(sounds / "rain" / "1.wav")
    sound = torch.from_numpy(np.concatenate([waveform] * 21) * 256.0)[None, None]
    with torch.inference_mode():
        answers = load_student(student)(sound, LAYERS)
    with FeatureCache(cached) as cache:
        for layer in LAYERS:
            np.testing.assert_allclose(cache[layer][0], answers[layer][0].mean(dim=1).numpy(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(cache.sequence(0, layer), answers[layer][0].T.numpy(), rtol=1e-4, atol=1e-6)
            for index in range(7):
                np.testing.assert_allclose(
                    cache.sequence(index, layer).mean(axis=0), cache[layer][index], rtol=1e-4, atol=1e-6
                )


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 2)])
def test_numbers_do_not_depend_on_batches_and_workers(
    cached: Path, sounds: Path, student: Path, tmp_path: Path, batch_size: int, workers: int
) -> None:
    out = tmp_path / "again.h5"
    extract(sounds, student, out, layers=LAYERS, batch_size=batch_size, workers=workers, device="cpu")
    with FeatureCache(cached) as first, FeatureCache(out) as again:
        assert first.ids == again.ids
        for layer in LAYERS:
            np.testing.assert_allclose(again[layer], first[layer], rtol=1e-4, atol=1e-6)


def test_another_student_is_refused_and_the_cache_stays(cached: Path, sounds: Path) -> None:
    before = cached.read_bytes()
    torch.manual_seed(1)
    with pytest.raises(RunConflictError, match=r"already holds a different run \(student\.sha256 was"):
        extract(sounds, SoundNet8({"objects": 3, "scenes": 2}), cached, layers=LAYERS, sequences=True, device="cpu")
    assert cached.read_bytes() == before


def test_other_settings_are_refused_by_name(cached: Path, sounds: Path, student: Path) -> None:
    with pytest.raises(RunConflictError, match=r"settings\.layers was .*settings\.sequences was true, now false"):
        extract(sounds, student, cached, layers=["conv1"], device="cpu")


def test_the_same_again_does_nothing(cached: Path, sounds: Path, student: Path) -> None:
    before = cached.stat().st_mtime_ns
    result = extract(sounds, student, cached, layers=LAYERS, sequences=True, device="cpu")
    assert cached.stat().st_mtime_ns == before
    assert result.clips == 7
    assert list(result.failures) == ["rain/broken.wav"]
    assert str(result).startswith(f"there was already {cached}: 6 layers of 7 sounds, 1 skipped")
    assert str(result).endswith("; remove it to try them again")


def test_two_runs_at_once_are_refused_and_what_a_killed_one_left_is_removed(sounds: Path, tmp_path: Path) -> None:
    out, parts = tmp_path / "out.h5", tmp_path / "out.h5.parts"
    with lock_folder(parts), pytest.raises(RunConflictError, match="another run is writing"):
        extract(sounds, _student(least_samples=1), out, layers=["conv5"], device="cpu")
    extract(sounds, _student(least_samples=1), out, layers=["conv5"], device="cpu")
    parts.mkdir()
    extract(sounds, _student(least_samples=1), out, layers=["conv5"], device="cpu")
    assert not parts.exists()


def test_nothing_readable_is_an_error(student: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    with pytest.raises(MediaError, match="none of the 1 sounds could be read"):
        extract(tmp_path / "broken.wav", student, tmp_path / "out.h5", workers=0, device="cpu")
    assert not (tmp_path / "out.h5").exists()


def test_unknown_layers_and_files_are_named(cached: Path, sounds: Path, student: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'conv5'"):
        extract(sounds, student, tmp_path / "out.h5", layers=["con5"])
    with FeatureCache(cached) as cache, pytest.raises(SettingsError, match="did you mean 'pool5'"):
        cache["pol5"]
    with pytest.raises(FormatError, match="there is no feature cache"):
        FeatureCache(tmp_path / "none.h5")
    with pytest.raises(FormatError, match="not a readable feature cache"):
        FeatureCache(student)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = 1
    with pytest.raises(FormatError, match="no feature cache of format 1"):
        FeatureCache(tmp_path / "other.h5")


@pytest.mark.parametrize("pooling", ["max", "std"])
def test_other_poolings_are_numpys(cached: Path, sounds: Path, student: Path, tmp_path: Path, pooling: Pooling) -> None:
    out = tmp_path / "out.h5"
    extract(sounds, student, out, layers=LAYERS, pooling=pooling, device="cpu")
    with FeatureCache(out) as cache, FeatureCache(cached) as kept:
        assert cache.pooling == pooling
        for layer in LAYERS:
            exact = [kept.sequence(index, layer).astype(np.float64) for index in range(7)]
            expected = [getattr(np, pooling)(steps, axis=0) for steps in exact]
            np.testing.assert_allclose(cache[layer], expected, rtol=1e-4, atol=1e-6)


def test_several_poolings_are_those_that_each_gives_alone(
    cached: Path, sounds: Path, student: Path, tmp_path: Path
) -> None:
    out, alone = tmp_path / "out.h5", tmp_path / "alone.h5"
    extract(sounds, student, out, layers=LAYERS, pooling=["mean", "std"], device="cpu")
    extract(sounds, student, alone, layers=LAYERS, pooling="std", device="cpu")
    with FeatureCache(out) as cache, FeatureCache(cached) as kept, FeatureCache(alone) as deviations:
        assert (cache.pooling, cache.poolings, kept.poolings) == ("mean", ("mean", "std"), ("mean",))
        for layer in LAYERS:
            # The first has kept whole sequences too.
            np.testing.assert_allclose(cache[layer], kept[layer], rtol=1e-5, atol=1e-9)
            np.testing.assert_array_equal(cache.pooled(layer, "std"), deviations[layer])
        with pytest.raises(
            SettingsError, match=r"has no max over time \(it has mean, std\); extract with --pooling max"
        ):
            cache.pooled("pool5", "max")
    wrongs: tuple[list[PoolingOrNone], ...] = (["mean", "none"], ["std", "std"], [])
    for wrong in wrongs:
        with pytest.raises(
            SettingsError, match=r"pooling is \[.*\]; name some of mean, max, std, each once, or none alone"
        ):
            extract(sounds, student, tmp_path / "wrong.h5", pooling=wrong, device="cpu")


def test_what_is_heard_at_several_speeds_is_averaged(tmp_path: Path) -> None:
    """At half the speed a sound has twice the samples: read at twice the rate, it is heard as if at the usual one."""
    network = _student(least_samples=1)
    sounds = tmp_path / "sounds"
    rng = np.random.default_rng(0)
    # The second one is too short for conv8 when it is fast.
    for name, seconds in (("1", 10.0), ("2", 4.0), ("3", 12.0)):
        write_audio(sounds / f"{name}.wav", (rng.normal(size=int(RATE * seconds)) * 0.1).astype(np.float32), RATE)
    out = tmp_path / "out.h5"
    speeds = (0.4, 0.8)
    result = extract(sounds, network, out, ["pool5", "conv8"], pooling=["mean", "max"], speeds=speeds, device="cpu")
    assert list(result.failures) == ["2.wav"]
    with FeatureCache(out) as cache:
        assert cache.ids == ("1.wav", "3.wav")
        assert cache.speeds == speeds
        for row, name in enumerate(cache.ids):
            heard = [network.preprocessing(read_audio(sounds / name, round(RATE / speed))[0]) for speed in speeds]
            with torch.inference_mode():
                answers = [network(waveform[None], ["pool5", "conv8"]) for waveform in heard]
            for layer in ("pool5", "conv8"):
                steps = [answer[layer][0].double().numpy() for answer in answers]
                means, highest = np.mean([s.mean(axis=1) for s in steps], 0), np.mean([s.max(axis=1) for s in steps], 0)
                np.testing.assert_allclose(cache[layer][row], means, rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(cache.pooled(layer, "max")[row], highest, rtol=1e-4, atol=1e-5)
    assert not out.with_name("out.h5.parts").exists()


def test_speeds_that_cannot_be_are_refused(sounds: Path, student: Path, tmp_path: Path) -> None:
    for speeds in ([], [1.0, 1.0], [0.0], [8.0]):
        with pytest.raises(SettingsError, match=r"speeds are \[.*\]; give them from 0\.25 to 4\.0, each once"):
            extract(sounds, student, tmp_path / "out.h5", speeds=speeds, device="cpu")
    for others in ({"sequences": True}, {"pooling": "none"}, {"rate": "native"}):
        with pytest.raises(SettingsError, match="at other speeds a sound has other steps, and another rate; leave"):
            extract(sounds, student, tmp_path / "out.h5", speeds=[1.0, 0.8], device="cpu", **others)


def test_without_pooling_there_are_sequences_only(cached: Path, sounds: Path, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    extract(sounds, student, out, layers=["pool5", "conv8"], pooling="none", device="cpu")
    with FeatureCache(out) as cache, FeatureCache(cached) as kept:
        assert cache.layers == ("pool5", "conv8")
        assert "pool5 (" in repr(cache)
        for index in range(7):
            np.testing.assert_allclose(
                cache.sequence(index, "pool5"), kept.sequence(index, "pool5"), rtol=1e-4, atol=1e-6
            )
        with pytest.raises(SettingsError, match=r"whole sequences .* extract with --pooling mean"):
            cache["pool5"]
        assert cache._file["sequences/pool5"].compression == "gzip"
    with FeatureCache(cached) as kept:
        assert kept.pooling == "mean"


def test_native_rate_is_the_notebooks_protocol(tmp_path: Path) -> None:
    """FACTS.md: 44.1 kHz is not resampled, x 256, 220 500 samples are tiled floor(441000 / 220500) + 1 = 3 times."""
    network = _student(least_samples=441_000)
    noise = (np.random.default_rng(0).normal(size=220_500) * 0.1).astype(np.float32)
    write_audio(tmp_path / "clip.wav", noise, 44_100)
    extract(tmp_path / "clip.wav", network, tmp_path / "out.h5", layers=["pool5"], rate="native", device="cpu")
    kept, _ = read_audio(tmp_path / "clip.wav")
    with torch.inference_mode():
        answer = network(torch.from_numpy(np.tile(kept, 3) * 256)[None, None], ["pool5"])["pool5"]
    with FeatureCache(tmp_path / "out.h5") as cache:
        np.testing.assert_allclose(cache["pool5"][0], answer[0].mean(dim=1).numpy(), rtol=1e-5, atol=1e-8)
        assert cache.identity["settings"]["preprocessing"]["sample_rate"] is None
    with pytest.raises(RunConflictError, match=r"preprocessing\.sample_rate was null, now 22050"):
        extract(tmp_path / "clip.wav", network, tmp_path / "out.h5", layers=["pool5"], device="cpu")


def test_the_mean_of_the_channels(tmp_path: Path) -> None:
    network = _student(least_samples=1)
    noise = (np.random.default_rng(0).normal(size=(2, RATE)) * 0.1).astype(np.float32)
    write_sound(tmp_path / "two.wav", noise.T.reshape(1, -1), RATE, "pcm_f32le", sample_format="flt", layout="stereo")
    pooled = {}
    channels: tuple[Literal["first", "mean"] | None, ...] = (None, "first", "mean")
    for channel in channels:
        out = tmp_path / f"{channel}.h5"
        extract(tmp_path / "two.wav", network, out, layers=["conv5"], channel=channel, device="cpu")
        with FeatureCache(out) as cache:
            pooled[channel] = cache["conv5"][0]
    with torch.inference_mode():
        answer = network(torch.from_numpy(noise.mean(axis=0) * 256)[None, None], ["conv5"])["conv5"]
    np.testing.assert_allclose(pooled["mean"], answer[0].mean(dim=1).numpy(), rtol=1e-4)
    np.testing.assert_array_equal(pooled[None], pooled["first"])
    assert not np.allclose(pooled["first"], pooled["mean"], rtol=1e-3)


def test_a_long_sound_gives_what_it_gives_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long sound between short ones, heard from disk in odd pieces: the same steps, and their poolings by NumPy."""
    monkeypatch.setattr(SoundNet8, "blocks", BLOCKS)
    network = _student(least_samples=1)
    rng = np.random.default_rng(0)
    for name, seconds in (("1-short", 11.0), ("2-long", 21.3), ("3-short", 11.0)):
        write_audio(
            tmp_path / "sounds" / f"{name}.wav", (rng.normal(size=int(RATE * seconds)) * 0.1).astype("f4"), RATE
        )
    at_once = tmp_path / "at_once.h5"
    extract(tmp_path / "sounds", network, at_once, sequences=True, device="cpu")
    monkeypatch.setattr(extractor, "SAMPLES_AT_ONCE", 12 * RATE)
    monkeypatch.setattr(extractor, "SEGMENT_SAMPLES", 73_495)
    poolings: tuple[Pooling, ...] = ("mean", "max", "std")
    for pooling in poolings:
        in_pieces = tmp_path / f"{pooling}.h5"
        extract(tmp_path / "sounds", network, in_pieces, pooling=pooling, sequences=pooling == "mean", device="cpu")
        with FeatureCache(at_once) as first, FeatureCache(in_pieces) as again:
            assert first.ids == again.ids == ("1-short.wav", "2-long.wav", "3-short.wav")
            for layer in network.layers:
                steps = [first.sequence(index, layer) for index in range(3)]
                pooled = np.stack([getattr(np, pooling)(each.astype(np.float64), axis=0) for each in steps])
                assert np.abs(again[layer] - pooled).max() <= 1e-5 * np.abs(pooled).max(), (pooling, layer)
                for index, before in enumerate(steps if pooling == "mean" else ()):
                    now = again.sequence(index, layer)
                    assert now.shape == before.shape
                    assert np.abs(now - before).max() <= 1e-5 * np.abs(before).max(), layer


def test_where_parts_end_makes_no_difference(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two sounds, and parts that end with the sound that fills a second, against a single part."""
    network = _student(least_samples=1)
    caches = []
    for name, number, samples in (("one", 256, 10**9), ("sounds", 2, 10**9), ("seconds", 256, RATE)):
        monkeypatch.setattr(writing, "SOUNDS_PER_PART", number)
        monkeypatch.setattr(writing, "SAMPLES_PER_BLOCK", samples)
        out = tmp_path / f"{name}.h5"
        extract(sounds, network, out, ["pool1", "conv5"], sequences=True, batch_size=1, device="cpu")
        caches.append(out.read_bytes())
    assert caches[1] == caches[0]
    assert caches[2] == caches[0]


def test_parts_whose_first_one_is_gone_are_made_again(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill can leave them while they are removed, and somebody who then removes the cache."""
    network, out = _student(least_samples=1), tmp_path / "out.h5"
    monkeypatch.setattr(writing, "SOUNDS_PER_PART", 2)
    with monkeypatch.context() as patch:
        patch.setattr(cache_joining, "_remove", lambda folder: None)
        extract(sounds, network, out, ["conv5"], device="cpu")
    whole = out.read_bytes()
    out.unlink()
    next(iter(written_parts(tmp_path / "out.h5.parts"))).unlink()
    extract(sounds, network, out, ["conv5"], device="cpu")
    assert out.read_bytes() == whole


def test_parts_of_another_size_of_batches_are_told_for_what_they_are(
    sounds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two that are about the same sounds are whole, both of them."""
    for first, count in ((0, 4), (2, 4), (6, 2)):
        with new_part(tmp_path / f"part-{first:016d}.h5") as part:
            part.finish(count, {"layers/conv5": [np.zeros(2, np.float32)] * count}, {}, first)
    (tmp_path / f"part-{9:016d}.h5").write_bytes(b"no part")
    assert list(written_parts(tmp_path).values()) == [range(4), range(6, 8)]
    lines = sorted(record.getMessage().replace(f"{tmp_path}/", "") for record in caplog.records)
    assert lines == [
        "part-0000000000000002.h5 is about sounds that another part has too and was set aside as "
        "part-0000000000000002.h5.damaged; what no other part has of them is heard again",
        "part-0000000000000009.h5 is damaged and was set aside as part-0000000000000009.h5.damaged; its sounds are "
        "heard again",
    ]


def test_two_engines_that_made_a_cache_are_both_named(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, out = _student(least_samples=1), tmp_path / "out.h5"
    monkeypatch.setattr(writing, "SOUNDS_PER_PART", 2)
    with monkeypatch.context() as patch:
        patch.setattr(cache_joining, "_remove", lambda folder: None)
        extract(sounds, network, out, ["conv5"], device="cpu")
    out.unlink()
    next(iter(written_parts(tmp_path / "out.h5.parts"))).unlink()
    extract(sounds, network, out, ["conv5"], device="cpu", backend="openvino")
    with FeatureCache(out) as cache:
        first, second = cache.identity["versions"]["computed by"].split(", ")
    assert first.startswith("openvino ")
    assert second.startswith("torch ")


def test_a_sound_too_short_for_a_layer_is_its_own_failure(tmp_path: Path) -> None:
    network = _student(least_samples=1)
    for name, samples in (("1-long", RATE), ("2-short", 100), ("3-long", RATE)):
        write_audio(tmp_path / "sounds" / f"{name}.wav", np.full(samples, 0.1, np.float32), RATE)
    result = extract(tmp_path / "sounds", network, tmp_path / "out.h5", layers=["conv5"], device="cpu")
    assert list(result.failures) == ["2-short.wav"]
    assert result.failures["2-short.wav"].startswith("2-short.wav: 100 samples are too few for conv5; let")
    with FeatureCache(tmp_path / "out.h5") as cache:
        assert cache.ids == ("1-long.wav", "3-long.wav")


def test_what_a_table_says_is_carried_to_pandas(sounds: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    table = tmp_path / "sounds.csv"
    rows = [f"{sounds}/rain/1.wav,wet,2,Oslo,7", f"{sounds}/rain/broken.wav,wet,1,,", f"{sounds}/wind/0.wav,,1,Rome,"]
    table.write_text("\n".join(["path,label,fold,town,id", *rows]) + "\n")
    extract(table, _student(least_samples=1), tmp_path / "out.h5", layers=["conv5"], device="cpu")
    with FeatureCache(tmp_path / "out.h5") as cache:
        assert cache.columns == {"town": ("Oslo", "Rome"), "id": ("7", "")}
        frame = cache.to_pandas("conv5")
        np.testing.assert_array_equal(frame[[f"conv5_{channel}" for channel in range(256)]], cache["conv5"])
    assert list(frame.columns[:6]) == ["id", "label", "fold", "town", "id_table", "conv5_0"]
    assert frame["id"].tolist() == [f"{sounds}/rain/1.wav", f"{sounds}/wind/0.wav"]
    assert frame["label"].isna().tolist() == [False, True]
    assert frame["label"][0] == "wet"
    assert frame["fold"].tolist() == [2, 1]
    assert frame["id_table"].tolist() == ["7", ""]
    table.write_text(table.read_text().replace("Rome", "Bari"))
    with pytest.raises(RunConflictError, match=r"sounds\.sha256"):
        extract(table, _student(least_samples=1), tmp_path / "out.h5", layers=["conv5"], device="cpu")


def test_a_name_that_is_not_utf_8_is_told_in_another_way(tmp_path: Path) -> None:
    folder = tmp_path / "sounds" / os.fsdecode(b"caf\xe9")
    write_audio(folder / "a.wav", np.full(RATE, 0.1, np.float32), RATE)
    (folder / os.fsdecode(b"\xff.wav")).write_bytes(b"broken")
    result = extract(tmp_path / "sounds", _student(least_samples=1), tmp_path / "out.h5", "conv2", device="cpu")
    assert list(result.failures) == ["caf\\xe9/\\xff.wav"]
    with FeatureCache(tmp_path / "out.h5") as cache:
        assert cache.ids == ("caf\\xe9/a.wav",)
        assert cache.class_names == ("caf\\xe9",)
        assert cache.layers == ("conv2",)


def test_outputs_that_cannot_be_written_and_sounds_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be a folder, since a file is in its way; choose another --out"):
        extract(Manifest((Clip("a", tmp_path / "a"),)), _student(1), tmp_path / "file" / "out.h5")
    with pytest.raises(MediaError, match="there are no sounds"):
        extract(Manifest(()), _student(1), tmp_path / "out.h5")


def test_long_sounds_make_smaller_batches() -> None:
    sounds = [(number, np.zeros(1_300_000, np.float32)) for number in range(7)]
    assert [list(batch) for batch in batches_of_equal_length(sounds, 8, 2_000_000)] == [[0, 1, 2, 3], [4, 5, 6]]
    short = [(number, np.zeros(100, np.float32)) for number in range(10)]
    assert [len(batch) for batch in batches_of_equal_length(short, 8, 2_000_000)] == [8, 2]


def test_several_files_and_lists(sounds: Path, tmp_path: Path) -> None:
    network = _student(least_samples=1)
    files = [sounds / "wind" / "0.wav", sounds / "rain" / "1.wav"]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{file}\n" for file in files))
    extract(files, network, tmp_path / "files.h5", layers=["conv5"], device="cpu")
    extract(listed, network, tmp_path / "listed.h5", layers=["conv5"], device="cpu")
    with FeatureCache(tmp_path / "files.h5") as first, FeatureCache(tmp_path / "listed.h5") as again:
        assert first.ids == ("wind/0.wav", "rain/1.wav")
        assert again.ids == tuple(map(str, files))
        np.testing.assert_allclose(first["conv5"], again["conv5"], rtol=1e-5)


def test_settings_that_do_not_exist_are_named(sounds: Path, student: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pooling is 'median'; choose one of mean, max, std, none"):
        extract(sounds, student, tmp_path / "out.h5", pooling="median")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="rate is 'natural'; choose one of model, native"):
        extract(sounds, student, tmp_path / "out.h5", rate="natural")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="channel is 'last'; choose one of first, mean"):
        extract(sounds, student, tmp_path / "out.h5", channel="last")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="workers is -1; it has to be at least 0"):
        extract(sounds, student, tmp_path / "out.h5", workers=-1)
    with pytest.raises(SettingsError, match="deadline_minutes is 0; it has to be above 0"):
        extract(sounds, student, tmp_path / "out.h5", deadline_minutes=0)


def test_numbers_of_every_pooling_do_not_depend_on_batches_and_workers(sounds: Path, tmp_path: Path) -> None:
    """Nine sounds of three lengths, so that batches of four are cut differently from batches of one."""
    network = _student(least_samples=1)
    rng = np.random.default_rng(0)
    clips = []
    for number in range(9):
        path = tmp_path / f"{number}.wav"
        write_audio(path, (rng.normal(size=RATE // (1 + number % 3)) * 0.1).astype(np.float32), RATE)
        clips.append(Clip(path.name, path))
    poolings: tuple[Pooling, ...] = ("mean", "max", "std")
    for pooling in poolings:
        caches = []
        for batch_size, workers in ((1, 0), (4, 2)):
            out = tmp_path / f"{pooling}-{batch_size}.h5"
            extract(
                Manifest(tuple(clips)), network, out, ["pool1", "conv5"], pooling,
                batch_size=batch_size, workers=workers, device="cpu",
            )  # fmt: skip
            with FeatureCache(out) as cache:
                caches.append(dict(cache))
        for layer in ("pool1", "conv5"):
            np.testing.assert_allclose(caches[1][layer], caches[0][layer], rtol=1e-4, atol=1e-6)


def _student(least_samples: int) -> SoundNet8:
    torch.manual_seed(0)
    preprocessing = replace(Preprocessing(), least_samples=least_samples)
    return SoundNet8({"objects": 3, "scenes": 2}, preprocessing).eval()


def test_another_engine_gives_the_same_and_is_told(cached: Path, sounds: Path, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    extract(sounds, student, out, layers=LAYERS, backend="openvino")
    with FeatureCache(out) as cache, FeatureCache(cached) as kept:
        assert cache.identity["versions"]["computed by"].startswith("openvino 20")
        assert kept.identity["versions"]["computed by"].startswith("torch 2")
        for layer in LAYERS:
            np.testing.assert_allclose(cache[layer], kept[layer], rtol=1e-4, atol=1e-7)
    # An engine that does the same is no other setting.
    assert extract(sounds, student, out, layers=LAYERS, backend="torch").found


def test_bf16_is_another_setting(sounds: Path, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    extract(sounds, student, out, layers=LAYERS, precision="bf16", device="cpu")
    with FeatureCache(out) as cache:
        assert cache.identity["versions"]["computed by"].endswith(" in bf16")
    with pytest.raises(RunConflictError, match=r'settings\.precision was "bf16", now null'):
        extract(sounds, student, out, layers=LAYERS, device="cpu")


def test_an_engine_that_cannot_be_is_refused_before_anything_is_written(
    sounds: Path, student: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="give --backend openvino or torch for bf16"):
        extract(sounds, student, tmp_path / "out" / "f.h5", backend="onnxruntime", precision="bf16")
    assert not (tmp_path / "out").exists()
