"""The targets folder: what is written is what is read, in any process."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from soundnet_kd.data import LabelledClip, Targets
from soundnet_kd.data.targets import next_part_number, part_file, part_files
from soundnet_kd.errors import FormatError
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
    assert next_part_number(tmp_path) == 100_002
    assert next_part_number(tmp_path / "empty") == 0
