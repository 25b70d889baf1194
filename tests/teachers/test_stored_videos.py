"""Videos in tars and under addresses give the targets that a folder of the same files gives."""

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from soundnet_kd import media
from soundnet_kd.data import Targets
from soundnet_kd.data.target_parts import TargetsPart, part_files
from soundnet_kd.errors import MediaError, RunConflictError
from soundnet_kd.teachers import Teacher, TeachResult, clips, decoding, label_videos
from tests.tars import write_tar
from tests.teachers.colours import NAMES, MeanColour, make_video, plain

TEACHER = Teacher(MeanColour(), plain, NAMES, {"network": "mean colour"})


def label(videos: Path | str, out: Path, workers: int = 0) -> TeachResult:
    return label_videos(videos, {"objects": TEACHER}, out, videos_per_part=2, workers=workers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, and one that is none."""
    videos = tmp_path_factory.mktemp("videos")
    for number, colours in enumerate((["red"], ["green", "blue"], ["blue"])):
        make_video(videos / f"{number}.mp4", colours)
    (videos / "3.mp4").write_text("this is no video")
    return videos


@pytest.fixture(scope="module")
def from_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    return Targets(label(folder, tmp_path_factory.mktemp("targets")).out)


def write_tars(folder: Path, tars: Path) -> Path:
    names = sorted(file.name for file in folder.iterdir())
    for number in range(2):
        members = [(name, (folder / name).read_bytes()) for name in names[2 * number : 2 * number + 2]]
        told = json.dumps({"status": "failed_to_download", "error_message": "gone"}).encode()
        write_tar(tars / f"{number:05d}.tar", [*members, (f"missing{number}.json", told)])
    return tars


def require_same(found: Targets, expected: Targets) -> None:
    """Require the same clips, whatever their videos are called."""
    for clip, other in zip(found, expected, strict=True):
        assert clip.source.rpartition("/")[2] == other.source
        assert clip.start_seconds == other.start_seconds
        np.testing.assert_array_equal(clip.sound, other.sound)
        np.testing.assert_array_equal(clip.distributions["objects"], other.distributions["objects"])
        np.testing.assert_array_equal(clip.frame_seconds, other.frame_seconds)
    prints, others = (
        {
            video.source.rpartition("/")[2]: video.fingerprint
            for file in part_files(targets.folder)
            for video in TargetsPart(file).videos()
        }
        for targets in (found, expected)
    )
    assert prints == others


@pytest.mark.parametrize("workers", [0, 2])
def test_tars(folder: Path, from_folder: Targets, tmp_path: Path, workers: int) -> None:
    tars = write_tars(folder, tmp_path / "tars")
    result = label(tars, tmp_path / "targets", workers)
    require_same(Targets(result.out), from_folder)
    assert dict(result.failures) == {
        "00000.tar/missing0": "it was not downloaded (failed_to_download: gone)",
        "00001.tar/missing1": "it was not downloaded (failed_to_download: gone)",
        "00001.tar/3.mp4": "3.mp4 is not a media file, or it is damaged or cut short",
    }
    assert sorted(file.name for file in result.out.iterdir() if not file.name.startswith(".")) == [
        "failures.csv",
        "parts",
        "targets.json",
    ]
    assert len(list((result.out / ".tar-index").iterdir())) == 4


def test_a_run_on_tars_goes_on_where_they_lie_now(
    folder: Path, from_folder: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tars = write_tars(folder, tmp_path / "tars")
    second = (tars / "00001.tar").read_bytes()
    (tars / "00001.tar").unlink()
    label(tars, tmp_path / "targets")
    tars = tars.rename(tmp_path / "moved")
    (tars / "00001.tar").write_bytes(second)
    opened = []
    read = clips.read_clips

    def noted(path: Path, *settings: Any, **more: Any) -> Any:
        opened.append(path.name)
        return read(path, *settings, **more)

    monkeypatch.setattr(decoding, "read_clips", noted)
    result = label(f"{tars}/{{00000..00001}}.tar", tmp_path / "targets")
    assert opened == ["2.mp4", "3.mp4"]
    require_same(Targets(result.out), from_folder)
    assert label(tars, tmp_path / "targets").remembered == 1
    assert opened == ["2.mp4", "3.mp4"]
    # Others in tars of the same names are no videos of that run.
    make_video(tmp_path / "other" / "0.mp4", ["green"])
    make_video(tmp_path / "other" / "1.mp4", ["green", "red"])
    others = [(name, (tmp_path / "other" / name).read_bytes()) for name in ("0.mp4", "1.mp4")]
    write_tar(tmp_path / "others" / "00000.tar", others)
    (tmp_path / "others" / "00001.tar").write_bytes(second)
    with pytest.raises(RunConflictError, match="is another video there"):
        label(tmp_path / "others", tmp_path / "targets")


def test_an_address(folder: Path, from_folder: Targets, tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    system.put(f"{folder}/", "/teach/videos/", recursive=True)
    result = label("memory://teach/videos", tmp_path / "targets")
    require_same(Targets(result.out), from_folder)
    assert list(result.failures) == ["3.mp4"]
    assert label("memory://teach/videos", tmp_path / "targets").remembered == 1


def test_a_table(folder: Path, from_folder: Targets, tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("path\n" + "".join(f"{folder / f'{number}.mp4'}\n" for number in range(3)))
    require_same(Targets(label(tmp_path / "videos.csv", tmp_path / "targets").out), from_folder)


def test_a_video_that_cannot_be_fetched_is_named_and_tried_again(
    folder: Path, from_folder: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media.remote, "FIRST_PAUSE_SECONDS", 0.001)
    with fsspec.open("memory://late/0.mp4", "wb") as file:
        file.write((folder / "0.mp4").read_bytes())
    (tmp_path / "videos.txt").write_text("memory://late/0.mp4\nmemory://late/1.mp4\n")
    result = label(tmp_path / "videos.txt", tmp_path / "targets")
    assert dict(result.failures) == {
        "memory://late/1.mp4": "memory://late/1.mp4 is not there (any more); check the address"
    }
    with fsspec.open("memory://late/1.mp4", "wb") as file:
        file.write((folder / "1.mp4").read_bytes())
    result = label(tmp_path / "videos.txt", tmp_path / "targets")
    assert not result.failures
    assert len(Targets(result.out)) == 2


def test_tars_of_failures_only(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars" / "0.tar", [("a.json", b'{"status": "failed_to_download"}')])
    with pytest.raises(MediaError, match=r"none of the 1 files .* could be labelled, such as: it was not downloaded"):
        label(tmp_path / "tars", tmp_path / "targets")
