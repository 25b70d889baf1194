"""Transfer against scratch in one table: a student's layers, fine-tuned or not, and a network from scratch."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet8
from soundnet_kd.cli import main
from soundnet_kd.commands.rank import rank
from soundnet_kd.errors import FormatError, SettingsError
from soundnet_kd.models import Preprocessing, write_network
from soundnet_kd.models.architectures import parameters_up_to
from soundnet_kd.models.finetuned import FinetunedNetwork
from soundnet_kd.transfer.ranking import is_ranking, read_ranking
from tests.supervised.runs import TONES, write_tones

FINETUNE = "--layer conv4 --crop_seconds 0.5 --batch_size 6 --epochs 2 --device cpu --folds_only"
CATS_DOGS_OF_THREE = 50 + 9 * 410 + 10 * 20 + 3 * 10 + 3
"""FACTS.md, section 2, with three outputs."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    sounds = str(write_tones(tmp_path_factory.mktemp("sounds")))
    torch.manual_seed(1)
    student = str(folder / "student.safetensors")
    write_network(SoundNet8({"objects": 3}, Preprocessing(least_samples=11_025)), Path(student), {})
    names = ("features.h5", "transferred", "finetuned", "cats_dogs")
    features, transferred, finetuned, scratch = (str(folder / name) for name in names)
    small = ["training.epochs=1", "sampling.pieces.seconds=0.2", "seeds=[3,4]"]
    for arguments in (
        ["extract", sounds, "--student", student, "--out", features, "--layers", "conv2", "pool2", "--device", "cpu"],
        ["evaluate", features, "--out", transferred],
        ["finetune", sounds, "--student", student, "--out", finetuned, *FINETUNE.split()],
        ["train", "esc50_cats_dogs", "--data", sounds, "--out", scratch, "--device", "cpu", "--set", *small],
    ):
        assert main(arguments) == 0
    return {name: folder / name for name in names[1:]}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def results_of(folder: Path) -> dict[str, dict[str, float]]:
    return {
        each["layer"]: each for each in json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]
    }


@pytest.mark.parametrize("layer", ["conv1", "pool2", "conv4", "pool5", "conv7"])
def test_parameters_up_to_a_layer_are_those_of_a_network_cut_there(layer: str) -> None:
    """A head of one class adds a weight for each channel and a bias."""
    classifier = FinetunedNetwork(SoundNet8({"objects": 3}), layer, ("one",))
    counted = sum(parameter.numel() for parameter in classifier.parameters())
    assert parameters_up_to("SoundNet8", layer) == counted - classifier.network.channels(layer) - 1


def test_parameters_that_nothing_tells_of() -> None:
    # 16 (64 + 3) + 32 (16 x 32 + 3) + 64 (32 x 16 + 3) + 128 (64 x 8 + 3) + 256 (128 x 4 + 3), FACTS.md, section 1.
    assert parameters_up_to("SoundNet8", "conv2+pool5") == 248_272
    assert parameters_up_to("SoundNet8", "conv8") is None
    assert parameters_up_to("SoundNet5", "conv5") is None
    assert parameters_up_to("LightCNN", "conv1") is None


def test_layers_that_several_evaluations_have_stand_side_by_side(runs: dict[str, Path], tmp_path: Path) -> None:
    other, features = tmp_path / "power", runs["transferred"].parent / "features.h5"
    assert main(["evaluate", str(features), "--out", str(other), "--protocol", "power", "--layers", "pool2"]) == 0
    rank([runs["transferred"], other, runs["finetuned"]], tmp_path / "ranking")
    text = (tmp_path / "ranking" / "ranking.md").read_text(encoding="utf-8")
    header, _, *lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n\n")[-1].splitlines()
    ]
    assert sorted(header[1:]) == ["finetuned", "power", "transferred"]
    assert [line[0] for line in lines] == ["conv2", "pool2", "conv4"]
    shown = {(line[0], name): cell for line in lines for name, cell in zip(header[1:], line[1:], strict=True)}
    for name, folder in (("transferred", runs["transferred"]), ("power", other), ("finetuned", runs["finetuned"])):
        for layer, result in results_of(folder).items():
            assert shown.pop((layer, name)) == f"{result['accuracy']:.2%}"
    assert set(shown.values()) == {""}
    alone = rank([runs["transferred"], runs["finetuned"]], tmp_path / "alone")
    assert (
        (tmp_path / "alone" / "ranking.md").read_text(encoding="utf-8").count("| layer |")
        == 1
        == len({row.name for row in alone.rows}) - 1
    )


def test_the_table(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ranking"
    assert main(["rank", *map(str, runs.values()), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    rows = rows_of(out / "ranking.csv")
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    found = {(row["name"], row["layer"]): row for row in rows}
    assert {key: (row["network"], row["protocol"], row["parameters"]) for key, row in found.items()} == {
        ("transferred", "conv2"): ("SoundNet8", "notebook", "17552"),
        ("transferred", "pool2"): ("SoundNet8", "notebook", "17552"),
        ("finetuned", "conv4"): ("SoundNet8", "finetune", str(116_432 + 3 * 128 + 3)),
        ("cats_dogs", "seed 3"): ("CatsDogs", "from scratch", str(CATS_DOGS_OF_THREE)),
        ("cats_dogs", "seed 4"): ("CatsDogs", "from scratch", str(CATS_DOGS_OF_THREE)),
    }
    for (name, layer), row in found.items():
        mine = results_of(runs[name])[f"CatsDogs {layer}" if name == "cats_dogs" else layer]
        assert float(row["accuracy"]) == pytest.approx(mine["accuracy"], abs=1e-4)
        assert float(row["std"]) == pytest.approx(float(np.std(mine["fold_accuracy"])), abs=1e-4)
    trained = [float(row["training_seconds"]) for row in rows_of(runs["cats_dogs"] / "trainings.csv")]
    assert len(trained) == 4
    assert float(found["cats_dogs", "seed 4"]["training_seconds"]) == pytest.approx(np.mean(trained), abs=0.05)
    assert found["transferred", "conv2"]["training_seconds"] == ""
    assert "transferred: only a classifier on kept features was fitted" in told
    assert f"wrote {out}: 5 rows, {rows[0]['name']} ({rows[0]['layer']}) first" in told
    table = (out / "ranking.md").read_text(encoding="utf-8").splitlines()
    assert len([line for line in table if line.startswith("|")]) == 2 + 5
    assert "| 17 552 |" in "\n".join(table)
    for ending in ("png", "svg"):
        assert (out / f"accuracy_by_parameters.{ending}").is_file()


def test_names_and_layers(runs: dict[str, Path], tmp_path: Path) -> None:
    folders = [runs["transferred"], runs["finetuned"]]
    ranking = rank(folders, tmp_path / "out", names=["svm", "tuned"], layers=["pool2"])
    assert {(row.name, row.layer) for row in ranking.rows} == {("svm", "pool2"), ("tuned", "conv4")}
    with pytest.raises(SettingsError, match="a layer 'pool3'; did you mean 'pool2'"):
        rank(folders, tmp_path / "out", layers=["pool3"])
    with pytest.raises(SettingsError, match="give 2 different names"):
        rank(folders, tmp_path / "out", names=["one", "one"])


def test_other_clips_and_other_folds_are_refused(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = runs["finetuned"]
    for number, (wrong, message) in enumerate(
        [
            (lambda line: None if line.startswith("0.wav") else line, "1 clips were tested in one of them only"),
            (
                lambda line: line.replace("0.wav,1", "0.wav,2") if line.startswith("0.") else line,
                "1 clips were tested in another fold, such as 0.wav (1, 2)",
            ),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "results.json").write_bytes((whole / "results.json").read_bytes())
        lines = map(wrong, (whole / "predictions.csv").read_text(encoding="utf-8").splitlines())
        (folder / "predictions.csv").write_text("\n".join(line for line in lines if line), encoding="utf-8")
        assert main(["rank", str(whole), str(folder), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in error
        assert not (tmp_path / "out").exists()
    assert len((whole / "predictions.csv").read_text(encoding="utf-8").splitlines()) == TONES + 1


def test_results_that_tell_no_size_say_so(runs: dict[str, Path], tmp_path: Path) -> None:
    old = json.loads((runs["finetuned"] / "results.json").read_text(encoding="utf-8"))
    for key in ("parameters", "training_seconds", "trainings"):
        old["source"].pop(key)
    (tmp_path / "results.json").write_text(json.dumps(old), encoding="utf-8")
    (tmp_path / "predictions.csv").write_bytes((runs["finetuned"] / "predictions.csv").read_bytes())
    ranking = rank([tmp_path], tmp_path / "out")
    assert ranking.rows[0].parameters is None
    assert "has no parameters or seconds" in str(ranking)


def test_the_table_reads_back(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = rank(list(runs.values()), tmp_path).rows
    file = tmp_path / "ranking.csv"
    assert is_ranking(file)
    for found, row in zip(read_ranking(file), rows, strict=True):
        for name, value in asdict(row).items():
            assert getattr(found, name) == (pytest.approx(value, abs=1e-4) if isinstance(value, float) else value)
    file.write_text(file.read_text(encoding="utf-8").replace("accuracy,std", "accuracy,deviation"), encoding="utf-8")
    assert not is_ranking(file)
    with pytest.raises(FormatError, match=r"is no table that `soundnet-kd rank` wrote .*write it again"):
        read_ranking(file)
