"""The command `report`: what it finds, what it leaves out, and what it says."""

import base64
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from soundnet_kd.analysis.neurons.chance import ShuffledLabels
from soundnet_kd.analysis.neurons.file import write_neurons
from soundnet_kd.analysis.neurons.statistics import neuron_statistics
from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.commands.report import report
from soundnet_kd.data.datasets.esc50 import ESC50_CLASSES
from soundnet_kd.errors import SettingsError
from soundnet_kd.features import FeatureCache
from soundnet_kd.storage import write_json
from tests.analysis.caches import write_cache
from tests.report.runs import CLASS_NAMES, LABELS, features, make_sounds

FOLDS = [1 + clip % 2 for clip in range(len(LABELS))]


def data_of(page: Path, name: str) -> Any:
    """Read a script of data as the page gets it: one call with a name and the data."""
    text = (page.parent / "data" / f"{name}.js").read_text(encoding="ascii")
    start, end = f'provide("{name}",', ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def unpacked(value: dict[str, Any]) -> NDArray[np.int64]:
    numbers = np.frombuffer(base64.b64decode(value["data"]), f"<u{value['bits'] // 8}")
    return numbers.reshape(value["shape"]).astype(np.int64)


def sections_of(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [part.partition('"')[0] for part in text.split('<section id="')[1:]]


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    return make_sounds(tmp_path / "sounds")


def cache_in(
    folder: Path, sounds: list[Path], labels: list[int] = LABELS, classes: tuple[str, ...] = CLASS_NAMES
) -> Path:
    folder.mkdir()
    return write_cache(folder / "features.h5", features(), labels, FOLDS, classes, sounds)


def test_all_that_the_commands_wrote_is_on_the_page(run: Path) -> None:
    page = run / "report" / "index.html"
    assert sections_of(page) == ["overview", "classes", "neurons", "map", "clips", "peeled"]
    clips = data_of(page, "clips")
    assert unpacked(clips["labels"]).tolist() == [label + 1 for label in LABELS]
    assert clips["seconds"] == [0.5] * len(LABELS)
    assert clips["categories"] is None
    neurons = data_of(page, "neurons-1")
    pool5 = features()["pool5"]
    assert unpacked(neurons["top"])[0].tolist() == np.argsort(-pool5[:, 0], kind="stable")[:9].tolist()
    assert neurons["max"] == pytest.approx(pool5.max(axis=0), rel=1e-3)
    # A quarter of the clips lies above the 75 % line: 6 of 24, and of neuron 0 all of these are cats or look like them.
    assert neurons["expected"] == 6
    assert unpacked(neurons["counts"])[0].sum() == 6
    for figure in ("figures/maps/map_pool5", "figures/results/confusion_pool5", "figures/results/confusion_conv1"):
        assert (page.parent / f"{figure}.png").is_file()
        assert (page.parent / f"{figure}.svg").is_file()


def test_the_top_has_one_neuron_for_each_class_that_is_told_above_chance(run: Path) -> None:
    """By the table that `neurons` wrote: of each class the neuron of pool5 with the largest share."""
    with (run / "neurons" / "neurons.csv").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if (row["layer"], row["above chance"]) == ("pool5", "yes")]
    selective = data_of(run / "report" / "index.html", "sections")["overview"]["neurons"]
    assert sorted(each["class"] for each in selective) == sorted({CLASS_NAMES.index(row["best class"]) for row in rows})
    for each in selective:
        mine = [row for row in rows if row["best class"] == CLASS_NAMES[each["class"]]]
        best = max(float(row["best share"]) for row in mine)
        named = next(row for row in mine if int(row["neuron"]) == each["neuron"])
        assert float(named["best share"]) == best == pytest.approx(each["share"], abs=1e-4)
        assert len(each["clips"]) == 2
    shares = [each["share"] for each in selective]
    assert shares == sorted(shares, reverse=True)


def test_confusion_is_that_of_the_evaluation(run: Path) -> None:
    classes = data_of(run / "report" / "index.html", "classes-0")
    content = json.loads((run / "results" / "results.json").read_text(encoding="utf-8"))
    for result in content["results"]:
        assert unpacked(classes[result["layer"]]["confusion"]).tolist() == result["confusion"]


def test_sections_without_data_are_absent_and_said(tmp_path: Path, sounds: list[Path]) -> None:
    cache = cache_in(tmp_path / "run", sounds)
    result = report(tmp_path / "run")
    assert sections_of(result.page) == ["overview", "clips"]
    assert f"neurons with `soundnet-kd neurons {cache} --out {tmp_path / 'run' / 'neurons'}`" in str(result)
    assert str(result).splitlines()[-1] == f"wrote {result.page}: overview, clips; {len(LABELS)} clips"


def test_unlabeled_sounds_can_be_looked_at_too(tmp_path: Path, sounds: list[Path]) -> None:
    cache_in(tmp_path / "run", sounds, [-1] * len(LABELS), ())
    result = report(tmp_path / "run")
    assert sections_of(result.page) == ["overview", "clips"]
    assert result.hints == ()
    assert unpacked(data_of(result.page, "clips")["labels"]).max() == 0


def test_results_alone_play_where_the_sounds_are_named(tmp_path: Path, sounds: list[Path]) -> None:
    evaluate(cache_in(tmp_path / "elsewhere", sounds), tmp_path / "run" / "results", layers=["pool5"])
    silent = report(tmp_path / "run")
    assert (silent.clips, silent.silent) == (len(LABELS), len(LABELS))
    assert "give the sounds with --sounds" in data_of(silent.page, "clips")["reasons"]["0"]
    heard = report(tmp_path / "run", sounds=tmp_path / "sounds")
    assert sections_of(heard.page) == ["overview", "classes", "clips"]
    assert heard.silent == 0


def test_sounds_that_are_gone_are_counted_and_named(tmp_path: Path, sounds: list[Path]) -> None:
    cache_in(tmp_path / "run", sounds)
    sounds[2].unlink()
    result = report(tmp_path / "run")
    assert "1 of which cannot be played" in str(result)
    clips = data_of(result.page, "clips")
    assert clips["files"][2] is None
    assert "clip 2.wav does not exist" in clips["reasons"]["2"]


def test_moved_sounds_are_found_again(tmp_path: Path, sounds: list[Path]) -> None:
    cache_in(tmp_path / "run", sounds)
    (tmp_path / "sounds").rename(tmp_path / "moved")
    assert report(tmp_path / "run", sounds=tmp_path / "moved").silent == 0


def test_made_again_it_keeps_what_is_there_and_drops_what_is_not(tmp_path: Path, sounds: list[Path]) -> None:
    cache = cache_in(tmp_path / "run", sounds)
    evaluate(cache, tmp_path / "run" / "results")
    page = report(tmp_path / "run").page
    before = {file.name: file.stat().st_mtime_ns for file in (page.parent / "sounds").iterdir()}
    assert len(before) == len(LABELS)
    shutil.rmtree(tmp_path / "run" / "results")
    report(tmp_path / "run")
    assert {file.name: file.stat().st_mtime_ns for file in (page.parent / "sounds").iterdir()} == before
    assert sections_of(page) == ["overview", "clips"]
    assert not (page.parent / "data" / "classes-0.js").exists()
    assert not list((page.parent / "figures").rglob("*.png"))


def test_a_report_in_the_run_is_no_part_of_it(tmp_path: Path, sounds: list[Path]) -> None:
    cache_in(tmp_path / "run", sounds)
    first = report(tmp_path / "run").page.read_text(encoding="utf-8")
    report(tmp_path / "run", out=tmp_path / "run" / "another")
    assert report(tmp_path / "run").page.read_text(encoding="utf-8") == first


def test_the_page_is_about_the_features_that_most_was_made_from(tmp_path: Path, sounds: list[Path]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    labels = [-1, *LABELS[1:]]
    other = write_cache(run / "a.h5", {"conv1": features()["conv1"]}, labels, FOLDS, CLASS_NAMES, sounds)
    wanted = write_cache(run / "b.h5", features(), LABELS, FOLDS, CLASS_NAMES, sounds)
    evaluate(wanted, run / "results", layers=["pool5"])
    page = report(run).page
    assert data_of(page, "sections")["clips"]["layers"] == ["conv1", "pool5"]
    report(run, features=other)
    assert data_of(page, "sections")["clips"]["layers"] == ["conv1"]
    with pytest.raises(SettingsError, match=r"c\.h5 is no features file in .*; there are .*a\.h5"):
        report(run, features=run / "c.h5")


def test_the_best_of_the_pages_network_and_sounds_is_at_the_top(tmp_path: Path, sounds: list[Path]) -> None:
    """Whichever file of its features it was made from; what another network gave comes below, however good it is."""
    run = tmp_path / "run"
    run.mkdir()
    noise = {"conv1": np.random.default_rng(0).normal(size=features()["pool5"].shape).astype(np.float32)}
    wanted = write_cache(run / "a.h5", noise, LABELS, FOLDS, CLASS_NAMES, sounds)
    other = write_cache(run / "b.h5", {"pool5": features()["pool5"]}, LABELS, FOLDS, CLASS_NAMES, sounds)
    stranger = write_cache(run / "c.h5", features(), LABELS, FOLDS, CLASS_NAMES, sounds, architecture="SoundNet8")
    evaluate(wanted, run / "worse")
    evaluate(other, run / "better")
    evaluate(stranger, run / "another", layers=["pool5"])
    page = report(run, features=wanted).page.read_text(encoding="utf-8")
    places = [page.index(f"<b>{name}</b>") for name in ("better", "worse", "another")]
    assert places == sorted(places)


def test_long_sounds_are_cut(tmp_path: Path, sounds: list[Path]) -> None:
    cache_in(tmp_path / "run", sounds)
    page = report(tmp_path / "run", clip_seconds=0.25).page
    assert data_of(page, "clips")["seconds"] == [0.25] * len(LABELS)


def test_what_cannot_be_reported_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no folder .*nothing; give the folder"):
        report(tmp_path / "nothing")
    with pytest.raises(SettingsError, match="holds nothing to report on"):
        report(tmp_path)
    with pytest.raises(SettingsError, match="clip_seconds is 0"):
        report(tmp_path, clip_seconds=0)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, sounds: list[Path]) -> None:
    """A report removes what it has no use for from its own folder; `sounds` here holds the data set."""
    cache_in(tmp_path / "run", sounds)
    with pytest.raises(SettingsError, match="is not empty and holds no report; choose another --out"):
        report(tmp_path / "run", out=tmp_path)
    assert all(path.is_file() for path in sounds)
    (tmp_path / "empty").mkdir()
    assert report(tmp_path / "run", out=tmp_path / "empty").silent == 0


def test_one_broken_file_takes_no_more_than_itself(tmp_path: Path, sounds: list[Path]) -> None:
    run = tmp_path / "run"
    cache = cache_in(run, sounds)
    evaluate(cache, run / "results", layers=["pool5"])
    neurons(cache, run / "neurons", layers=["pool5"], shuffles=10)
    (run / "neurons" / "neurons.h5").write_bytes((run / "neurons" / "neurons.h5").read_bytes()[:3000])
    (run / "gone.csv").symlink_to(run / "nowhere.csv")
    (run / "wide.csv").write_text("x" * 200_000, encoding="utf-8")
    for name, history in {"a": "loss\n1\n", "b": "step,loss\n1,high\n", "c": "step,loss\n"}.items():
        (run / name).mkdir()
        (run / name / "history.csv").write_text(history, encoding="utf-8")
    write_json(run / "c" / "results.json", {"tags": 3})
    (run / "a" / "peel.h5").touch()
    result = report(run)
    assert sections_of(result.page) == ["overview", "classes", "clips"]
    assert result.skipped.keys() == {"a", "b", "neurons"}
    assert "left out: b (could not convert string to float: 'high')" in str(result)
    assert "Left out: b (could not convert" in result.page.read_text(encoding="utf-8")


def test_the_papers_figures_stand_beside_soundnet8_only(tmp_path: Path, sounds: list[Path]) -> None:
    labels = [clip % 4 for clip in range(len(LABELS))]
    cache = cache_in(tmp_path / "run", sounds, labels, ESC50_CLASSES)
    evaluate(cache, tmp_path / "run" / "results", layers=["pool5"])
    assert "72.9 %" not in report(tmp_path / "run").page.read_text(encoding="utf-8").partition("Published on")[0]
    file = tmp_path / "run" / "results" / "results.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["source"]["identity"]["student"]["architecture"] = "SoundNet8"
    write_json(file, content)
    assert "72.9 %" in report(tmp_path / "run").page.read_text(encoding="utf-8").partition("Published on")[0]


def test_a_training_shows_its_curves_fold_by_fold(tmp_path: Path) -> None:
    folder = tmp_path / "finetuned"
    folder.mkdir()
    (folder / "history.csv").write_text(
        "fold,step,train/loss,train/accuracy\n1,1,2.5,0.1\n1,2,1.5,0.5\n2,1,2.0,\n", encoding="utf-8"
    )
    write_json(folder / "finetune.json", {"settings": {"epochs": 2, "layer": "pool5"}, "versions": {"torch": "2.8"}})
    page = report(tmp_path).page
    assert sections_of(page) == ["overview", "training"]
    assert data_of(page, "sections")["training"] == [
        {
            "objectives": [],
            "curves": [
                {"figure": "train/loss", "training": "fold 1", "steps": [1.0, 2.0], "values": [2.5, 1.5]},
                {"figure": "train/accuracy", "training": "fold 1", "steps": [1.0, 2.0], "values": [0.1, 0.5]},
                {"figure": "train/loss", "training": "fold 2", "steps": [1.0], "values": [2.0]},
            ],
        }
    ]
    assert "<dt>settings: epochs</dt><dd>2</dd>" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_esc50_is_below_10_megabytes(tmp_path: Path) -> None:
    """2000 clips of 50 classes, and the eleven layers of SoundNet8 with 1000 objects and 401 scenes."""
    channels = (16, 16, 32, 32, 64, 128, 256, 256, 512, 1024, 1401)
    rng = np.random.default_rng(0)
    layers = {f"layer{place}": rng.random((2000, count)).astype(np.float32) for place, count in enumerate(channels)}
    labels = [clip // 40 for clip in range(2000)]
    run = tmp_path / "run"
    run.mkdir()
    classes = tuple(f"a class of sounds {number}" for number in range(50))
    cache = write_cache(run / "features.h5", layers, labels, [1 + clip % 5 for clip in range(2000)], classes)
    truth, shuffled = np.array(labels), ShuffledLabels(np.array(labels), shuffles=100)
    found = {name: neuron_statistics(values, truth, classes) for name, values in layers.items()}
    chances = {name: shuffled.judge(each) for name, each in found.items()}
    with FeatureCache(cache) as features:
        settings = {"layers": list(layers), "percentile": 95.0, "shuffles": 100}
        source = {"features": features.identity, "settings": settings}
        write_json(run / "neurons" / "neurons.json", source)
        write_neurons(run / "neurons" / "neurons.h5", found, chances, features.ids, truth, source)
    page = report(run).page
    assert "neurons" in sections_of(page)
    beside = {"sounds", "figures"}
    size = sum(
        file.stat().st_size
        for file in page.parent.rglob("*")
        if file.is_file() and file.relative_to(page.parent).parts[0] not in beside
    )
    assert size < 10_000_000
