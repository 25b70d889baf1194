"""What a data set is taken for: the published layouts, tables as programs write them, splits, and the sentence."""

import codecs
import logging
from pathlib import Path

import pytest

from soundnet_kd.data import Clip, Manifest, read_manifest
from soundnet_kd.data.checks import announce, describe_data_set, require_classes, require_whole_folds
from soundnet_kd.data.datasets.folds import Folds
from soundnet_kd.data.datasets.urbansound8k import URBANSOUND8K_CLASSES
from soundnet_kd.data.manifest import parse_split
from soundnet_kd.errors import FormatError, MediaError, SettingsError, SoundNetKDError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def told(manifest: Manifest) -> dict[str, tuple[str, int]]:
    """Give class and fold of each sound."""
    names = (*manifest.class_names, "")
    return {clip.id: (names[clip.label], clip.fold) for clip in manifest.clips}


def all_there(manifest: Manifest) -> bool:
    return all(Path(str(clip.path)).is_file() for clip in manifest.clips)


SOUNDS = ("dog_0.wav", "dog_1.wav", "rain_0.wav", "rain_1.wav")
WANTED = {"dog_0.wav": ("dog", 1), "dog_1.wav": ("dog", 2), "rain_0.wav": ("rain", 1), "rain_1.wav": ("rain", 2)}
ROWS = "dog_0.wav,dog,1\ndog_1.wav,dog,2\nrain_0.wav,rain,1\nrain_1.wav,rain,2\n"


@pytest.mark.parametrize(
    "text",
    [
        "path,label,fold\n" + ROWS,
        "path, label, fold\n" + ROWS.replace(",", ", "),
        "Path,Label,Fold\n" + ROWS,
        "FileName ; Category ; FOLD\n" + ROWS.replace(",", ";"),
        "file\tclass\tfold\n" + ROWS.replace(",", "\t"),
        "sep=;\npath;label;fold\n" + ROWS.replace(",", ";"),
        "\r\n\r\npath,label,fold\r\n" + ROWS.replace("\n", "\r\n\r\n"),
        '"path", "label", "fold"\n' + "".join('"{}", "{}", "{}"\n'.format(*row.split(",")) for row in ROWS.split()),
        "path,label,fold,\n" + ROWS.replace("\n", ",\n"),
        "path,label,fold\n" + "".join(f"{row}.0\n" for row in ROWS.split()),
        "path,label,fold\n" + ROWS.replace(",1\n", ",fold1\n").replace(",2\n", ",Fold 2\n"),
        "path,label,fold\n" + "".join(f"./{row}\n" for row in ROWS.split()),
        "path,label,fold\n" + ROWS.replace(".wav", ""),
        "path,label,fold\n" + ROWS.replace(".wav", ".WAV").replace("dog_0", "Dog_0"),
        "path,label,fold\n" + ROWS.replace(".wav", ".mp3"),
        "path,label,fold\n" + "".join(f"/home/me/sounds/{row}\n" for row in ROWS.split()),
        "path,label,fold\n" + "".join(f"C:\\sounds\\{row}\n" for row in ROWS.split()),
        "path,label,fold\n" + "".join(f"sounds/{row}\n" for row in ROWS.split()),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_write_them(text: str, encoding: str, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    touch(folder, *SOUNDS, "other/cow_0.wav")
    (folder / "table.csv").write_bytes(text.encode(encoding))
    manifest = read_manifest(folder / "table.csv")
    assert [(clip.path, told(manifest)[clip.id]) for clip in manifest.clips] == [
        (folder / name, WANTED[name]) for name in SOUNDS
    ]
    assert manifest.columns == ()
    assert describe_data_set(manifest) == "4 sounds, 2 classes (dog, rain), folds 1–2"  # noqa: RUF001


@pytest.mark.parametrize("place", ["audio/{name}", "{label}/{name}", "fold{fold}/{name}", "audio/fold{fold}/{name}"])
def test_sounds_lie_beside_their_table(place: str, tmp_path: Path) -> None:
    for name, (label, fold) in WANTED.items():
        touch(tmp_path, place.format(name=name, label=label, fold=fold))
    (tmp_path / "table.csv").write_text("path,label,fold\n" + ROWS)
    manifest = read_manifest(tmp_path / "table.csv")
    assert all_there(manifest)
    assert told(manifest) == WANTED


def test_of_two_files_that_could_be_meant_none_is_guessed(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.flac", "b.wav")
    (tmp_path / "table.csv").write_text("path\na\nb\n")
    manifest = read_manifest(tmp_path / "table.csv")
    assert [clip.path.name for clip in manifest.clips] == ["a", "b.wav"]
    assert describe_data_set(manifest) == "2 sounds, no classes, no folds, 1 file not there: a"


def test_folds_from_0_are_told_from_none(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label,fold\na.wav,x,0\nb.wav,y,1\nc.wav,x,2\nd.wav,,\n")
    manifest = read_manifest(table)
    assert (manifest.folds.tolist(), manifest.no_fold) == ([0, 1, 2, -1], -1)
    require_whole_folds(manifest)
    assert describe_data_set(manifest).startswith(
        "4 sounds, 2 classes (x, y), folds 0–2, 1 file without a class: d.wav"  # noqa: RUF001
    )
    assert list(Folds().read(table, seed=0).splits) == [0, 1, 2]
    table.write_text("path,label,fold\na.wav,x,0\nb.wav,y,1\nc.wav,x,\n")
    manifest = read_manifest(table)
    with pytest.raises(FormatError, match=r"1 of 3 labelled clips have no fold but others do, such as c\.wav"):
        require_whole_folds(manifest)
    with pytest.raises(FormatError, match=r"1 labelled clips of .* have no fold"):
        Folds().read(table, seed=0)


@pytest.mark.parametrize("rows", [["x,0", "y,0", "x,0"], ["x,1", "y,2", ",0"]])
def test_a_0_that_stands_for_none_still_does(rows: list[str], tmp_path: Path) -> None:
    """As in a table that was made of a cache."""
    table = tmp_path / "table.csv"
    table.write_text("path,label,fold\n" + "".join(f"{number}.wav,{row}\n" for number, row in enumerate(rows)))
    manifest = read_manifest(table)
    assert manifest.no_fold == 0
    assert manifest.folds.tolist() == [int(row[-1]) for row in rows]


def test_counting_from_0_makes_another_data_set_and_all_else_the_same_as_ever(tmp_path: Path) -> None:
    """What older versions wrote is gone on with; the hash is theirs."""
    clips = (Clip("a", Path("a"), 0, 1), Clip("b", Path("b"), -1, 0))
    assert (
        Manifest(clips, ("x",)).identity["sha256"] == "704fb588d66993e3c38882f95c202d6e309ff81edc997f573d68ad70bd5bbe40"
    )
    from_0 = Manifest((Clip("a", Path("a"), 0, 0), Clip("b", Path("b"), 0, 1)), ("x",))
    assert Manifest(from_0.clips, ("x",), folds_from=0).identity != from_0.identity


ESC50 = [("1-100032-A-0", "dog"), ("2-1-A-1", "rooster"), ("3-5-B-49", "hand_saw")]
ESC50_ROWS = "".join(f"{name}.wav,{name[0]},{name.rpartition('-')[2]},{label},False,1,A\n" for name, label in ESC50)
ESC50_TABLE = "filename,fold,target,category,esc10,src_file,take\n" + ESC50_ROWS


@pytest.mark.parametrize(
    ("table", "sounds"),
    [
        ("meta/esc50.csv", "audio/{}.wav"),
        ("ESC-50-master/meta/esc50.csv", "ESC-50-master/audio/{}.wav"),
        ("esc50.csv", "audio/audio/16000/{}.wav"),
        ("esc50.csv", "audio/audio/{}.wav"),
        ("esc50.csv", "{}.wav"),
        ("meta/esc50.csv", "audio/{}.flac"),
    ],
)
def test_esc50_as_it_is_published(table: str, sounds: str, tmp_path: Path) -> None:
    """Of a subset, such as ESC-10, the classes keep their order."""
    touch(
        tmp_path,
        table,
        *(sounds.format(name) for name, _ in ESC50),
        "ESC-50-master/README.md" if "ma" in table else "LICENSE",
    )
    (tmp_path / table).write_text(ESC50_TABLE)
    for place in (tmp_path, tmp_path / table):
        manifest = read_manifest(place)
        assert all_there(manifest)
        assert manifest.class_names == ("dog", "rooster", "hand_saw")
        assert told(manifest) == {f"{name}.wav": (label, int(name[0])) for name, label in ESC50}
        assert manifest.columns == ("esc10", "src_file", "take")


def test_esc50_by_its_names(tmp_path: Path) -> None:
    """The folder audio alone; and the first edition, a folder for each class."""
    touch(tmp_path, *(f"audio/{name}.wav" for name, _ in ESC50))
    manifest = read_manifest(tmp_path / "audio")
    assert manifest.class_names == ("dog", "rooster", "hand_saw")
    assert told(manifest) == {f"{name}.wav": (label, int(name[0])) for name, label in ESC50}
    assert manifest.columns == ("src_file",)
    touch(tmp_path / "up", *(f"ESC-50/audio/{name}.wav" for name, _ in ESC50), "ESC-50/demo/x.wav", "y.wav")
    manifest = read_manifest(tmp_path / "up")
    assert manifest.class_names == ("dog", "rooster", "hand_saw")
    assert told(manifest) == {
        **{f"ESC-50/audio/{name}.wav": (label, int(name[0])) for name, label in ESC50},
        "ESC-50/demo/x.wav": ("", 0), "y.wav": ("", 0),
    }  # fmt: skip
    require_whole_folds(manifest)
    touch(tmp_path / "ESC-10", "001 - Dog bark/1-30226-A.ogg", "002 - Rain/5-17367-A.ogg")
    manifest = read_manifest(tmp_path / "ESC-10")
    assert list(told(manifest).values()) == [("001 - Dog bark", 1), ("002 - Rain", 5)]
    assert [clip.carried for clip in manifest.clips] == [("30226",), ("17367",)]


US8K = [(f"{100 + number}-{number % 10}-0-{number}.wav", number % 10, number // 2 + 1) for number in range(20)]
US8K_TABLE = "slice_file_name,fsID,start,end,salience,fold,classID,class\n" + "".join(
    f"{name},{name.partition('-')[0]},0.0,4.0,1,{fold},{number},{URBANSOUND8K_CLASSES[number]}\n"
    for name, number, fold in US8K
)


@pytest.mark.parametrize(
    "table", ["metadata/UrbanSound8K.csv", "UrbanSound8K.csv", "UrbanSound8K/metadata/UrbanSound8K.csv"]
)
def test_urbansound8k_has_ten_folds(table: str, tmp_path: Path) -> None:
    """As it is unpacked, and as Kaggle has it, with the folds beside the table."""
    audio = Path(table).parent.parent / "audio" if "/" in table else Path()
    touch(tmp_path, table, *(f"{audio}/fold{fold}/{name}" for name, _, fold in US8K), str(audio.parent / "README.txt"))
    (tmp_path / table).write_text(US8K_TABLE)
    for place in (tmp_path, tmp_path / table, tmp_path / audio):
        manifest = read_manifest(place)
        assert all_there(manifest)
        assert manifest.class_names == URBANSOUND8K_CLASSES
        assert told(manifest) == {name: (URBANSOUND8K_CLASSES[number], fold) for name, number, fold in US8K}
        assert "10 classes" in describe_data_set(manifest)
        assert "folds 1–10" in describe_data_set(manifest)  # noqa: RUF001


def test_urbansound8k_without_its_table(tmp_path: Path) -> None:
    touch(tmp_path, *(f"audio/fold{fold}/{name}" for name, _, fold in US8K))
    for place in (tmp_path, tmp_path / "audio"):
        found = told(read_manifest(place))
        assert sorted(found.values()) == sorted((URBANSOUND8K_CLASSES[number], fold) for _, number, fold in US8K)
    touch(tmp_path / "other", "fold0/dog/1.wav", "fold1/dog/1.wav", "fold1/rain/2.wav")
    assert list(told(read_manifest(tmp_path / "other")).values()) == [("dog", 0), ("dog", 1), ("rain", 1)]
    touch(tmp_path / "bare", "audio/fold1/a.wav", "audio/fold2/b.wav")
    assert describe_data_set(read_manifest(tmp_path / "bare")) == "2 sounds, no classes, folds 1–2"  # noqa: RUF001


@pytest.mark.parametrize("genres", ["genres", "Data/genres_original", "."])
def test_gtzan_with_its_lists(genres: str, tmp_path: Path) -> None:
    folder = tmp_path / "gtzan"
    touch(folder, *(f"{genres}/{genre}/{genre}.{n:05}.au" for genre in ("blues", "jazz") for n in range(2)))
    touch(folder, f"{genres}/input.mf", f"{genres}/bextract_single.mf", f"{genres}/features_30_sec.csv")
    place = folder / "Data" if genres.startswith("Data") else folder
    manifest = read_manifest(place)
    assert manifest.class_names == ("blues", "jazz")
    assert [label for label, _ in told(manifest).values()] == ["blues", "blues", "jazz", "jazz"]
    assert "left out: 3 as no sound (" in describe_data_set(manifest)


def test_folders_that_all_share_are_no_part_of_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "up/Data/genres_original/blues/1.wav", "up/Data/genres_original/jazz/1.wav", "up/Data/x.wav")
    manifest = read_manifest(tmp_path)
    assert sorted(label for label, _ in told(manifest).values()) == ["", "blues", "jazz"]
    (tmp_path / "up" / "Data" / "genres_original" / "rock").symlink_to(
        tmp_path / "up" / "Data" / "genres_original" / "jazz"
    )
    assert read_manifest(tmp_path).class_names == ("blues", "jazz")


def test_a_stray_file_takes_no_labels_away_and_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "blues/1.wav", "jazz/1.wav", "list.xyz", "intro.wav")
    manifest = read_manifest(tmp_path)
    assert told(manifest) == {
        "blues/1.wav": ("blues", 0), "jazz/1.wav": ("jazz", 0), "intro.wav": ("", 0), "list.xyz": ("", 0),
    }  # fmt: skip
    assert describe_data_set(manifest) == (
        "4 sounds, 2 classes (blues, jazz), no folds, 2 files without a class: intro.wav, list.xyz"
    )


@pytest.mark.parametrize("above", ["", "speech_commands/v0.02/"])
def test_background_noise_is_no_class_and_lists_are_a_split(above: str, tmp_path: Path) -> None:
    top, up = tmp_path, tmp_path / above
    touch(up, *(f"{word}/{n}_nohash_0.wav" for word in ("no", "yes") for n in range(4)))
    touch(up, "_background_noise_/pink.wav", "_background_noise_/README.md", "LICENSE")
    manifest = read_manifest(top)
    assert manifest.class_names == ("no", "yes")
    assert describe_data_set(manifest).replace(above, "") == (
        "8 sounds, 2 classes (no, yes), no folds; left out: 1 as background noise, which is no class "
        "(_background_noise_/pink.wav), 2 as no sound (LICENSE, _background_noise_/README.md)"
    )
    (up / "validation_list.txt").write_text("no/1_nohash_0.wav\n")
    (up / "testing_list.txt").write_text("no/2_nohash_0.wav\nyes/2_nohash_0.wav\n")
    manifest = read_manifest(top)
    assert manifest.splits == ("train", "validation", "test", "train", "train", "train", "test", "train")
    assert "split: 5 train, 1 validation, 2 test" in describe_data_set(manifest)


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("{split}/{label}", ("train", "validation", "test")),
        ("{label}/{split}", ("Training", "Validation", "Testing")),
        ("data/{split}/{label}", ("train", "val", "eval")),
        ("{split}/audio/{label}", ("TRAIN", "dev", "evaluation")),
        ("{split}/{label}", ("birds-train", "birds-valid", "birds-test")),
    ],
)
def test_a_split_in_folders_is_a_split(place: str, names: tuple[str, ...], tmp_path: Path) -> None:
    for split in names:
        for label in ("dog", "rain"):
            touch(tmp_path, f"{place.format(split=split, label=label)}/{label}.wav")
    touch(tmp_path, "README.md")
    manifest = read_manifest(tmp_path)
    assert manifest.class_names == ("dog", "rain")
    where = {"train": names[0], "validation": names[1], "test": names[2]}
    assert all(where[split or ""] in clip.id for clip, split in zip(manifest.clips, manifest.splits, strict=True))
    assert "split: 2 train, 2 validation, 2 test" in describe_data_set(manifest)
    data = Folds().read(tmp_path, seed=0)
    assert data.splits == {1: list(manifest.splits)}


def test_a_split_without_a_test_or_without_a_training_part(tmp_path: Path) -> None:
    """Development and evaluation, as DCASE calls them; and train and val, as computer vision does."""
    for parts, splits in ((("development", "evaluation"), ("train", "test")), (("train", "val"), ("train", "test"))):
        folder = tmp_path / parts[0]
        touch(folder, *(f"{part}/{label}/1.wav" for part in parts for label in ("dog", "rain")))
        assert read_manifest(folder).splits == tuple(split for split in splits for _ in range(2))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.wav", "bus/1.wav", "car/1.wav")
    assert read_manifest(tmp_path).class_names == ("bus", "car", "train")
    assert parse_split("trainer") is None


PARTS = ("train/{}/1.wav", "test/{}/1.wav")
FOLDS = ("fold1/{}/1.wav", "fold2/{}/1.wav", "fold3/{}/1.wav")


@pytest.mark.parametrize(
    ("layout", "extra"),
    [
        (PARTS, "extra/cat/1.wav"),
        (PARTS, "extra/1.wav"),
        (("{}/train/1.wav", "{}/test/1.wav"), "dog/other/1.wav"),
        (("{}/train/1.wav", "{}/test/1.wav"), "cat/1.wav"),
        (("data/train/{}/1.wav", "data/test/{}/1.wav"), "demo/x.wav"),
        (("birds-train/{}/1.wav", "birds-test/{}/1.wav"), "extra/dog/1.wav"),
        (FOLDS, "extra/x.wav"),
        (FOLDS, "test/dog/x.wav"),
        (("train/fold1/{}.wav", "train/fold2/{}.wav"), "test/x.wav"),
        (("audio/fold1/{}.wav", "audio/fold2/{}.wav"), "audio/other/x.wav"),
    ],
)
def test_folders_beside_a_split_or_folds_cannot_be_meant(layout: tuple[str, ...], extra: str, tmp_path: Path) -> None:
    touch(tmp_path, *(place.format(label) for place in layout for label in ("dog", "rain")), extra)
    place = extra.rpartition("/")[0]
    with pytest.raises(
        FormatError, match=rf"(split into .*test and |folds fold1 and ).*, but holds .* in {place.split('/')[0]}.*; put"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("layout", "stray"),
    [
        (("{}/train/1.wav", "{}/test/1.wav"), "dog/x.wav"),
        (("data/train/{}/1.wav", "data/test/{}/1.wav"), "data/x.wav"),
        (("data/train/{}/1.wav", "data/test/{}/1.wav"), "x.wav"),
        (tuple(f"audio/{place}" for place in FOLDS), "audio/x.wav"),
    ],
)
def test_a_file_beside_a_split_or_folds_is_left_out(layout: tuple[str, ...], stray: str, tmp_path: Path) -> None:
    touch(tmp_path, *(place.format(label) for place in layout for label in ("dog", "rain")))
    before = read_manifest(tmp_path)
    assert before.class_names == ("dog", "rain")
    assert before.splits or len(set(before.folds)) == 3
    touch(tmp_path, stray)
    manifest = read_manifest(tmp_path)
    assert manifest == before
    assert describe_data_set(manifest).endswith(f"left out: 1 as beside the folders of a split or of folds ({stray})")


@pytest.mark.parametrize(
    "layout",
    [
        ("train/{}/1.wav", "holdout/{}/1.wav"),
        ("1/{}/1.wav", "2/{}/1.wav", "3/{}/1.wav"),
        ("data/train-clean-100/{}/1.wav", "data/test-clean/{}/1.wav"),
        ("train-clean-100/{}/1.wav", "dev-clean/{}/2.wav", "test-clean/{}/3.wav"),
    ],
)
def test_what_may_be_a_split_under_other_names_is_told(
    layout: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *(place.format(label) for place in layout for label in ("dog", "rain")))
    assert len(read_manifest(tmp_path).class_names) == 2 * len(layout)
    assert "call them train, validation and test" in caplog.text
    caplog.clear()
    touch(tmp_path / "other", "dogs/big/1.wav", "dogs/small/1.wav", "birds/big/1.wav", "rain/1.wav")
    read_manifest(tmp_path / "other")
    assert not caplog.text


def test_parts_whose_names_differ_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As LibriSpeech's, in which no speaker recurs; it can be read all the same, for its sounds."""
    touch(tmp_path, "train-clean-100/19/198/1.flac", "dev-clean/84/12/1.flac", "test-clean/61/70/1.flac")
    assert len(read_manifest(tmp_path)) == 3
    assert "dev-clean, test-clean and train-clean-100 are taken for no parts of a split" in caplog.text


def test_a_split_in_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "table.csv"
    for column, values in (("split", ("Training", "valid", "eval")), ("fold", ("train", "dev", "test"))):
        rows = (f"{n}.wav,{'xy'[n % 2]},{value}\n" for n, value in enumerate(values))
        table.write_text(f"path,label,{column}\n" + "".join(rows))
        manifest = read_manifest(table)
        assert manifest.splits == ("train", "validation", "test")
        assert [clip.carried for clip in manifest.clips] == [(value,) for value in values]
    table.write_text("path,label,split\na.wav,x,trian\nb.wav,y,train\nc.wav,x,test\n")
    assert read_manifest(table).splits == ()
    assert "column split holds 'trian', which is none of train, validation and test" in caplog.text
    table.write_text("path,label,split,fold\na.wav,x,train,1\nb.wav,y,test,2\n")
    manifest = read_manifest(table)
    assert (manifest.splits, manifest.folds.tolist(), manifest.columns) == ((), [1, 2], ("split",))


def test_hugging_faces_table(tmp_path: Path) -> None:
    touch(tmp_path, "data/1.wav", "data/2.wav")
    (tmp_path / "metadata.csv").write_text("file_name,label\ndata/1.wav,dog\ndata/2.wav,cat\n")
    assert list(told(read_manifest(tmp_path)).values()) == [("dog", 0), ("cat", 0)]
    (tmp_path / "metadata.csv").write_text("about,what\nthese,sounds\n")
    assert list(told(read_manifest(tmp_path))) == ["data/1.wav", "data/2.wav"]
    (tmp_path / "sounds.parquet").touch()
    with pytest.raises(FormatError, match="no table that can be read here; save it as CSV"):
        read_manifest(tmp_path / "sounds.parquet")


def test_sounds_that_the_table_of_a_folder_does_not_name_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "dog/1.wav", "dog/2.wav", "rain/1.wav")
    (tmp_path / "metadata.csv").write_text("file_name,label\ndog/1.wav,dog\n")
    said = "1 sound, 1 class (dog), no folds; left out: 2 as not in metadata.csv (dog/2.wav, rain/1.wav)"
    assert describe_data_set(read_manifest(tmp_path)) == said
    touch(tmp_path / "esc", "audio/1-1-A-0.wav", "audio/2-1-A-0.wav")
    (tmp_path / "esc" / "esc50.csv").write_text("filename,fold,category\n1-1-A-0.wav,1,dog\n")
    for place, name in (("esc", "audio/2-1-A-0.wav"), ("esc/audio", "2-1-A-0.wav")):
        assert describe_data_set(read_manifest(tmp_path / place)).endswith(f"left out: 1 as not in esc50.csv ({name})")


@pytest.mark.parametrize("other", ["./a.wav", "x/../a.wav", "a", "A.wav", "sounds/a.wav"])
def test_two_rows_that_lead_to_the_same_file_are_refused(other: str, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    touch(folder, "a.wav", "b.wav", "x/c.wav")
    (folder / "table.csv").write_text(f"path,label,fold\na.wav,x,1\nb.wav,y,1\n\n{other},y,2\n")
    (folder / "list.txt").write_text(f"a.wav\nb.wav\n\n{other}\n")
    for name, lines in (("table.csv", "2 and 5"), ("list.txt", "1 and 4")):
        if other == "sounds/a.wav":
            (folder / name).write_text((folder / name).read_text().replace("b.wav", "sounds/b.wav"))
        message = rf"a\.wav and {other} in .*{name} \(lines {lines}\) are the same file, .*a\.wav; each sound may"
        with pytest.raises(FormatError, match=message):
            read_manifest(folder / name)


def test_an_over_long_name_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "table.csv").write_text("path\na.wav\n" + "b\\" * 5000 + "b.wav\n")
    assert "1 file not there" in describe_data_set(read_manifest(tmp_path / "table.csv"))


@pytest.mark.parametrize("fold", ["", "nan", "0"])
def test_folds_that_are_none_leave_the_split(fold: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"path,label,fold,split\na.wav,x,{fold},train\nb.wav,y,{fold},test\n")
    manifest = read_manifest(tmp_path / "table.csv")
    assert (manifest.splits, manifest.columns) == (("train", "test"), ("split",))


def test_a_word_for_none_may_be_a_class_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, heading, tab in (("table.csv", "path,label\n", ","), ("list.txt", "", "\t")):
        (tmp_path / name).write_text(heading + f"a.wav{tab}nan\nb.wav{tab}dog\nc.wav{tab}nan\n")
        caplog.clear()
        assert read_manifest(tmp_path / name).class_names == ("dog", "nan")
        assert "'nan' is taken for a class, that of 2 sounds; leave the label empty" in caplog.text


def test_a_remark_before_the_columns_is_told(tmp_path: Path) -> None:
    for text in ("# made by hand\npath,label\na.wav,x\n", "# by hand\npath;label\na.wav;x\n", "#1, 2\npath\na.wav\n"):
        (tmp_path / "table.csv").write_text(text)
        with pytest.raises(FormatError, match="its first line has to name the columns, such as path,label,fold"):
            read_manifest(tmp_path / "table.csv")


def test_a_list_of_which_a_line_says_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d\te.wav")
    (tmp_path / "list.txt").write_text("a.wav\tdog\r\nb.wav\t\r\nc.wav\n", newline="")
    assert told(read_manifest(tmp_path / "list.txt")) == {"a.wav": ("dog", 0), "b.wav": ("", 0), "c.wav": ("", 0)}
    (tmp_path / "list.txt").write_text("path\tlabel\na.wav\tdog\nb.wav\train\n")
    assert told(read_manifest(tmp_path / "list.txt")) == {"a.wav": ("dog", 0), "b.wav": ("rain", 0)}
    (tmp_path / "list.txt").write_text("a.wav\nd\te.wav\n")
    assert told(read_manifest(tmp_path / "list.txt")) == {"a.wav": ("", 0), "d\te.wav": ("", 0)}


def test_a_list_may_say_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "input.mf").write_text("a.wav\tdog\nb.wav\train\n")
    assert told(read_manifest(tmp_path / "input.mf")) == {"a.wav": ("dog", 0), "b.wav": ("rain", 0)}


def test_linked_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "disk/dog/1.wav", "data/cat/1.wav")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "disk" / "dog")
    (tmp_path / "data" / "newest").symlink_to("cat")
    (tmp_path / "data" / "gone").symlink_to("nirvana")
    manifest = read_manifest(tmp_path / "data")
    assert told(manifest) == {"cat/1.wav": ("cat", 0), "dog/1.wav": ("dog", 0)}
    assert describe_data_set(manifest) == (
        "2 sounds, 2 classes (cat, dog), no folds; left out: 1 as the same folder as another (newest, which is cat), "
        "1 as not to be read (gone leads nowhere (nirvana is not there))"
    )
    (tmp_path / "data" / "hound").symlink_to(tmp_path / "disk" / "dog")
    with pytest.raises(FormatError, match=r"hound and dog in .* are links to the same folder, .* remove one"):
        read_manifest(tmp_path / "data")


def test_what_is_said_and_what_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "table.csv").write_text("path,lable\na.wav,x\nb.wav,y\n")
    manifest = read_manifest(tmp_path / "table.csv")
    with caplog.at_level(logging.INFO):
        announce(tmp_path / "table.csv", manifest)
    said = "table.csv: 2 sounds, no classes, no folds, other columns: lable, 1 file not there: b.wav"
    assert caplog.messages[0].endswith(said)
    with pytest.raises(SettingsError, match="none of the sounds has a label"):
        require_classes(manifest)
    (tmp_path / "table.csv").write_text("path,label\nb.wav,x\nc.wav,x\n")
    manifest = read_manifest(tmp_path / "table.csv")
    with pytest.raises(MediaError, match=r"none of the 2 sounds could be read, such as: .*b\.wav is not there"):
        announce(tmp_path / "table.csv", manifest)
    with pytest.raises(SettingsError, match="all labelled sounds are 'x'; at least two classes"):
        require_classes(manifest)


@pytest.mark.parametrize("fold", ["-1", "1.5", "first", "1e3"])
def test_what_is_no_fold(fold: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"path,label,fold\na.wav,x,{fold}\nb.wav,y,2\n")
    with pytest.raises(FormatError, match=f"fold is '{fold}' where a whole number is expected"):
        read_manifest(tmp_path / "table.csv")


def test_tables_that_are_none(tmp_path: Path) -> None:
    for content in (codecs.BOM_UTF16_LE + b"a", b"RIFF\0\0\0\0WAVE", "pä".encode("latin-1"), b""):
        (tmp_path / "table.csv").write_bytes(content)
        with pytest.raises(SoundNetKDError):
            read_manifest(tmp_path / "table.csv")


@pytest.mark.real
def test_the_real_esc50_in_every_shape(real_data: Path, tmp_path: Path) -> None:
    esc50 = real_data / "esc50"
    wanted = {clip.id: (clip.label, clip.fold) for clip in read_manifest(esc50).clips}
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "audio").symlink_to(esc50 / "audio")
    (tmp_path / "esc50.csv").write_bytes((esc50 / "meta" / "esc50.csv").read_bytes())
    (tmp_path / "clips").symlink_to(esc50 / "audio")
    for place in (esc50 / "audio", esc50 / "meta" / "esc50.csv", tmp_path, tmp_path / "clips"):
        manifest = read_manifest(place)
        assert {clip.id: (clip.label, clip.fold) for clip in manifest.clips} == wanted
        assert all_there(manifest)
        assert describe_data_set(manifest).endswith("and 40 more), folds 1–5")  # noqa: RUF001
