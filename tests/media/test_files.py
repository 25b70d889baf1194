from pathlib import Path

import pytest

from soundnet_kd.errors import MediaError
from soundnet_kd.media import find_media


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_gives_what_could_be_media(tmp_path: Path) -> None:
    make(tmp_path, "b.mp4", "a.WEBM", "deep/er/c.wav", "broken.mp4", "strange.xyz", "nosuffix")
    make(tmp_path, "clips.csv", "LICENSE", "README", "notes.TXT", "poster.jpg", "b.srt", "half.mp4.part")
    make(tmp_path, ".hidden.mp4", ".git/d.mp4", "deep/._c.wav")
    expected = ["a.WEBM", "b.mp4", "broken.mp4", "deep/er/c.wav", "nosuffix", "strange.xyz"]
    assert find_media(tmp_path) == [tmp_path / name for name in expected]
    assert find_media(str(tmp_path)) == find_media([tmp_path])


def test_a_named_file_is_listed_whatever_it_is(tmp_path: Path) -> None:
    make(tmp_path, "notes.txt", ".hidden.wav")
    assert find_media(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    assert find_media(tmp_path / ".hidden.wav") == [tmp_path / ".hidden.wav"]


def test_several_paths_keep_their_order_and_repeat_nothing(tmp_path: Path) -> None:
    make(tmp_path, "one/a.wav", "one/b.wav", "two/a.wav")
    found = find_media([tmp_path / "two", tmp_path / "one" / "b.wav", tmp_path / "one"])
    assert found == [tmp_path / name for name in ("two/a.wav", "one/b.wav", "one/a.wav")]


def test_nothing_to_find_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist; check the path"):
        find_media(tmp_path / "gone")
    with pytest.raises(MediaError, match=r"holds no sounds or videos \(it is empty\)"):
        find_media(tmp_path)
    make(tmp_path, "clips.csv", "LICENSE")
    with pytest.raises(MediaError, match=r"none of its 2 files is one\); name a folder that does"):
        find_media([tmp_path])
    with pytest.raises(MediaError, match="no sounds or videos were named"):
        find_media([])
