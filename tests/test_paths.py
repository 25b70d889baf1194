"""A path may be given as a text, in every public function."""

import csv
import importlib
import inspect
import pkgutil
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import pytest
import torch

import soundnet_kd
from soundnet_kd import FeatureCache, SoundNet5, SoundNet8, extract, load_student
from soundnet_kd.cli.table import COMMANDS
from soundnet_kd.commands.compare import compare
from soundnet_kd.commands.distill import distill
from soundnet_kd.commands.evaluate import evaluate
from soundnet_kd.commands.explore import explore
from soundnet_kd.commands.finetune import finetune
from soundnet_kd.commands.neurons import neurons
from soundnet_kd.commands.peel import peel
from soundnet_kd.commands.predict import predict
from soundnet_kd.commands.project import project
from soundnet_kd.commands.rank import rank
from soundnet_kd.commands.report import report
from soundnet_kd.commands.run import run
from soundnet_kd.commands.weights import verify_weights
from soundnet_kd.config.recipes import read_recipe
from soundnet_kd.data import Targets, read_manifest
from soundnet_kd.data.datasets.folds import Folds
from soundnet_kd.features.activation_file import read_peel, write_peel
from soundnet_kd.features.activations import peel_sound
from soundnet_kd.features.predictor import prepare_to_predict, stream_probabilities
from soundnet_kd.media import (
    duration_seconds,
    find_media,
    read_audio,
    read_frames,
    stream_audio,
    write_audio,
    write_video,
)
from soundnet_kd.models import Preprocessing, read_network, read_student, write_network
from soundnet_kd.models.architectures import parameters_up_to
from soundnet_kd.models.classifiers import CatsDogs
from soundnet_kd.pretrained import teacher_registry
from soundnet_kd.storage import read_json, write_csv, write_json
from soundnet_kd.teachers import Teacher, label_videos
from soundnet_kd.training.callbacks import read_history
from soundnet_kd.transfer import evaluate_layers
from soundnet_kd.transfer.ranking import rank_evaluations
from tests.media_files import sine
from tests.small_student import BLOCKS
from tests.targets import make_clip, make_targets
from tests.teachers.colours import NAMES, MeanColour, make_video, plain

RATE = 22_050
HERTZ = {"bell": 2000.0, "dog": 300.0, "rain": 900.0}

BY_NAME = ("read", "write", "load", "import", "verify", "convert", "draw", "find", "check_file", "peel_sound")
"""How functions begin that read or write files."""


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(soundnet_kd.__path__, "soundnet_kd."):
        yield importlib.import_module(found.name)


def public() -> dict[str, Callable[..., Any]]:
    """Give the commands, all that packages name in `__all__`, and what reads and writes files by its name."""
    found = {name: command.function() for name, command in COMMANDS.items()}
    for module in modules():
        for name, value in vars(module).items():
            listed = name in getattr(module, "__all__", ())
            own = getattr(value, "__module__", "") == module.__name__ and name.split("_")[0] in BY_NAME
            own = own or (getattr(value, "__module__", "") == module.__name__ and name in BY_NAME)
            if inspect.isfunction(value) and (listed or own):
                found[f"{value.__module__}.{name}"] = value
            elif inspect.isclass(value) and (listed or name in BY_NAME):
                # What a command gives back is made by the command.
                made = hasattr(value, "__dataclass_fields__")
                methods = {"read", "find"} if made else {"__init__", "read", "find"}
                for method in methods & vars(value).keys():
                    found[f"{value.__module__}.{name}.{method}"] = getattr(value, method)
    return found


def kinds(annotation: Any) -> set[Any]:
    """Give what a parameter may be, also one by one in a list."""
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*(kinds(each) for each in get_args(annotation)))
    if inspect.isclass(get_origin(annotation)) and issubclass(get_origin(annotation), Iterable):
        return set().union(*(kinds(each) for each in get_args(annotation)))
    return {annotation}


def test_whatever_takes_a_path_takes_a_text() -> None:
    found = public()
    assert len(found) > 120
    only = []
    for name, function in found.items():
        annotations = inspect.get_annotations(inspect.unwrap(function), eval_str=False)
        for parameter, annotation in annotations.items():
            if parameter != "return" and not isinstance(annotation, str) and Path in kinds(annotation) - {str}:
                only += [f"{name}({parameter})"] if str not in kinds(annotation) else []
    assert only == []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sounds in folders, a table of them in three folds, a student, and a video; all is named from here."""
    monkeypatch.chdir(tmp_path)
    rows = ["path,label,fold"]
    for name, hertz in HERTZ.items():
        for number in range(6):
            write_audio(f"sounds/{name}/{number}.wav", sine(hertz * (1 + number / 50), 0.5, RATE, 0.4), RATE)
            rows.append(f"sounds/{name}/{number}.wav,{name},{number % 3 + 1}")
    Path("sounds.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    torch.manual_seed(0)
    Path("student").mkdir()
    small = SoundNet5({"objects": NAMES}, Preprocessing(least_samples=60_000)).eval()
    write_network(small, "student/student.safetensors", {})
    make_video(Path("videos/colours.mp4"), [*NAMES, NAMES[0]])
    return tmp_path


def test_media_and_tables_by_text(place: Path) -> None:
    assert read_audio("sounds/dog/0.wav")[1] == RATE
    assert len(next(stream_audio("sounds/dog/0.wav", None))) == RATE // 2
    assert [str(file) for file in find_media("videos")] == ["videos/colours.mp4"]
    assert duration_seconds("videos/colours.mp4") == pytest.approx(20, abs=0.1)
    assert len(list(read_frames("videos/colours.mp4", [1.0, 6.0]))) == 2
    write_video("copy.mp4", [np.zeros((32, 32, 3), np.uint8)] * 4, 4)
    assert len(read_manifest("sounds.csv")) == len(read_manifest("sounds")) == 18
    assert len(Folds().read("sounds.csv", seed=0).manifest) == 18
    assert Preprocessing().read("sounds/dog/0.wav").shape == (RATE // 2,)
    write_json("a/b.json", {"one": 1})
    assert read_json("a/b.json") == {"one": 1}
    write_csv("a/b.csv", ["x"], [[1]])
    with Path("a/b.csv").open(newline="") as handle:
        assert list(csv.reader(handle)) == [["x"], ["1"]]


def test_networks_by_text(place: Path) -> None:
    for where in ("student", "student/student.safetensors"):
        student = load_student(where)
        assert student.class_names == {"objects": NAMES}
    assert read_student("student/student.safetensors").fingerprint() == student.fingerprint()
    cats = CatsDogs(("dog",))
    write_network(cats, "cats.safetensors", {})
    assert read_network("cats.safetensors").fingerprint() == cats.fingerprint()
    write_network(cats, "trained/classifier.safetensors", {})
    for where in ("trained", "trained/classifier.safetensors"):
        assert read_network(where).class_names == {"classes": ("dog",)}
    peeled = peel_sound("sounds/dog/0.wav", student)
    write_peel("peel.h5", peeled, {})
    assert read_peel("peel.h5").layers.keys() == peeled.layers.keys()
    assert next(stream_probabilities(prepare_to_predict(student), "sounds/dog/0.wav"))[0] == 0.0
    with pytest.raises(soundnet_kd.SoundNetKDError):
        verify_weights("student/student.safetensors")


@pytest.mark.slow
def test_commands_by_text(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SoundNet8, "blocks", BLOCKS)
    monkeypatch.setenv("SOUNDNET_KD_CACHE", str(place / "cache"))
    mine = Teacher(MeanColour(), plain, NAMES, {"network": "by hand"})
    assert label_videos("videos", {"objects": mine}, "labelled", workers=0).clips == 1
    assert len(Targets("labelled")) == 1
    make_targets(Path("targets"), [make_clip(f"{n}.mp4", 4, np.random.default_rng(n)) for n in range(4)])
    distill("targets", "distilled", steps=1, batch_size=2, device="cpu", workers=0)
    assert len(read_history("distilled")) == 1
    extract("sounds.csv", "student", "all.h5", layers=["conv4"], device="cpu", workers=0)
    with FeatureCache("all.h5") as cache:
        assert len(cache.ids) == 18
    assert set(evaluate("all.h5", "results").evaluation.results) == set(evaluate_layers("all.h5").results) == {"conv4"}
    compare("results", "results", "comparison.csv")
    rank(["results"], "ranking")
    assert len(rank_evaluations(["results"], None, None, parameters_up_to)) == 1
    neurons("all.h5", "neurons", shuffles=10)
    project("all.h5", "maps", results="results")
    predict("sounds/dog/0.wav", "student", "guesses.csv", device="cpu")
    peel("sounds/dog/0.wav", "student", "peeled")
    short: dict[str, Any] = {"epochs": 1, "crop_seconds": 2.0, "batch_size": 6, "folds_only": True, "device": "cpu"}
    finetune("sounds.csv", "student", "finetuned", workers=0, **short)
    explore("sounds", "explored")
    shutil.copytree("results", "run/results")
    shutil.copy("all.h5", "run/all.h5")
    report("run")
    for written in (
        *("comparison.csv", "ranking/ranking.csv", "neurons/neurons.csv", "maps/map_conv4.csv", "guesses.csv"),
        *("peeled/peel.h5", "finetuned/results.json", "explored/explore.json", "run/report/index.html"),
    ):
        assert Path(written).is_file(), written


def test_recipes_and_registry_by_text(place: Path) -> None:
    Path("recipe.yaml").write_text(
        "variables: {out: x}\nsteps:\n- extract: {sounds: sounds.csv, student: student, out: '${out}/f.h5', "
        "layers: [conv4], device: cpu, workers: 0}\n",
        encoding="utf-8",
    )
    assert read_recipe("recipe.yaml").variables == {"out": "x"}
    run("recipe.yaml", "made")
    assert Path("made/f.h5").is_file()
    assert teacher_registry(None)
