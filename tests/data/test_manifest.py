"""Sounds, labels and folds from folders and tables."""

from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.data import read_manifest
from soundnet_kd.errors import FormatError, MediaError, SettingsError
from soundnet_kd.media import write_audio


def make_sound(path: Path) -> Path:
    write_audio(path, np.zeros(800, dtype=np.float32), 8000)
    return path


def test_esc50_layout(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "2-1-A-1.wav,2,1,rooster,False,1,A\n"
        "1-2-A-0.wav,1,0,dog,True,2,A\n"
    )
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ("dog", "rooster")
    assert [(clip.id, clip.label, clip.fold) for clip in manifest.clips] == [
        ("2-1-A-1.wav", 1, 2),
        ("1-2-A-0.wav", 0, 1),
    ]
    assert manifest.clips[0].path == tmp_path / "audio" / "2-1-A-1.wav"
    assert manifest.columns == ("esc10", "src_file", "take")
    assert manifest.clips[1].carried == ("True", "2", "A")


def test_table_with_and_without_labels(tmp_path: Path) -> None:
    table = tmp_path / "sounds.csv"
    table.write_text("path,label,fold\nx/b.wav,horn,3\na.wav,,\nc.wav,bell,1\n")
    manifest = read_manifest(table)
    assert manifest.class_names == ("bell", "horn")
    assert [(clip.id, clip.label, clip.fold) for clip in manifest.clips] == [
        ("x/b.wav", 1, 3),
        ("a.wav", -1, 0),
        ("c.wav", 0, 1),
    ]
    assert manifest.clips[0].path == tmp_path / "x" / "b.wav"


def test_sub_folders_are_labels(tmp_path: Path) -> None:
    make_sound(tmp_path / "cat" / "1.wav")
    make_sound(tmp_path / "dog" / "1.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ("cat", "dog")
    assert [(clip.id, clip.label) for clip in manifest.clips] == [("cat/1.wav", 0), ("dog/1.wav", 1)]


def test_loose_sounds_are_unlabeled(tmp_path: Path) -> None:
    make_sound(tmp_path / "cat" / "1.wav")
    make_sound(tmp_path / "loose.wav")
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ()
    assert {clip.label for clip in manifest.clips} == {-1}


def test_one_file(tmp_path: Path) -> None:
    manifest = read_manifest(make_sound(tmp_path / "one.wav"))
    assert [clip.id for clip in manifest.clips] == ["one.wav"]


def test_other_columns_are_carried_along(tmp_path: Path) -> None:
    table = tmp_path / "sounds.csv"
    table.write_text(",town,path,label,\u00e5r\n0,Oslo,a.wav,x,1999\n1,,b.wav,y\n", encoding="utf-8")
    manifest = read_manifest(table)
    assert manifest.columns == ("town", "\u00e5r")
    assert [clip.carried for clip in manifest.clips] == [("Oslo", "1999"), ("", "")]


def test_a_list_of_paths(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes("\ufeffx/a, b.wav\r\n\r\n/far/c.wav\n".encode())
    manifest = read_manifest(listed)
    assert [clip.id for clip in manifest.clips] == ["x/a, b.wav", "/far/c.wav"]
    assert [clip.path for clip in manifest.clips] == [tmp_path / "x" / "a, b.wav", Path("/far/c.wav")]
    assert manifest.class_names == ()
    listed.write_text("\n \n")
    with pytest.raises(FormatError, match="names no sounds"):
        read_manifest(listed)
    listed.write_bytes(b"RIFF\0\0WAVE")
    with pytest.raises(FormatError, match="is no text"):
        read_manifest(listed)


def test_several_files_and_folders(tmp_path: Path) -> None:
    one, two = make_sound(tmp_path / "x" / "1.wav"), make_sound(tmp_path / "y" / "1.wav")
    make_sound(tmp_path / "y" / "2.wav")
    manifest = read_manifest([two, one, tmp_path / "y"])
    assert [clip.id for clip in manifest.clips] == ["y/1.wav", "x/1.wav", "y/2.wav"]
    assert {clip.label for clip in manifest.clips} == {-1}
    assert [clip.id for clip in read_manifest([one]).clips] == ["1.wav"]
    (tmp_path / "list.txt").write_text("x/1.wav\n")
    with pytest.raises(SettingsError, match="a data set of its own"):
        read_manifest([one, tmp_path / "list.txt"])
    with pytest.raises(MediaError):
        read_manifest([])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("paths,label\na.wav,x\n", FormatError, "has no column 'path' .*should 'paths' be called that"),
        ("a.wav,x\nb.wav,y\n", FormatError, "its first line has to name the columns"),
        ("path,label\na.wav,big, dog\n", FormatError, "line 2: there are 3 values for 2 columns"),
        ("path,label\n", FormatError, "names no sounds"),
        ("path,fold\na.wav,one\n", FormatError, "fold is 'one' where a whole number is expected"),
        ("path\na.wav\na.wav\n", FormatError, "a.wav stands twice"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    table = tmp_path / "sounds.csv"
    table.write_text(text)
    with pytest.raises(error, match=message):
        read_manifest(table)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(MediaError):
        read_manifest(tmp_path / "none")


@pytest.mark.real
def test_the_real_esc50(real_data: Path) -> None:
    manifest = read_manifest(real_data / "esc50")
    assert len(manifest) == 2000
    assert manifest.class_names[:3] == ("dog", "rooster", "pig")
    labels = np.array([clip.label for clip in manifest.clips])
    folds = np.array([clip.fold for clip in manifest.clips])
    assert (np.bincount(labels) == 40).all()
    assert np.bincount(folds).tolist() == [0, 400, 400, 400, 400, 400]
