"""Fine-tuning for real: it learns, keeps to its folds and its frozen layers, and says what it cannot do."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd import SoundNet5, SoundNet8, load_student
from soundnet_kd.cli import main
from soundnet_kd.commands.compare import compare
from soundnet_kd.commands.finetune import finetune
from soundnet_kd.errors import FormatError, MediaError, SettingsError
from soundnet_kd.models import Preprocessing, read_network, read_student, write_network
from soundnet_kd.models.finetuned import FinetunedNetwork, default_layer
from soundnet_kd.supervised.trial import clip_logits
from tests.supervised.runs import HERTZ, TONE_RATE, TONES, rows_of, write_student, write_tones

OPTIONS = "--layer conv4 --from_layer conv3 --crop_seconds 0.5 --batch_size 6 --epochs 10 --device cpu"
STEPS = 20
"""Of a fold: ten times twelve clips, six at a time."""


def finetuned(out: Path) -> FinetunedNetwork:
    classifier = read_network(out)
    assert isinstance(classifier, FinetunedNetwork)
    return classifier


def losses(out: Path, fold: str) -> list[str]:
    return [row["train/loss"] for row in rows_of(out / "history.csv") if row["fold"] == fold]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("student") / "student.safetensors")


@pytest.fixture(scope="module")
def run(sounds: Path, student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert main(["finetune", str(sounds), "--student", str(student), "--out", str(out), *OPTIONS.split()]) == 0
    return out


def test_a_run_learns_and_leaves_what_an_evaluation_leaves(run: Path) -> None:
    content = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert content["classes"] == list(HERTZ)
    assert content["chance"] == pytest.approx(1 / 3)
    assert content["source"]["folds"] == "the folds of the data set"
    # Filters times what each hears, its bias, and two numbers of its batch norm; the head on 128 channels.
    layers = 16 * (64 + 3) + 32 * (16 * 32 + 3) + 64 * (32 * 16 + 3) + 128 * (64 * 8 + 3)
    assert content["source"]["parameters"] == layers + 3 * 128 + 3
    assert content["source"]["trainings"] == 2
    assert content["source"]["training_seconds"] > 0
    (result,) = content["results"]
    named = {name: result[name] for name in ("layer", "channels", "protocol", "selection", "folds", "left_out")}
    assert named == {
        "layer": "conv4",
        "channels": 128,
        "protocol": "finetune",
        "selection": "fixed",
        "folds": [1, 2],
        "left_out": 0,
    }
    predictions = rows_of(run / "predictions.csv")
    assert [row["id"] for row in predictions] == [f"{number}.wav" for number in range(TONES)]
    right = np.array([row["conv4"] == row["label"] for row in predictions])
    fold = np.array([int(row["fold"]) for row in predictions])
    assert result["fold_accuracy"] == [right[fold == 1].mean(), right[fold == 2].mean()]
    assert result["accuracy"] == pytest.approx(right.mean())
    assert right.mean() > 0.9
    assert np.trace(result["confusion"]) == right.sum()
    history = rows_of(run / "history.csv")
    assert [(row["fold"], int(row["step"])) for row in history] == [
        (fold, step) for fold in "12" for step in range(1, STEPS + 1)
    ]
    assert {path.name for path in run.iterdir()} - {".lock"} == {
        "accuracy.csv",
        "classes.csv",
        "classes_conv4.png",
        "classes_conv4.svg",
        "confused_pairs.csv",
        "confusion_conv4.png",
        "confusion_conv4.svg",
        "history.csv",
        "history.png",
        "history.svg",
        "probabilities.csv",
        "predictions.csv",
        "results.json",
        "classifier.safetensors",
        "finetune.json",
        "trainings.csv",
        "README.md",
    }


def test_frozen_layers_stay_as_they_are_with_their_batch_norm(run: Path, student: Path) -> None:
    before, after = load_student(student).state_dict(), finetuned(run).network.state_dict()
    kept = {name for name in after if torch.equal(before[name], after[name])}
    assert kept == {name for name in after if name.split(".")[0].endswith(("1", "2"))}
    assert {name.split(".")[0][-1] for name in after} == {"1", "2", "3", "4"}


def test_the_classifier_answers_as_by_hand(run: Path, sounds: Path) -> None:
    """The layer's mean over time of the clip, tiled to a crop's length, times the weights of the head, and the bias."""
    from soundnet_kd.media import RawAudioDecoder, RawAudioFile

    classifier = finetuned(run)
    assert classifier.class_names == {"classes": tuple(HERTZ)}
    preprocessing = classifier.network.preprocessing
    assert preprocessing.least_samples == TONE_RATE // 2
    for number in (0, 13):
        path = sounds.parent / f"{number}.wav"
        RawAudioDecoder(TONE_RATE, "first")(path, run.parent / "sound.f32")
        answer = clip_logits(classifier, [RawAudioFile(run.parent / "sound.f32")])[0].numpy()
        waveform = preprocessing.read(path)
        tiled = np.concatenate([waveform] * (2 if len(waveform) < TONE_RATE // 2 else 1)) * np.float32(256)
        with torch.no_grad():
            steps = classifier.network(torch.from_numpy(tiled)[None, None], ("conv4",))["conv4"][0].numpy()
        state = {name: value.numpy() for name, value in classifier.state_dict().items()}
        np.testing.assert_allclose(
            answer, state["head.weight"] @ steps.mean(axis=1) + state["head.bias"], rtol=1e-3, atol=1e-3
        )
        assert tuple(HERTZ)[answer.argmax()] == list(HERTZ)[number % 3]


def test_a_tested_fold_takes_no_part_in_its_training(run: Path, student: Path, tmp_path: Path) -> None:
    others = write_tones(tmp_path / "sounds", other_in_fold=1)
    arguments = ["finetune", str(others), "--student", str(student), "--out", str(tmp_path / "out"), *OPTIONS.split()]
    assert main([*arguments, "--folds_only"]) == 0
    assert losses(tmp_path / "out", "1") == losses(run, "1")
    assert losses(tmp_path / "out", "2") != losses(run, "2")
    assert not (tmp_path / "out" / "classifier.safetensors").exists()


def test_from_scratch_and_bad_sounds(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without folds some are drawn; a broken file and one without a label are left out, and told of."""
    for number in range(6):
        (tmp_path / f"{number}.wav").write_bytes((sounds.parent / f"{number}.wav").read_bytes())
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but no more")
    rows = [f"{number}.wav,{list(HERTZ)[number % 3] if number < 5 else ''}" for number in range(6)]
    (tmp_path / "sounds.csv").write_text("\n".join(["path,label", *rows, "broken.wav,deep"]), encoding="utf-8")
    arguments = f"{tmp_path / 'sounds.csv'} --student SoundNet5 --scratch --out {tmp_path / 'out'} --epochs 1 --seed 3"
    more = "--layer conv3 --crop_seconds 0.5 --batch_size 4 --device cpu --precision bf16 --folds_only"
    assert main(["finetune", *arguments.split(), *more.split()]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert f"wrote {tmp_path / 'out'}: scratch " in line
    assert "fold 1" in line
    assert f"1 sound skipped (see {tmp_path / 'out' / 'failures.csv'})" in line
    assert [row["file"] for row in rows_of(tmp_path / "out" / "failures.csv")] == ["broken.wav"]
    content = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert content["source"]["folds"] == "2 folds, drawn class by class with seed 3"
    assert content["results"][0]["left_out"] == 1
    assert content["results"][0]["protocol"] == "scratch"
    assert rows_of(tmp_path / "out" / "predictions.csv")[5]["conv3"] == ""


def test_nothing_is_left_of_what_a_scratch_run_had_learned(sounds: Path, student: Path, tmp_path: Path) -> None:
    """By a step that moves next to nothing, two students become the same network; without --scratch they do not."""
    another = SoundNet8({"objects": 3}, Preprocessing(least_samples=1))
    options = {"layer": "conv4", "crop_seconds": 0.5, "epochs": 1, "device": "cpu"}
    for scratch in (True, False):
        first, second = (
            finetuned(finetune(sounds, each, tmp_path / f"{number}{scratch}", scratch=scratch, **options).out)  # type: ignore[arg-type]
            for number, each in enumerate((load_student(student), another))
        )
        assert (
            torch.equal(first.network.get_parameter("conv1.weight"), second.network.get_parameter("conv1.weight"))
            == scratch
        )


def test_two_runs_can_be_compared(run: Path, sounds: Path, student: Path, tmp_path: Path) -> None:
    finetune(sounds, student, tmp_path / "short", "conv4", crop_seconds=0.5, epochs=1, device="cpu", folds_only=True)
    compared = compare(run, tmp_path / "short", tmp_path / "compared.csv")
    assert "conv4" in str(compared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "conv9"}, "no layer 'conv9'; did you mean"),
        ({"layer": "conv8"}, "conv8 is the student's own head"),
        ({"from_layer": "conv5"}, "from_layer conv5 lies behind conv4"),
        ({"from_layer": "pool2"}, "'pool2', which has no weights"),
        ({"crop_seconds": 0.0001}, "too short for conv4"),
        ({"epochs": 0}, "epochs is 0; it has to be above 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"student": "SoundNet8"}, "there is no student SoundNet8"),
        ({"crop_seconds": 0.0}, r"crop_seconds is 0\.0; it has to be above 0"),
        ({"patience": 2}, "no validation sounds to choose the best weights or the end by; set a --validation_share"),
        ({"weights": "best"}, "no validation sounds to choose the best weights or the end by"),
        ({"validation_share": 1.0}, "the shares of the clips are validation 1; each has to be at least 0"),
        ({"final_learning_rate": 1e-5}, "are for schedule linear, not cosine"),
        ({"layer": "conv4+pool9"}, "no layer 'pool9'"),
        ({"layer": "conv3+conv3"}, "conv3.conv3; name each once"),
        ({"head": "root"}, "head is 'root'; choose one of linear, roots"),
        ({"scratch": True, "keep_statistics": True}, "keep_statistics is for what a student has learned, which"),
        ({"scratch": True, "kept_learning_rate": 1e-4}, "kept_learning_rate is for what a student has learned"),
        ({"kept_learning_rate": -1.0}, "kept_learning_rate is -1.0; it has to be above 0"),
        ({"speeds": [1.0, 1.0]}, r"speeds are \[1.0, 1.0\]; give them from 0.25 to 4.0, each once"),
        ({"speeds": [0.0]}, "give them from 0.25 to 4.0"),
        ({"variants": -1}, "variants is -1"),
        ({"variants": 1}, "there are none that stay as they are; give a --from_layer"),
        ({"variants": 1, "from_layer": "conv1"}, "there are none that stay as they are"),
        ({"variants": 1, "from_layer": "conv3", "scratch": True}, "there are none that stay as they are"),
        (
            {"variants": 2, "layer": "conv2+conv4", "from_layer": "conv4"},
            "variants keeps conv3, and the head sits on conv2, too, which comes before it; give an earlier",
        ),
        ({"variants": 1, "from_layer": "conv3"}, "of one variant level and noise stay as they are"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; give whole numbers from 0 on, each once"),
        ({"seeds": []}, r"seeds is \[\]; give whole numbers"),
        ({"seeds": [0, 1], "seed": 1}, r"seed is 1 and seeds is \[0, 1\]; give one of the two"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(
    change: Mapping[str, object], message: str, sounds: Path, student: Path, tmp_path: Path
) -> None:
    arguments = {"student": student, "layer": "conv4", "crop_seconds": 0.5, "device": "cpu"} | dict(change)
    with pytest.raises(SettingsError, match=message):
        finetune(sounds, out=tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (["0.wav,,", "1.wav,,"], SettingsError, "none of the sounds has a label"),
        (["0.wav,deep,1", "1.wav,high,2"], SettingsError, "without fold 1 there are not two classes left"),
        (["missing.wav,deep,1", "gone.wav,high,2"], MediaError, "none of the 2 sounds could be read"),
    ],
)
def test_data_that_cannot_be_learned_from(
    rows: list[str], error: type[Exception], message: str, sounds: Path, student: Path, tmp_path: Path
) -> None:
    table = sounds.parent / f"{tmp_path.name}.csv"
    table.write_text("\n".join(["path,label,fold", *rows]), encoding="utf-8")
    with pytest.raises(error, match=message):
        finetune(table, student, tmp_path / "out", "conv4", crop_seconds=0.5, device="cpu")


def test_a_training_that_diverges_says_so(sounds: Path, student: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"fold 1/2 diverged at step \d.*lower learning rate"):
        finetune(sounds, student, tmp_path, "conv4", crop_seconds=0.5, learning_rate=1e30, device="cpu")


def test_a_file_of_another_kind_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is no student, but a SoundNet8 that recognises 3 classes"):
        read_student(run / "classifier.safetensors")
    broken = finetuned(run)
    with torch.no_grad():
        broken.head.bias[1] = float("nan")
    write_network(broken, tmp_path / "broken.safetensors", {})
    with pytest.raises(FormatError, match="not finite numbers"):
        read_network(tmp_path / "broken.safetensors")


def test_where_the_head_sits_by_default() -> None:
    assert [default_layer(network({"a": 1})) for network in (SoundNet8, SoundNet5)] == ["pool5", "conv4"]


@pytest.mark.real
@pytest.mark.slow
def test_four_classes_of_esc50_from_scratch(real_data: Path, tmp_path: Path) -> None:
    """Two folds of church bells, clock ticks, crying babies and rain: 25 % by chance."""
    wanted = {"church_bells", "clock_tick", "crying_baby", "rain"}
    rows = [
        row
        for row in rows_of(real_data / "esc50" / "meta" / "esc50.csv")
        if row["category"] in wanted and row["fold"] in "12"
    ]
    audio = real_data / "esc50" / "audio"
    lines = [f"{audio / row['filename']},{row['category']},{row['fold']}" for row in rows]
    (tmp_path / "sounds.csv").write_text("\n".join(["path,label,fold", *lines]), encoding="utf-8")
    options = {"layer": "pool5", "crop_seconds": 2.0, "epochs": 15, "batch_size": 16, "device": "cpu"}
    result = finetune(tmp_path / "sounds.csv", "SoundNet8", tmp_path / "out", scratch=True, folds_only=True, **options)  # type: ignore[arg-type]
    assert result.accuracy > 0.5
