"""Classes and sounds whose names look like something else are called by these names from the table to the page."""

import csv
import json
from pathlib import Path

from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.commands.project import project
from soundnet_kd.commands.report import report
from soundnet_kd.data import read_manifest
from soundnet_kd.features import FeatureCache
from tests.analysis.caches import write_cache
from tests.report.runs import LABELS, features, make_sounds

NAMES = ("007", "nan", "None")


def test_names_that_look_like_numbers_or_nothing_stay_names(tmp_path: Path) -> None:
    files = [path.name for path in make_sounds(tmp_path / "sounds")]
    with (tmp_path / "sounds" / "table.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(
            [
                ("path", "label", "fold"),
                *(
                    (file, NAMES[label], index % 2 + 1)
                    for index, (file, label) in enumerate(zip(files, LABELS, strict=True))
                ),
            ]
        )
    manifest = read_manifest(tmp_path / "sounds" / "table.csv")
    assert manifest.class_names == ("007", "None", "nan")
    labels = [clip.label for clip in manifest.clips if clip.label is not None]
    folds = [clip.fold for clip in manifest.clips if clip.fold is not None]
    run = tmp_path / "1e5"
    run.mkdir()
    paths = [Path(str(clip.path)) for clip in manifest.clips]
    cache = write_cache(run / "features.h5", features(), labels, folds, manifest.class_names, paths)
    wanted = [NAMES[label] for label in LABELS]
    with FeatureCache(cache) as opened:
        assert list(opened.to_pandas("pool5")["label"]) == wanted
    evaluate(cache, run / "results")
    assert json.loads((run / "results" / "results.json").read_text())["classes"] == list(manifest.class_names)
    assert column(run / "results" / "predictions.csv", "label") == wanted
    assert set(column(run / "results" / "classes.csv", "class")) == set(NAMES)
    neurons(cache, run / "neurons", layers=["pool5"], shuffles=20)
    assert set(column(run / "neurons" / "neurons.csv", "best class")) <= set(NAMES)
    project(cache, run / "maps", layers=["pool5"])
    assert column(run / "maps" / "map_pool5.csv", "label") == wanted
    page = report(run).page
    clips = (page.parent / "data" / "clips.js").read_text()
    found = json.loads(clips[clips.index(",") + 1 : clips.rindex(")")])
    assert found["classes"] == list(manifest.class_names)


def column(table: Path, name: str) -> list[str]:
    with table.open(newline="", encoding="utf-8") as handle:
        return [row[name] for row in csv.DictReader(handle)]
