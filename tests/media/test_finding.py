import os
from pathlib import Path

import pytest

from soundnet_kd.errors import MediaError
from soundnet_kd.media import find_media, search_folder


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


def test_links_to_folders_are_followed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a shared disk; the same folder is not listed again, and a link that leads back ends."""
    make(tmp_path, "disk/dog/1.wav", "disk/dog/deep/2.wav", "data/cat/1.wav", "data/.store/3.wav")
    data = tmp_path / "data"
    (data / "dog").symlink_to(Path("..") / "disk" / "dog")
    (data / "kept").symlink_to(data / ".store")
    (data / "again").symlink_to("cat")
    (data / "cat" / "back").symlink_to(data)
    (tmp_path / "disk" / "dog" / "deep" / "up").symlink_to(tmp_path / "disk" / "dog")
    (data / "one.wav").symlink_to(tmp_path / "disk" / "dog" / "1.wav")
    (data / "gone").symlink_to(tmp_path / "nirvana")
    (data / "gone.wav").symlink_to(tmp_path / "nirvana.wav")
    (data / "itself").symlink_to("itself")
    expected = ["cat/1.wav", "dog/1.wav", "dog/deep/2.wav", "gone.wav", "kept/3.wav", "one.wav"]
    assert find_media(data) == [data / name for name in expected]
    same = f"{data / 'again'} is the same folder as {data / 'cat'}"
    for told in ("gone leads nowhere", "itself leads nowhere", same):
        assert told in caplog.text
    link = tmp_path / "link"
    link.symlink_to(data)
    assert find_media(link) == [link / name for name in expected]


def test_of_two_links_to_a_folder_and_of_a_folder_in_a_linked_one_there_is_one(tmp_path: Path) -> None:
    make(tmp_path, "disk/dog/1.wav", "disk/rain/1.wav", "data/.keep")
    for name, target in {"all": "disk", "dog": "disk/dog", "hound": "disk/dog"}.items():
        (tmp_path / "data" / name).symlink_to(tmp_path / target)
    found = search_folder(tmp_path / "data")
    assert found.files == tuple(tmp_path / "data" / name for name in ("all/rain/1.wav", "dog/1.wav"))
    names = {path.relative_to(tmp_path / "data").as_posix(): first.name for path, first in found.twice.items()}
    assert names == {"hound": "dog", "all/dog": "dog"}


def test_a_pipe_is_no_sound(tmp_path: Path) -> None:
    """Whoever opens one may wait for ever."""
    make(tmp_path, "a.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to("pipe.wav")
    assert find_media(tmp_path) == [tmp_path / "a.wav"]


def test_a_folder_of_dead_links_says_so(tmp_path: Path) -> None:
    (tmp_path / "dog").symlink_to(tmp_path / "nirvana")
    with pytest.raises(MediaError, match=r"holds no sounds or videos \(dog leads nowhere"):
        find_media(tmp_path)
