"""The layouts of data sets: which sounds they name, what each is for, and what they make of a broken one."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundnet_kd.data.datasets.cats_dogs import CatsDogs
from soundnet_kd.data.datasets.folds import Folds
from soundnet_kd.data.datasets.nsynth import NSynth
from soundnet_kd.data.datasets.speech_commands import SpeechCommands, split_by_hash
from soundnet_kd.data.datasets.tagged_tracks import TaggedTracks
from soundnet_kd.data.splits import SplitSounds, draw_split
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.media import write_audio
from tests.media_files import sine


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def split_of(data: SplitSounds, fold: int = 1) -> dict[str, str]:
    return {clip.id: str(split) for clip, split in zip(data.manifest.clips, data.splits[fold], strict=True)}


def test_cats_and_dogs_by_their_names(tmp_path: Path) -> None:
    touch(*(tmp_path / f"cat_{number}.ogg" for number in range(1, 168)))
    touch(*(tmp_path / f"dog_barking_{number}.ogg" for number in range(112)))
    data = CatsDogs().read(tmp_path, seed=0)
    assert data.manifest.class_names == ("cat", "dog")
    splits = split_of(data)
    tested = {name for name, split in splits.items() if split == "test"}
    assert tested == {f"cat_{n}.ogg" for n in (163, 164, 165, 166, 167)} | {f"dog_barking_{n}.ogg" for n in range(5)}
    counts = Counter((name[:3], split) for name, split in splits.items() if split != "test")
    # A quarter of 162 and of 107, rounded.
    assert counts == {("cat", "validation"): 40, ("cat", "train"): 122, ("dog", "validation"): 27, ("dog", "train"): 80}
    assert split_of(CatsDogs().read(tmp_path, seed=0)) == splits
    assert split_of(CatsDogs().read(tmp_path, seed=1)) != splits


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat_1.ogg", "dog_1.ogg"], "lacks cat_163, which is to be tested on; did you mean 'cat_1'"),
        (["cat_1.ogg", "cow.ogg"], r"cow.ogg does not say its class; call it CLASS_N"),
    ],
)
def test_names_that_cats_and_dogs_cannot_have(names: list[str], message: str, tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in names))
    with pytest.raises(FormatError, match=message):
        CatsDogs().read(tmp_path, seed=0)


def test_each_fold_is_tested_by_the_others(tmp_path: Path) -> None:
    rows = [f"{number}.wav,{'ab'[number % 2]},{1 + number // 4},{number // 2}" for number in range(12)]
    table = tmp_path / "sounds.csv"
    table.write_text("\n".join(["path,label,fold,src_file", *rows, "none.wav,,1,9"]), encoding="utf-8")
    data = Folds(validation_share=0.5).read(table, seed=0)
    assert data.unusable == {"none.wav": "it has no label"}
    for fold in (1, 2, 3):
        splits = split_of(data, fold)
        assert {name for name, split in splits.items() if split == "test"} == {
            f"{number}.wav" for number in range(4 * (fold - 1), 4 * fold)
        }
        for number in range(0, 12, 2):  # Both are cut from one recording.
            assert splits[f"{number}.wav"] == splits[f"{number + 1}.wav"]
        assert set(splits.values()) == {"train", "validation", "test"}
    assert set(split_of(Folds().read(table, seed=0), 1).values()) == {"train", "test"}


def test_folds_that_are_not_there(tmp_path: Path) -> None:
    table = tmp_path / "sounds.csv"
    table.write_text("path,label\na.wav,x\nb.wav,y\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="labelled sounds of 1 fold; this recipe needs two"):
        Folds().read(table, seed=0)
    table.write_text("path,label,fold\na.wav,x,1\nb.wav,y,\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"1 labelled clips of .* have no fold"):
        Folds().read(table, seed=0)


def test_tracks_with_their_tags(tmp_path: Path) -> None:
    table = tmp_path / "tracks.csv"
    rows = ["a.ogg,Drama;Thriller,train", "b.ogg, Comedy ,test", "c.ogg,Thriller,validation", "d.ogg,Western,train"]
    table.write_text("\n".join(["path,tags,split", *rows, "e.ogg,,train"]), encoding="utf-8")
    data = TaggedTracks(tags=("Comedy", "Drama", "Thriller")).read(tmp_path, seed=0)
    assert data.manifest.class_names == ("Comedy", "Drama", "Thriller")
    assert split_of(data) == {"a.ogg": "train", "b.ogg": "test", "c.ogg": "validation"}
    assert data.targets.tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 1]]
    assert set(data.unusable) == {"d.ogg", "e.ogg"}
    assert TaggedTracks().read(table, seed=0).manifest.class_names == ("Comedy", "Drama", "Thriller", "Western")
    with pytest.raises(SettingsError, match=r"no track of .* has the tag 'Wastern'; did you mean 'Western'"):
        TaggedTracks(tags=("Wastern", "Drama")).read(table, seed=0)
    table.write_text("path,tags,split\na.ogg,Drama;Comedy,trian\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"a.ogg has the split 'trian'; did you mean 'train'"):
        TaggedTracks().read(table, seed=0)
    table.write_text("path,tag\na.ogg,Drama\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"has no column 'tags'.*should 'tag' be called that"):
        TaggedTracks().read(table, seed=0)


def test_a_column_set_may_say_something_else_of_tracks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "tracks.csv"
    rows = "a.ogg,x,{}\nb.ogg,y,{}\nc.ogg,x;y,{}\n"
    for column in ("set", "subset", "partition"):
        table.write_text(f"path,tags,{column}\n" + rows.format("train", "val", "test"))
        assert list(split_of(TaggedTracks().read(table, seed=0)).values()) == ["train", "validation", "test"]
        table.write_text(f"path,tags,{column}\n" + rows.format("mtat", "gtzan", "mtat"))
        data = TaggedTracks(validation_share=0.0, test_share=0.3).read(table, seed=0)
        assert sorted(split_of(data).values()) == ["test", "train", "train"]
        assert data.manifest.columns == ()
    assert not caplog.text
    table.write_text("path,tags,set\n" + rows.format("train", "tset", "test"))
    TaggedTracks().read(table, seed=0)
    assert "column set holds 'tset', which is none of train, validation and test" in caplog.text


def test_a_table_that_splits_otherwise_is_another_data_set(tmp_path: Path) -> None:
    """Else a run that is taken up would test a part of its networks on what the others learned from."""
    table = tmp_path / "tracks.csv"
    table.write_text("path,tags,split\na.ogg,x,train\nb.ogg,y,test\n", encoding="utf-8")
    before = TaggedTracks().read(table, seed=0).identity
    assert TaggedTracks().read(table, seed=1).identity == before
    table.write_text("path,tags,split\na.ogg,x,test\nb.ogg,y,train\n", encoding="utf-8")
    assert TaggedTracks().read(table, seed=0).identity != before


def test_tracks_without_a_split_are_given_one(tmp_path: Path) -> None:
    table = tmp_path / "tracks.csv"
    table.write_text("\n".join(["path,tags", *(f"{n}.ogg,{'xy'[n % 2]}" for n in range(40))]), encoding="utf-8")
    counts = Counter(split_of(TaggedTracks(validation_share=0.25, test_share=0.1).read(table, seed=2)).values())
    assert counts == {"train": 26, "validation": 10, "test": 4}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "tags",
    [
        [f"common{';rare' if track < 2 else ''}" for track in range(10)],
        [f"genre {track // 2}" for track in range(20)],
        [f"rare {track // 2}{';never alone' if track % 2 else ''}" for track in range(6)],
    ],
)
def test_every_tag_is_learned_from_and_shares_are_of_all_tracks(tmp_path: Path, tags: list[str], seed: int) -> None:
    table = tmp_path / "tracks.csv"
    rows = [f"{track}.ogg,{mine}" for track, mine in enumerate(tags)]
    table.write_text("\n".join(["path,tags", *rows]), encoding="utf-8")
    data = TaggedTracks(validation_share=0.2, test_share=0.3).read(table, seed)
    splits = np.array(list(split_of(data).values()))
    assert (data.targets[splits == "train"].sum(axis=0) > 0).all()
    counts = Counter(splits.tolist())
    most = len(tags) - counts["train"]
    # Of the last table's six tracks only three can be spared at most.
    assert counts["test"] == round(0.3 * len(tags))
    assert most == round(0.3 * len(tags)) + round(0.2 * len(tags))


def write_notes(folder: Path, families: list[str], missing: tuple[int, ...] = ()) -> None:
    notes = {}
    for number, family in enumerate(families):
        name = f"{family}_acoustic_{number:03d}-060-100"
        notes[name] = {
            "instrument_family_str": family,
            "instrument_str": f"{family}_acoustic_{number:03d}",
            "pitch": 60,
        }
        if number not in missing:
            touch(folder / "audio" / f"{name}.wav")
    (folder / "examples.json").write_text(json.dumps(notes), encoding="utf-8")


def test_nsynth_notes_by_family(tmp_path: Path) -> None:
    write_notes(tmp_path / "nsynth-valid", ["bass"] * 10 + ["flute"] * 10 + ["synth_lead"] * 4, missing=(3,))
    write_notes(tmp_path / "nsynth-test", ["flute", "bass"])
    touch(tmp_path / "nsynth-test" / "audio" / "stray.wav")
    data = NSynth().read(tmp_path, seed=0)
    assert data.manifest.class_names == ("bass", "flute")
    assert dict(data.unusable) == {
        "nsynth-valid/bass_acoustic_003-060-100": "examples.json names it, but there is no such file in audio",
        "nsynth-test/stray": "examples.json does not name it",
    }
    # A third of 9 and of 10 notes, rounded.
    assert Counter(split_of(data).values()) == {"train": 13, "validation": 6, "test": 2}
    assert all((split == "test") == name.startswith("nsynth-test/") for name, split in split_of(data).items())
    assert data.manifest.columns == ("instrument_str", "instrument_source_str", "pitch", "velocity")
    assert NSynth(left_out=()).read(tmp_path, seed=0).manifest.class_names == ("bass", "flute", "synth_lead")


def test_what_is_no_nsynth(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nsynth-valid holds no examples.json; unpack NSynth's"):
        NSynth().read(tmp_path, seed=0)
    for name in ("nsynth-valid", "nsynth-test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "examples.json").write_text('{"a": {"pitch": 60}}')
    with pytest.raises(FormatError, match="does not give each note its instrument_family_str"):
        NSynth().read(tmp_path, seed=0)
    for name in ("nsynth-valid", "nsynth-test"):
        write_notes(tmp_path / name, ["synth_lead", "bass"], missing=(1,))
    with pytest.raises(FormatError, match="has no note of nsynth-valid and nsynth-test that could be used"):
        NSynth().read(tmp_path, seed=0)


SPEAKERS = {
    "train": ("00f0204f", "00176480"),
    "validation": ("026290a7", "060cd039"),
    "test": ("0c40e715", "0ea0e2f4"),
}
"""Speakers of the published data set, and the lists that they stand in."""


def test_the_published_rule_of_speakers() -> None:
    for split, speakers in SPEAKERS.items():
        assert [split_by_hash(speaker) for speaker in speakers] == [split, split]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Two words and two others by six speakers, and two noises."""
    for word in ("yes", "no", "bird", "tree"):
        for speakers in SPEAKERS.values():
            touch(*(tmp_path / word / f"{speaker}_nohash_{take}.wav" for speaker in speakers for take in range(5)))
    for number, seconds in enumerate((20.0, 30.0)):
        write_audio(tmp_path / "_background_noise_" / f"{number}.wav", sine(300, seconds, 8000), 8000)
    touch(tmp_path / "_background_noise_" / "README.md", tmp_path / "LICENSE")
    return tmp_path


TWO = SpeechCommands(words=("yes", "no"))


def test_words_unknown_and_silence(words: Path) -> None:
    data = TWO.read(words, seed=0)
    assert data.manifest.class_names == ("yes", "no", "unknown", "silence")
    counts = Counter(
        (split, data.manifest.class_names[clip.label])
        for clip, split in zip(data.manifest.clips, data.splits[1], strict=True)
    )
    for split in ("train", "validation", "test"):
        # Of 20 clips of the words, a tenth.
        assert [counts[split, name] for name in data.manifest.class_names] == [10, 10, 2, 2]
    sides: dict[str, set[str]] = {}
    for clip, split in zip(data.manifest.clips, split_of(data).values(), strict=True):
        if clip.carried[0]:
            sides.setdefault(clip.carried[0], set()).add(split)
    assert sides == {speaker: {split} for split, speakers in SPEAKERS.items() for speaker in speakers}
    other = TWO.read(words, seed=1)
    assert len(other.manifest) == len(data.manifest)
    # Another seed draws other seconds, and these are clips of their own.
    assert len(data.segments) == len(other.segments) == 6
    assert not data.segments.keys() & other.segments.keys()
    none = replace(TWO, unknown_share=0.0, silence_share=0.0).read(words, seed=0)
    assert none.manifest.class_names == ("yes", "no")


def test_no_second_of_noise_is_heard_on_two_sides(words: Path) -> None:
    data = replace(TWO, silence_share=2.0).read(words, seed=0)
    length = {"0.wav": 20.0, "1.wav": 30.0}
    spans: dict[str, list[tuple[float, float]]] = {}
    for clip, split in zip(data.manifest.clips, split_of(data).values(), strict=True):
        if clip.id in data.segments:
            part = data.segments[clip.id]
            assert part.seconds == 1.0
            share = length[clip.path.name]
            spans.setdefault(split, []).append((part.start_seconds / share, (part.start_seconds + 1) / share))
    for side, (first, last) in {"train": (0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1)}.items():
        assert len(spans[side]) == 40
        assert min(start for start, _ in spans[side]) >= first - 1e-4
        assert max(end for _, end in spans[side]) <= last + 1e-4


def test_lists_decide_where_they_are_and_never_part_a_speaker(words: Path, caplog: pytest.LogCaptureFixture) -> None:
    (words / "testing_list.txt").write_text("yes/00f0204f_nohash_0.wav\nyes/0c40e715_nohash_0.wav\n")
    (words / "validation_list.txt").write_text("no/00176480_nohash_1.wav\n")
    with caplog.at_level(logging.WARNING):
        data = TWO.read(words, seed=0)
    assert "put 3 speakers on two sides" in caplog.text
    assert [clip.carried[1] for clip in data.manifest.clips] == data.splits[1]
    sides = {clip.carried[0]: split for clip, split in zip(data.manifest.clips, data.splits[1], strict=True)}
    del sides[""]
    assert sides == {
        "00f0204f": "test", "0c40e715": "test", "00176480": "validation", "026290a7": "train", "060cd039": "train",
        "0ea0e2f4": "train",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "yes").rename(folder / "yess"), "no folder of the word 'yes'; did you mean 'yess'"),
        (
            lambda folder: [file.unlink() for file in (folder / "_background_noise_").glob("*.wav")],
            'holds no recording of ten seconds; it is needed for "silence"',
        ),
    ],
)
def test_what_is_no_folder_of_words(spoil: Callable[[Path], object], message: str, words: Path) -> None:
    spoil(words)
    with pytest.raises(SettingsError, match=message):
        TWO.read(words, seed=0)


def test_what_cannot_be_asked_of_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nirvana is no folder; give one with a sub-folder for each word"):
        TWO.read(tmp_path / "nirvana", seed=0)
    with pytest.raises(SettingsError, match="has no folder of the word 'yes'; there are none"):
        TWO.read(tmp_path, seed=0)
    for share in ("unknown_share", "silence_share"):
        with pytest.raises(SettingsError, match=rf"data\.speech_commands\.{share} is -0.1; it has to be at least 0"):
            SpeechCommands(**{share: -0.1})  # type: ignore[arg-type]


def test_drawing_leaves_one_of_each_class_to_learn_from() -> None:
    labels = np.array([0] * 8 + [1] * 2 + [2])
    splits = np.array(draw_split(labels, {"test": 0.4, "validation": 0.4}, seed=0))
    assert Counter(splits[:8]) == {"train": 2, "test": 3, "validation": 3}
    assert Counter(splits[8:10]) == {"train": 1, "test": 1}
    assert splits[10] == "train"
    with pytest.raises(SettingsError, match="their sum below 1"):
        draw_split(labels, {"test": 0.5, "validation": 0.5}, seed=0)
