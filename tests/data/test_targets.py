"""The targets folder: what is written is what is read, in any process."""

import json
import os
import pickle
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from soundnet_kd.data import LabelledClip, Targets, count_steps, tile_to_clip, write_part
from soundnet_kd.data.parts_index import PartsIndex
from soundnet_kd.data.target_clips import LabelledVideo, RefusedVideo, count_clip_steps, from_half, to_half
from soundnet_kd.data.target_parts import TargetsPart, part_file, part_files
from soundnet_kd.errors import FormatError, SettingsError
from tests.targets import CLASSES, make_clip, make_targets


def read_start(job: tuple[Targets, int]) -> list[int]:
    targets, index = job
    return list(map(int, targets[index].sound[:5]))


@pytest.fixture
def clips() -> list[LabelledClip]:
    rng = np.random.default_rng(0)
    return [make_clip(f"video {index}.mp4", 1 + index % 4, rng, samples=1000 + 17 * index) for index in range(9)]


def test_what_is_written_is_read(tmp_path: Path, clips: list[LabelledClip]) -> None:
    targets = Targets(make_targets(tmp_path, clips))
    assert len(targets) == 9
    assert len(targets.parts) == 3
    assert targets.class_names == CLASSES
    for index in (8, 0, 4, 3, 7, 1):
        found, wanted = targets[index], clips[index]
        assert found.source == wanted.source
        np.testing.assert_array_equal(found.sound, wanted.sound)
        np.testing.assert_array_equal(found.frame_seconds, wanted.frame_seconds)
        for name, rows in wanted.distributions.items():
            np.testing.assert_allclose(found.distributions[name], rows, rtol=2e-3)
            np.testing.assert_allclose(found.distributions[name].sum(axis=1), 1.0, rtol=1e-6)
    assert list(targets.sources()) == [clip.source for clip in clips]


def test_storage_is_as_documented(tmp_path: Path, clips: list[LabelledClip]) -> None:
    make_targets(tmp_path, clips)
    with h5py.File(part_file(tmp_path, 0)) as part:
        assert part["sound"].dtype == np.int16
        assert part["distributions/objects"].dtype == np.float16
        assert part["sound_end"][:].tolist() == [1000, 2017, 3051, 4102]
        assert part["step_end"][:].tolist() == [1, 3, 6, 10]
        assert part.attrs["sample_rate"] == 22_050


def test_worker_processes_open_their_own_files(tmp_path: Path, clips: list[LabelledClip]) -> None:
    targets = Targets(make_targets(tmp_path, clips))
    expected = [clip.sound[:5].tolist() for clip in clips]
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(read_start, [(targets, index) for index in range(9)])) == expected
    assert pickle.loads(pickle.dumps(targets))[5].source == "video 5.mp4"


def test_only_so_many_parts_stay_open(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    targets = Targets(
        make_targets(tmp_path, [make_clip(f"{n}", 1, rng, samples=10) for n in range(40)], clips_per_part=1)
    )
    assert [targets[index].source for index in range(40)] == [str(index) for index in range(40)]
    assert len(targets._open) <= 16


def test_other_folders_are_refused(tmp_path: Path, clips: list[LabelledClip]) -> None:
    with pytest.raises(FormatError, match="not a targets folder"):
        Targets(tmp_path)
    make_targets(tmp_path, [])
    with pytest.raises(FormatError, match="holds no labelled clips"):
        Targets(tmp_path)
    make_targets(tmp_path, clips)
    part_file(tmp_path, 1).write_bytes(b"half")
    with pytest.raises(FormatError, match=r"part-00001\.h5 cannot be read .* delete it"):
        Targets(tmp_path)


def test_a_clip_must_have_one_distribution_a_step() -> None:
    rows = np.full((2, 3), 1 / 3, dtype=np.float32)
    with pytest.raises(FormatError, match="one distribution for each step"):
        LabelledClip("a", 0.0, np.zeros(5, np.int16), np.zeros(3), {"objects": rows})


def test_parts_are_counted_beyond_five_digits(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for number in (99_999, 100_001, 100_000, 7):
        part_file(tmp_path, number).touch()
    assert [part.stem for part in part_files(tmp_path)] == ["part-00007", "part-99999", "part-100000", "part-100001"]


def test_parts_of_shards_are_in_the_order_of_their_videos(tmp_path: Path) -> None:
    """Behind those with numbers, whatever they are called and whoever wrote them first."""
    rng = np.random.default_rng(0)
    make_targets(tmp_path, [make_clip("n", 1, rng, samples=10)])
    for name, source in (("a" * 16, "c"), ("0" * 16, "b"), ("b" * 16, "a")):
        write_part(part_file(tmp_path, name), [make_clip(source, 1, rng, samples=10)], CLASSES, 22_050, {})
    write_part(part_file(tmp_path, "c" * 16), [], CLASSES, 22_050, {}, refused=[RefusedVideo("aa", "silent")])
    assert list(Targets(tmp_path).sources()) == ["n", "a", "b", "c"]
    index = PartsIndex.of(tmp_path)
    assert [part.first for part in index.parts] == ["n", "a", "aa", "b", "c"]
    assert index.parts[2].refused == (RefusedVideo("aa", "silent"),)


def test_an_index_knows_what_is_in_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens none of those that it knows, and those that have changed since, or are gone, are not taken from it."""
    rng = np.random.default_rng(0)
    clips = [make_clip(f"{number // 2}", 1 + number % 4, rng, samples=10) for number in range(12)]
    make_targets(tmp_path, clips)
    video = LabelledVideo("x", "hash", 26.0, 1.5, 1.0, 0.0, 2)
    last = part_file(tmp_path, "f" * 16)
    refused = [RefusedVideo("y", "it is silent"), RefusedVideo("z", "it is broken", "10", "5", "ab")]
    write_part(last, [make_clip("x", 2, rng, samples=10)], CLASSES, 22_050, {}, [video], refused)
    for file in part_files(tmp_path):
        # Clocks of disks are coarse.
        os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))
    before = PartsIndex.of(tmp_path)
    before.write(tmp_path)
    opened: list[str] = []
    read = TargetsPart.__init__

    def note(self: TargetsPart, path: Path) -> None:
        opened.append(path.name)
        read(self, path)

    monkeypatch.setattr(TargetsPart, "__init__", note)
    found = PartsIndex.of(tmp_path)
    assert not opened
    for one, other in zip(found.parts, before.parts, strict=True):
        assert (one.file, one.bytes, one.videos, one.refused) == (other.file, other.bytes, other.videos, other.refused)
        for name in ("source_hashes", "step_counts", "totals"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert found.totals() == {
        "seconds": 26.0, "silent_seconds": 1.5, "rest_seconds": 1.0, "behind_jump_seconds": 0.0, "failed_steps": 2,
        "stray_steps": 0,
    }  # fmt: skip
    assert found.parts[-1].refused == tuple(refused)
    targets = Targets(tmp_path)
    assert targets.step_counts.tolist() == [len(clip.frame_seconds) for clip in [*clips, targets[12]]]
    opened.clear()
    part_file(tmp_path, 1).unlink()
    make_targets(tmp_path, clips[:1])
    assert [part.clips for part in PartsIndex.of(tmp_path).parts] == [1, 4, 1]
    assert opened == ["part-00000.h5"]
    (tmp_path / ".index.h5").write_bytes(b"half")
    assert [part.clips for part in PartsIndex.of(tmp_path).parts] == [1, 4, 1]


def test_a_folder_of_version_1(tmp_path: Path) -> None:
    """Written by hand as its layout says, by nothing of this package."""
    (tmp_path / "parts").mkdir()
    settings = {
        "format_version": 1,
        "teachers": {"objects": {"network": "by hand"}},
        "frame_sampling": {"step_seconds": 5.0},
        "sample_rate": 100,
    }
    (tmp_path / "targets.json").write_text(json.dumps(settings))
    with h5py.File(tmp_path / "parts" / "part-00000.h5", "w") as part:
        part.attrs.update({"format_version": 1, "sample_rate": 100, "settings": json.dumps(settings)})
        part["sound"] = np.arange(2500, dtype=np.int16)
        part["sound_end"], part["step_end"] = [2000, 2500], [4, 5]
        part["source"], part["start_seconds"] = ["a.mp4", "a.mp4"], [0.0, 20.0]
        part["frame_seconds"] = [2.5, 7.5, 12.5, 17.5, 22.5]
        part["distributions/objects"] = np.full((5, 2), 0.5, np.float16)
        part["class_names/objects"] = ["cat", "dog"]
        names = ("source", "fingerprint", "seconds", "silent_seconds", "rest_seconds", "behind_jump_seconds")
        for name, value in zip(names, ("a.mp4", "hash", 26.0, 0.0, 1.0, 0.0), strict=True):
            part[f"videos/{name}"] = [value]
    targets = Targets(tmp_path)
    assert (targets.class_names, targets.feature_sizes) == ({"objects": ("cat", "dog")}, {})
    assert (targets.step_seconds, targets.steps_per_clip, len(targets)) == (5.0, 4, 2)
    clip = targets[1]
    assert (clip.sound[0], len(clip.sound), clip.frame_seconds.tolist(), clip.step_seconds) == (2000, 500, [22.5], 5.0)
    assert (dict(clip.features), dict(targets.clip(1, with_frames=True).frame_features)) == ({}, {})
    assert targets.step_counts.tolist() == [4, 1]
    assert [column.tolist() for column in targets.steps()] == [[0, 5, 10, 15, 20], [2.5, 7.5, 12.5, 17.5, 22.5]]
    assert TargetsPart(targets.parts[0]).videos() == [LabelledVideo("a.mp4", "hash", 26.0, 0.0, 1.0, 0.0, 0)]
    # What trainings that have begun compare.
    assert targets.identity() == {
        "teachers": {"objects": {"network": "by hand"}},
        "frame_sampling": {"step_seconds": 5.0},
        "sample_rate": 100,
        "clips": 2,
        "sources_sha256": "a6a206bbe9583941f9fd1ea7e6b1ca061ba235ad97fab97a5c6bc6ba5e9969b3",
    }


def test_without_features_a_part_has_none(tmp_path: Path, clips: list[LabelledClip]) -> None:
    make_targets(tmp_path, clips)
    with h5py.File(part_file(tmp_path, 0)) as part:
        assert part.attrs["format_version"] == 3
        assert not {"features", "feature_factor", "frames"} & part.keys()


def full_clip(source: str, steps: int, rng: np.random.Generator) -> LabelledClip:
    """Return a clip with three frames for each step of 2 s, a teacher without classes, and all frames kept."""
    distributions = rng.dirichlet(np.ones(3), (steps, 3)).astype(np.float32)
    features = {name: rng.normal(size=(steps, 3, dims)).astype(np.float32) for name, dims in (("a", 4), ("clip", 6))}
    return LabelledClip(
        source,
        40.0,
        np.ones(200 * steps, np.int16),
        np.arange(3 * steps).reshape(steps, 3) * 2 / 3,
        {"a": distributions.mean(axis=1)},
        {name: rows.mean(axis=1) for name, rows in features.items()},
        2.0,
        {"a": distributions},
        features,
    )


def test_features_and_frames_are_read_as_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = [full_clip("a", 10, rng), full_clip("b", 3, rng)]
    video = LabelledVideo("a", "hash", 26.0, 0.0, 1.0, 0.0, 2)
    settings = {"format_version": 2}
    (tmp_path / "targets.json").write_text(json.dumps(settings))
    write_part(part_file(tmp_path, 0), clips, {"a": ("x", "y", "z")}, 100, settings, [video])
    targets = Targets(tmp_path)
    assert (targets.class_names, targets.feature_sizes) == ({"a": ("x", "y", "z")}, {"a": 4, "clip": 6})
    assert (targets.step_seconds, targets.steps_per_clip) == (2.0, 10)
    for index, wanted in enumerate(clips):
        found = targets.clip(index, with_frames=True)
        np.testing.assert_array_equal(found.frame_seconds, wanted.frame_seconds)
        for one, other in (
            (found.distributions, wanted.distributions),
            (found.features, wanted.features),
            (found.frame_distributions, wanted.frame_distributions),
            (found.frame_features, wanted.frame_features),
        ):
            assert one.keys() == other.keys()
            for name, rows in other.items():
                assert one[name].dtype == np.float32
                np.testing.assert_allclose(one[name], rows, rtol=2e-3, atol=1e-6)
    assert not targets[0].frame_features
    begins, looked_at = targets.steps()
    assert (begins.tolist()[:3], looked_at.shape) == ([40, 42, 44], (13, 3))
    with h5py.File(part_file(tmp_path, 0)) as part:
        assert (part.attrs["format_version"], part.attrs["step_seconds"]) == (3, 2.0)
        assert part["features/clip"].dtype == part["frames/features/a"].dtype == np.float16
    assert TargetsPart(part_file(tmp_path, 0)).videos() == [video]


def test_clips_of_one_part_hold_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    other = make_clip("c", 1, rng, samples=10, classes={"a": ("x", "y", "z")})
    features = {name: np.ones((1, dims), np.float32) for name, dims in (("a", 5), ("clip", 6))}
    wider = replace(full_clip("b", 1, rng), features=features)
    with pytest.raises(FormatError, match=r"hold different things.*'features/a': \(5,\).*'features/a': \(4,\)"):
        write_part(part_file(tmp_path, 0), [full_clip("a", 1, rng), wider], {"a": ("x", "y", "z")}, 100, {})
    with pytest.raises(FormatError, match="hold different things"):
        write_part(part_file(tmp_path, 0), [full_clip("a", 1, rng), other], {"a": ("x", "y", "z")}, 100, {})


def test_a_part_takes_no_memory_for_its_length(tmp_path: Path) -> None:
    """Its frames wait on the disk: 33 MB of features in half precision, copied in blocks of 2 MB."""
    steps, frames, dims = 40, 8, 512
    row = np.arange(dims, dtype=np.float32)

    def clip(number: int) -> LabelledClip:
        kept = np.tile(row + number, (steps, frames, 1))
        return LabelledClip(
            f"{number}",
            20.0 * number,
            np.zeros(2000, np.int16),
            np.zeros((steps, frames)),
            {},
            {"a": kept[:, 0]},
            0.5,
            {},
            {"a": kept},
        )

    tracemalloc.start()
    try:
        assert write_part(part_file(tmp_path, 0), map(clip, range(100)), {}, 100, {}) == 100
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8e6
    part = TargetsPart(part_file(tmp_path, 0))
    for number in (0, 51, 99):
        np.testing.assert_array_equal(part.clip(number, with_frames=True).frame_features["a"][7, 3], row + number)
    assert list(part_file(tmp_path, 0).parent.iterdir()) == [part_file(tmp_path, 0)]


def test_half_precision_loses_neither_large_nor_small_numbers() -> None:
    rows = np.array([[1.0, -2.5], [1e6, -3e5], [70_000, 1], [1e-9, 2e-9], [0, 0], [3.4e38, 1e38]], np.float32)
    half, factor = to_half(rows)
    assert factor.tolist() == [1, 2.0**19, 2.0**16, 2.0**-29, 1, 2.0**127]
    assert np.isfinite(half).all()
    np.testing.assert_allclose(from_half(half, factor), rows, rtol=2.0**-11)


def test_steps_of_other_lengths() -> None:
    assert [count_clip_steps(seconds) for seconds in (5, 4, 2.5, 2, 1.25, 1, 0.8, 0.5)] == [4, 5, 8, 10, 16, 20, 25, 40]
    for wrong, nearest in ((3, 2.5), (6, 5), (10, 5), (0.4, 0.5), (0, 0.5), (-1, 0.5), (float("nan"), 5)):
        with pytest.raises(SettingsError, match=rf"step_seconds is .* the nearest is {nearest:g}$"):
            count_clip_steps(wrong)
    assert [count_steps(seconds, 2.0) for seconds in (0.3, 2.9, 3.0, 20, 50)] == [1, 1, 2, 10, 10]
    sound = np.arange(1, 6, dtype=np.int16)
    assert tile_to_clip(sound, 3, 1, 2.0).tolist() == [1, 2, 3, 4, 5, 0] * 3 + [1, 2]
