"""Whatever learns from labelled sounds can be killed, and goes on; what is done stays, and no other run touches it."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from soundnet_kd.cli import main
from soundnet_kd.models import read_network
from tests.processes import run_command
from tests.stops import killed_at_checkpoint, killed_at_the_end
from tests.supervised.runs import rows_of, spent_before, untimed, write_animals, write_student, write_tones

TUNED = ["--layer", "conv4", "--from_layer", "conv3", "--crop_seconds", "0.5", "--batch_size", "6", "--device", "cpu"]
CHOSEN = ["--seeds", "0", "3", "--epochs", "6", "--validation_share", "0.25", "--weights", "best", "--patience", "2",
          "--schedule", "linear", "--final_learning_rate", "1e-5"]  # fmt: skip
KEPT = ["--head", "roots", "--keep_statistics", "--kept_learning_rate", "1e-4", "--speeds", "0.8", "1",
        "--variants", "2", "--epochs", "4"]  # fmt: skip
SCRATCH = ["sampling.segments.seconds=0.125", "sampling.segments.steps_per_epoch=8", "training.batch_size=10",
           "sampling.segments.validation_steps=5", "training.epochs=2", "training.learning_rate=0.02", "seeds=[0,1]",
           "data.cats_dogs.test=[cat_90,dog_90,dog_91]"]  # fmt: skip
FINAL = ["sampling.pieces.seconds=0.125", "training.epochs=3", "training.batch_size=8", "final_training=true"]

Runs = Callable[[str], Path]
Arguments = Callable[[str, Path], list[str]]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    """Arguments of commands by their names; train is by its recipe's own optimizer, which has a momentum."""
    tones = str(write_tones(tmp_path_factory.mktemp("tones")))
    animals = str(write_animals(tmp_path_factory.mktemp("animals")))
    student = str(write_student(tmp_path_factory.mktemp("student") / "student.safetensors"))

    def arguments_of(name: str, out: Path) -> list[str]:
        return {
            "finetune": ["finetune", tones, "--student", student, *TUNED, "--epochs", "5"],
            "finetune_chosen": ["finetune", tones, "--student", student, *TUNED, *CHOSEN],
            "finetune_kept": ["finetune", tones, "--student", student, *TUNED, *KEPT],
            "train": ["train", "cats_dogs", "--data", animals, "--device", "cpu", "--set", *SCRATCH],
            "train_final": ["train", "esc50_cats_dogs", "--data", tones, "--device", "cpu", "--set", *FINAL],
        }[name] + ["--out", str(out)]

    return arguments_of


@pytest.fixture(scope="module")
def whole(arguments: Arguments, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs that were never stopped, each made once."""
    made: dict[str, Path] = {}

    def run_of(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / name
            assert main(arguments(name, made[name])) == 0
        return made[name]

    return run_of


def killed(name: str, place: str, stop: Callable[[Path], Callable[[], None]], arguments: Arguments, out: Path) -> None:
    prepare = stop(out / place / "checkpoints")
    options = [*arguments(name, out), "--checkpoint_minutes", "0"]
    assert run_command(options, out.with_name("log.txt"), prepare) == -signal.SIGKILL
    assert not (out / "results.json").exists()


def differing(found: dict[str, object], wanted: dict[str, object]) -> list[str]:
    """Name what differs, since a table is too long to be shown."""
    return [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]


def assert_same(out: Path, wanted: Path) -> None:
    assert not differing(untimed(out), untimed(wanted))
    assert not list(out.glob(".[a-z]*/"))
    found, expected = read_network(out).state_dict(), read_network(wanted).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("name", "place", "done", "stop"),
    [
        ("finetune", ".folds/fold-1", 0, killed_at_checkpoint),
        ("finetune", ".folds/fold-2", 1, killed_at_checkpoint),
        ("finetune", ".folds/fold-2", 1, killed_at_the_end),
        ("finetune", ".folds/all", 2, killed_at_checkpoint),
        ("finetune", ".folds/all", 2, killed_at_the_end),
        ("finetune_chosen", ".folds/seed-0-fold-2", 1, killed_at_checkpoint),
        ("finetune_chosen", ".folds/seed-3-fold-1", 2, killed_at_the_end),
        ("finetune_kept", ".folds/fold-2", 1, killed_at_checkpoint),
        ("train", "rounds/seed-1", 1, killed_at_checkpoint),
        ("train", "rounds/seed-1", 1, killed_at_the_end),
        ("train_final", "rounds/all", 2, killed_at_checkpoint),
    ],
)
def test_a_killed_run_ends_as_if_it_had_not_been_killed(
    name: str,
    place: str,
    done: int,
    stop: Callable[[Path], Callable[[], None]],
    arguments: Arguments,
    whole: Runs,
    tmp_path: Path,
) -> None:
    out = tmp_path / "killed"
    killed(name, place, stop, arguments, out)
    trials = (out / place).parent
    assert len(list(trials.glob("*.json"))) == done
    spent = spent_before(trials)
    assert main(arguments(name, out)) == 0
    assert_same(out, whole(name))
    seconds = json.loads((out / "results.json").read_text(encoding="utf-8"))["source"]["training_seconds"]
    # The training on all folds does not count.
    assert place.endswith("all") or seconds >= round(spent, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_run_that_the_first_version_began_goes_on(arguments: Arguments, whole: Runs, tmp_path: Path) -> None:
    """It left of each fold the predicted classes only, as numbers, in the order of the clips."""
    out = tmp_path / "killed"
    killed("finetune", ".folds/fold-2", killed_at_checkpoint, arguments, out)
    file = out / ".folds" / "fold-1.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    kept = {name: content[name] for name in ("history", "parameters", "seconds")}
    classes = np.array(content["pieces"]).argmax(axis=1).tolist()
    file.write_text(json.dumps({"answers": classes, **kept}), encoding="utf-8")
    assert main(arguments("finetune", out)) == 0
    # Nobody knows the probabilities any more that made these classes.
    assert differing(untimed(out), untimed(whole("finetune"))) == ["probabilities.csv"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("finetune", ["--augmentation.mix", "0.25"], "settings.augmentation.mix was 0.5, now 0.25"),
        ("finetune", ["--schedule", "constant"], "settings.schedule"),
        ("finetune", ["--seeds", "0", "1"], "settings.seeds"),
        ("finetune", ["--head", "roots"], "settings.head"),
        ("finetune_kept", ["--variants", "3"], "settings.variants was 2, now 3"),
        ("train", ["training.epochs=5"], "training.epochs was 2, now 5"),
        ("train_final", ["final_training=false"], "final_training"),
    ],
)
def test_a_run_that_is_done_stays_as_it_is_and_others_are_refused(
    name: str, change: list[str], message: str, arguments: Arguments, whole: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    run = whole(name)
    before = untimed(run)
    again = arguments(name, run)
    if name == "train":
        # As if it had been killed just after its last predictions were written.
        (run / "rounds" / "seed-1" / "checkpoints").mkdir(parents=True)
    assert main(again) == 0
    assert not differing(untimed(run), before)
    if name == "train":
        assert {path.name for path in (run / "rounds").iterdir()} == {"seed-0.json", "seed-1.json"}
    capsys.readouterr()
    assert main([*again[:-2], *change, *again[-2:]]) == 1
    assert message in capsys.readouterr().err
    assert not differing(untimed(run), before)
    assert not list(run.glob(".[a-z]*/"))


def test_a_network_that_is_lost_is_trained_again(arguments: Arguments, whole: Runs) -> None:
    for name in ("finetune", "train_final"):
        run = whole(name)
        before, weights = untimed(run), read_network(run).state_dict()
        # Another file in its place: the weights that were read may still lie in the old one.
        (run / "classifier.safetensors").unlink()
        (run / "classifier.safetensors").write_bytes(b"damaged")
        assert main(arguments(name, run)) == 0
        assert not differing(untimed(run), before)
        found = read_network(run).state_dict()
        assert all(torch.equal(found[key], weights[key]) for key in weights)


def test_several_seeds_have_a_result_each_and_are_stopped_by_sounds_held_out(whole: Runs) -> None:
    run = whole("finetune_chosen")
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert [each["layer"] for each in results["results"]] == ["conv4 seed 0", "conv4 seed 3"]
    assert results["best_layer"] in ("conv4 seed 0", "conv4 seed 3")
    assert (results["source"]["seed"], results["source"]["seeds"], results["source"]["trainings"]) == (0, [0, 3], 4)
    predictions = rows_of(run / "predictions.csv")
    trainings = rows_of(run / "trainings.csv")
    assert [(row["seed"], row["fold"], row["network"], row["pieces"]) for row in trainings] == [
        (seed, fold, "SoundNet8", "12") for seed in "03" for fold in "12"
    ]
    for row in trainings:
        tested = [each for each in predictions if each["fold"] == row["fold"]]
        correct = [each["label"] == each[f"conv4 seed {row['seed']}"] for each in tested]
        assert float(row["clip_accuracy"]) == np.mean(correct)
        name = f"seed-{row['seed']}-fold-{row['fold']}"
        history = [each for each in rows_of(run / "history.csv") if each["network"] == name]
        accuracy = {int(each["step"]): float(text) for each in history if (text := each["validation/accuracy"])}
        # Nine of twelve clips are learned from, six at a time: an epoch has two steps.
        assert list(accuracy) == [2 * epoch for epoch in range(1, len(accuracy) + 1)] or max(accuracy) == 9
        best = max(accuracy, key=lambda step: accuracy[step])
        assert float(row["validation_accuracy"]) == accuracy[best]
        assert float(row["epochs"]) == best / 2
        assert max(accuracy) in (best + 4, 9)
        # Epoch by epoch, from 1e-3 down to 1e-5 in the sixth.
        rates = {int(each["step"]): float(text) for each in history if (text := each["train/learning_rate"])}
        for step, rate in rates.items():
            assert rate == pytest.approx(1e-3 - 9.9e-4 * ((step - 1) // 2) / 5, abs=1e-8)


def test_the_network_of_all_folds_has_learned_from_all(whole: Runs, arguments: Arguments, tmp_path: Path) -> None:
    """It is another one than that of the first fold, which is kept otherwise."""
    run = whole("train_final")
    assert {path.name for path in (run / "rounds").iterdir()} == {"seed-0-fold-1.json", "seed-0-fold-2.json"}
    other = tmp_path / "other"
    assert main([*arguments("train_final", other)[:-2], "final_training=false", "--out", str(other)]) == 0
    # The recipe is another one.
    assert differing(untimed(run), untimed(other)) == ["results"]
    found, wanted = read_network(run).state_dict(), read_network(other).state_dict()
    assert not all(torch.equal(found[key], wanted[key]) for key in wanted)
